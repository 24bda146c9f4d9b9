"""The probe itself: follows the redirects, connects to every address, listens, and asks for second opinions.

Every address of a hop is connected to at once, each in a thread of its own, so that a dead one costs no time. The first
that brings a response is listened to; the others are closed as soon as their head is there. A request with a body, or
with another method than GET, is sent once only.

The time is bounded: each step of a connection has a budget, no step outlasts the probe, and all of it ends `seconds`
after the beginning. Threads that are still blocked then are daemons, which end with the process.
"""

from __future__ import annotations

import ipaddress
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from wire_rawsse.errors import CredentialsError, InvalidRequestError, ProxyError, RedirectError, TrustError
from wire_rawsse.plan import Plan
from wire_rawsse.probe.answer import head_of
from wire_rawsse.probe.blocking import BlockingHost
from wire_rawsse.probe.listening import StreamListener
from wire_rawsse.probe.measurements import Attempt, HopFacts, Life, Measurements, Name, ProxySetting, StreamFacts
from wire_rawsse.probe.reach import Reached, Way, ask, connect, go, look_at_certificate, note_failure
from wire_rawsse.probe.second import ask_others, is_peer_there, resumes
from wire_rawsse.probe.tcp_info import tcp_info
from wire_rawsse.protocol.proxy import choose
from wire_rawsse.protocol.redirect import REDIRECTS, Hop, fields_for, follow
from wire_rawsse.protocol.refusal import PRIVATE
from wire_rawsse.protocol.request import HeaderList, Request, compose, take_last_event_id
from wire_rawsse.redact import Secrets
from wire_rawsse.transport.addresses import interleaved
from wire_rawsse.transport.contexts import context_for
from wire_rawsse.transport.dial import unix_address
from wire_rawsse.waits import Address, Coroutine, Wait

MOST_ADDRESSES: Final = 8
MOST_REDIRECTS: Final = 10
_STEP: Final = 5.0
"""Seconds for a look-up, for TCP, and for TLS; a quarter of a probe that is shorter than 20 s."""
_OTHERS: Final = 1.0
"""Seconds for which the other addresses are waited for, once one has answered with something that is no stream."""
_PAUSE: Final = 0.5
"""Seconds before a stream that ended is connected to again."""
_LONGEST_PAUSE: Final = 3.0
_MOST_LIVES: Final = 5
_REPORT: Final = 0.5
"""Seconds that are kept for the report and the end of the process; less in a short probe."""
_SILENT: Final = 1.0
"""Seconds: the peer of a stream that was silent for less is not asked whether it is there."""


class Probe:
    """One probe of `plan`, which ends within `seconds`. `progress` is called with what is being done now.

    `began`: when the seconds began, on the monotonic clock; None: now.
    """

    def __init__(
        self,
        plan: Plan,
        seconds: float,
        last_event_id: str = "",
        progress: Callable[[str], None] = lambda text: None,
        began: float | None = None,
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._start = time.monotonic()
        self._end = (self._start if began is None else began) + seconds - min(_REPORT, seconds / 20)
        self._step = min(_STEP, seconds / 4)
        self._until = self._end - min(3.0, seconds / 5)
        """Listening stops here; the rest is for what comes after it."""
        self._last_event_id = last_event_id
        self._secrets = Secrets(shown=plan.url.redacted)
        self._once = plan.body is not None or plan.method != b"GET"
        self._doubted = False
        self._asked_others = False
        self._races: list[_Race] = []
        self._failures: list[Exception] = []
        self.found = Measurements(
            url=plan.url.redacted,
            seconds=seconds,
            tls=plan.url.scheme == "https",
            wall=time.time(),
            clocks=(plan.timeouts.connect, plan.timeouts.response, plan.timeouts.read),
        )

    def run(self) -> Measurements:
        """Measure. Raises nothing that a network, a server or a file of the caller's can cause."""
        try:
            self._follow_redirects()
        except (CredentialsError, InvalidRequestError, TrustError) as error:
            self._secrets.cleanse(error)
            self.found.error = str(error)
        for race in self._races:
            race.decide()
        if self._failures:
            raise self._failures[0]
        return self.found

    def _in_thread(self, call: Callable[..., None], *arguments: object) -> None:
        """Run in a daemon thread. An error of ours is raised by `run` at its end."""

        def run() -> None:
            try:
                call(*arguments)
            except Exception as error:
                self._failures.append(error)

        threading.Thread(target=run, daemon=True).start()

    def _follow_redirects(self) -> None:
        plan = self._plan
        fields, initial = take_last_event_id(plan.ask().headers)
        self._last_event_id = self._last_event_id or initial
        hop = Hop(plan.url, plan.method, plan.body, credentials=True)
        for _ in range(MOST_REDIRECTS + 1):
            facts = HopFacts(hop.place, began=time.monotonic() - self._start)
            self.found.hops.append(facts)
            answer = self._hop(hop, facts, fields)
            if answer is None or answer.response is None:
                return
            try:
                hop = follow(answer.response, hop, self._secrets)
            except RedirectError as error:
                self._secrets.cleanse(error)
                self.found.redirect_error = str(error)
                return
            finally:
                answer.end()
            facts.redirect = hop.place
        self.found.redirect_error = f"there are more than {MOST_REDIRECTS} redirects"

    def _hop(self, hop: Hop, facts: HopFacts, fields: HeaderList) -> Reached | None:
        """Measure one URL. A redirect is returned; any other answer is handled here."""
        try:
            choice = choose(hop.url, self._plan.environ)
        except ProxyError as error:
            facts.proxy = ProxySetting(error=str(error))
            return None
        proxy = choice.proxy
        facts.proxy = ProxySetting(str(proxy) if proxy else "", choice.variable, choice.excepted_by)
        context = None
        if hop.url.scheme == "https":
            context = context_for(self._plan.trust, self._plan.client_cert if hop.credentials else None)
        way = Way(hop, proxy, context, self._step, self._end, self._secrets)
        sent = fields_for(hop, fields, self._plan.method)
        request = self._request(way, sent, self._last_event_id)
        self.found.credentials |= any(word in name.lower().decode() for name, _ in request.headers for word in PRIVATE)
        addresses = self._look_up(facts, way)
        if not addresses:
            return None
        self.found.loopback = proxy is None and all(map(_is_loopback, addresses))
        answer = self._reach_all(facts, way, request, addresses)
        if answer is None or answer.response is None:
            return None
        if answer.response.status in REDIRECTS:
            return answer
        facts.head = head_of(answer, request, way, len(sent) < len(fields))
        if facts.head.error:
            answer.end()
            self._wait_for_others()
            return None
        self._listen(way, request, sent, answer)
        return None

    def _request(self, way: Way, fields: HeaderList, last_event_id: str) -> Request:
        hop, proxy = way.hop, way.proxy if way.hop.url.scheme == "http" else None
        return compose(
            hop.url,
            method=hop.method,
            body=hop.body,
            headers=fields,
            last_event_id=last_event_id if hop.credentials else "",
            absolute_form=proxy is not None,
            proxy_authorization=proxy.url.authorization if proxy else None,
            secrets=self._secrets,
        )

    def _look_up(self, facts: HopFacts, way: Way) -> list[Address]:
        url = way.proxy.url if way.proxy else way.hop.url
        if url.scheme == "unix":
            return [unix_address(url.socket_path)]
        shown = url.host if way.proxy else way.hop.shown(url.host)
        self._progress(f"looking up {shown}")
        name = facts.name = Name(shown)
        host = BlockingHost()
        began = host.now()
        future = host.resolve(url.host, url.port)
        if not future.done:
            host.run(_one(Wait({}, min(self._end, began + self._step), future)))
        if not future.done:
            name.timed_out, name.error = True, f"no answer within {self._step:.3g} s"
            return []
        name.seconds = host.now() - began
        if future.error is not None:
            name.error = getattr(future.error, "strerror", None) or type(future.error).__name__
            return []
        addresses = interleaved(future.value or [])
        name.addresses = [str(address) for address in addresses]
        facts.left_out = max(0, len(addresses) - MOST_ADDRESSES)
        return addresses[:MOST_ADDRESSES]

    def _reach_all(self, facts: HopFacts, way: Way, request: Request, addresses: list[Address]) -> Reached | None:
        """Connect to all of them, and ask. The first that has a response; None if there is none."""
        count = "" if len(addresses) == 1 else f" ({len(addresses)} addresses)"
        self._progress(f"connecting to {way.place}{count}")
        deadline = self._end - min(0.5, self._step / 4)
        race = _Race(way, request, addresses, deadline, self._once, self._in_thread)
        self._races.append(race)
        facts.attempts = [reached.attempt for reached in race.all]
        began = time.monotonic()
        answer, over = None, False
        while answer is None and not over:
            over = race.over  # Asked first: an answer may come between the two.
            answer = race.next(0.0 if over else 0.1)
            if answer is None and (over or time.monotonic() - began > self._step):
                self._doubt(way, request, race)
            if answer is None and race.stuck:
                self._progress("waiting for the response head")
        if answer is None or answer.response is None:
            race.decide()
            self._look_at_certificates(facts, way, race)
            self._wait_for_second_opinions()
        return answer

    def _doubt(self, way: Way, request: Request, race: _Race) -> None:
        """Ask for second opinions about an attempt that gets no answer, once."""
        if self._doubted or not (race.stuck or race.stalled):
            return
        self._doubted = True
        reached = (race.stuck or race.stalled)[0]
        again = request if reached.doing == "head" else None
        if again is None or not self._once:  # Only what may be asked twice is asked again.
            self._asked_others = True
            ask_others(self.found.cross, way, again, reached.address, race.deadline - self._step / 5, self._in_thread)

    def _look_at_certificates(self, facts: HopFacts, way: Way, race: _Race) -> None:
        """Of the first address whose certificate does not verify."""
        for reached in race.all:
            tls = reached.attempt.tls
            if tls is not None and tls.fault and not tls.chain:
                seen = look_at_certificate(way, reached.address)
                if seen is not None:
                    seen.fault, seen.verified = tls.fault, False
                    reached.attempt.tls = seen
                return

    def _wait_for_second_opinions(self) -> None:
        cross = self.found.cross
        while (
            self._asked_others and not (cross.small_segments and cross.repeated) and time.monotonic() < self._end - 0.1
        ):
            time.sleep(0.02)

    def _wait_for_others(self) -> None:
        """Let the other addresses be measured too, for a moment."""
        until = min(self._end, time.monotonic() + _OTHERS)
        while time.monotonic() < until and not self._races[-1].over:
            time.sleep(0.02)

    def _listen(self, way: Way, request: Request, fields: HeaderList, answer: Reached) -> None:
        """Until the time is up, over several connections if the stream ends; then ask what is still to be asked."""
        stream = self.found.stream = StreamFacts()
        listener = StreamListener(stream, self._start, self._secrets, lambda: self._progress(self._doing(stream)))
        reached = answer
        while True:
            life = listener.listen(reached, self._until)
            if not life.end:
                break
            reached.end()
            stream.info = reached.attempt.info
            pause = min(max(_PAUSE, (stream.retry_ms or 0) / 1000), _LONGEST_PAUSE)
            if self._once or len(stream.lives) >= _MOST_LIVES or time.monotonic() + pause >= self._until:
                break
            time.sleep(pause)
            again = connect(way, answer.address)
            if again.channel is not None:
                ask(again, request, self._until, self._secrets)
            stream.refused = (
                again.attempt.error if again.response is None else head_of(again, request, way, False).error
            )
            if stream.refused:
                again.end()
                break
            reached = again
        if reached.channel is not None:
            if _is_silent(life):
                is_peer_there(reached, stream, max(0.1, (self._end - time.monotonic()) / 2))
            stream.info = tcp_info(reached.channel.sock)
            reached.end()
        self._replay(way, fields, answer.address, listener.ids)

    def _doing(self, stream: StreamFacts) -> str:
        left = max(0.0, self._end - time.monotonic())
        return f"listening: {stream.events} events, {stream.comments} comments; {left:.0f} s left"

    def _replay(self, way: Way, fields: HeaderList, address: Address, ids: list[str]) -> None:
        replay = self.found.replay
        if self._once:
            replay.why_not = "the request is sent once only"
        elif len(ids) < 2:
            replay.why_not = "only one id was seen" if ids else "no event had an id"
        elif time.monotonic() < self._end:
            self._progress("asking for a replay with Last-Event-ID")
            again = self._request(way, fields, ids[0])
            resumes(replay, way, again, address, ids, self._end)


class _Race:
    """Connections to all addresses of a hop at once. `all` is in the order of the addresses."""

    def __init__(
        self,
        way: Way,
        request: Request,
        addresses: list[Address],
        deadline: float,
        once: bool,
        start: Callable[..., None],
    ) -> None:
        self.deadline = deadline
        self.all = [Reached(Attempt(str(address)), address, BlockingHost()) for address in addresses]
        self._way = way
        self._request = request
        self._once = once
        self._done: queue.Queue[Reached] = queue.Queue()
        self._lock = threading.Lock()
        self._decided = False
        self._asked = False
        for reached in self.all:
            start(self._run, reached)

    @property
    def over(self) -> bool:
        return all(reached.over for reached in self.all) or time.monotonic() >= self.deadline + 0.2

    @property
    def stuck(self) -> list[Reached]:
        """Those that wait for a response head, or waited in vain."""
        return [one for one in self.all if one.doing == "head" and one.attempt.failure in ("", "timeout")]

    @property
    def stalled(self) -> list[Reached]:
        """Those whose TLS handshake was not answered in time."""
        return [one for one in self.all if one.attempt.failed_in == "tls" and one.attempt.failure == "timeout"]

    def next(self, seconds: float) -> Reached | None:
        """The first attempt that got a response; None if there is none within `seconds`. Decides the race."""
        try:
            answer = self._done.get(timeout=seconds)
        except queue.Empty:
            return None
        with self._lock:
            self._decided = True
        return answer

    def decide(self) -> None:
        """No further answer is wanted. Attempts that are still running have timed out."""
        with self._lock:
            self._decided = True
            for reached in self.all:
                if not reached.over and not reached.attempt.failed_in and reached.response is None:
                    note_failure(reached, TimeoutError(), self._way.secrets, time.monotonic() - reached.began)
                reached.over = True

    def _run(self, reached: Reached) -> None:
        way = self._way
        go(reached, way)
        if reached.channel is not None and self._may_ask():
            ask(reached, self._request, self.deadline, way.secrets)
        with self._lock:
            first = reached.response is not None and not self._decided
            if first:
                self._decided = True
                self._done.put(reached)
            reached.over = True
        if not first:
            reached.end()

    def _may_ask(self) -> bool:
        with self._lock:
            may = not (self._once and self._asked)
            self._asked = True
        return may


def _one(wait: Wait) -> Coroutine[object]:
    return (yield wait)


def _is_silent(life: Life) -> bool:
    return life.stopped - (life.arrivals[-1].at if life.arrivals else life.opened) >= _SILENT


def _is_loopback(address: Address) -> bool:
    if isinstance(address.sockaddr, str):
        return True
    return ipaddress.ip_address(address.sockaddr[0].partition("%")[0]).is_loopback
