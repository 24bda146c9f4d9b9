"""A relay goes away and comes back, and all of its daemons with it: a discrete-event simulation. Pure; knows no clock
and no socket.

All streams are cut in one moment, 0. Each daemon hears of it after its own delay in the network, and from then on does
what its policy says. For `down` seconds every attempt is refused. Afterwards the relay takes `rate` connections a
second out of a listen queue of `backlog`; who finds the queue full has its SYN dropped, and its kernel sends it again
after 1, 3, 7, 15 … s (as Linux does) until the attempt's own time is up. Anyone who is in the queue is served in order,
though for nothing where he has stopped waiting for an answer.

Two policies: ours is the code that is shipped, `policy.decide` and `policy.TokenBucket`, with its default values; the
original's is that of the client that it replaces: an error doubles the delay from 1 s to 30 s, without dice, and a
clean close connects at once.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wire_rawsse.errors import ConnectError, TruncatedError
from wire_rawsse.policy import Backoff, Timeouts, TokenBucket, decide

SYN_AGAIN = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds between a SYN and the next: Linux's tcp_syn_retries, 6 of them, the first after 1 s."""
SYN_LAST = 64.0
NETWORK = (0.01, 0.1)
"""Seconds there and back, for each daemon its own."""
UP_BEFORE = 3600.0
"""Seconds for which each stream had been healthy."""


@dataclass(frozen=True)
class World:
    """`clean`: the relay ends each stream properly before it goes, instead of dying in the middle of one."""

    daemons: int
    down: float = 5.0
    rate: float = 1000.0
    backlog: int = 1024
    clean: bool = False
    until: float = 600.0
    seed: int = 1


class Policy(Protocol):
    """One daemon's patience. `connect` and `response` are the seconds that an attempt may take to each of them."""

    connect: float
    response: float

    def ended(self, now: float, clean: bool) -> float:
        """A stream that was healthy is over; the delay until the next attempt."""

    def failed(self, now: float) -> float:
        """An attempt has failed; the delay until the next one."""


class Ours:
    """The shipped settings. Each daemon throws its own dice."""

    connect, response = Timeouts().connect, Timeouts().response

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._backoff = Backoff()
        self._attempt = 0
        self._pace = TokenBucket(self._backoff)
        # The first connection, a long time ago.
        self._pace.delay(-UP_BEFORE)

    def ended(self, now: float, clean: bool) -> float:
        self._pace.ended(UP_BEFORE)
        return self._next(now, None if clean else TruncatedError("cut"), UP_BEFORE)

    def failed(self, now: float) -> float:
        self._pace.ended(0.0)
        return self._next(now, ConnectError("refused"), 0.0)

    def _next(self, now: float, error: TruncatedError | ConnectError | None, healthy_for: float) -> float:
        decision = decide(
            error, attempt=self._attempt, healthy_for=healthy_for, retry_ms=None, wall=0.0, random=self._dice.random(),
            backoff=self._backoff, persistent=True,
        )  # fmt: skip
        self._attempt = decision.attempt
        assert decision.delay is not None
        return max(decision.delay, self._pace.delay(now))


class Original:
    """The client that ours replaces. Its connects have no time limit but the kernel's, its answers none at all."""

    connect, response = float("inf"), float("inf")

    def __init__(self, dice: random.Random) -> None:
        self._delay = 1.0

    def ended(self, now: float, clean: bool) -> float:
        if clean:
            self._delay = 1.0
            return 0.0
        return self.failed(now)

    def failed(self, now: float) -> float:
        delay = self._delay
        self._delay = min(30.0, 2 * delay)
        return delay


POLICIES: dict[str, Callable[[random.Random], Policy]] = {"original": Original, "ours": Ours}


@dataclass
class Course:
    """The course of a restart, in seconds: every SYN that reached the relay's machine, and each return."""

    arrivals: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    dropped: int = 0
    in_vain: int = 0
    """Connections that were served after their client had given up."""


@dataclass
class _Daemon:
    policy: Policy
    trip: float
    began: float = 0.0
    tries: int = 0


def simulate(world: World, policy: Callable[[random.Random], Policy]) -> Course:
    """One restart. The same world and policy always give the same course."""
    dice = random.Random(world.seed)
    course = Course()
    queue: deque[float] = deque()
    """When each connection in the listen queue will have been taken out of it."""
    agenda: list[tuple[float, int, _Daemon]] = []
    for number in range(world.daemons):
        daemon = _Daemon(policy(random.Random(dice.random())), dice.uniform(*NETWORK))
        hears = daemon.trip / 2
        agenda.append((hears + daemon.policy.ended(hears, world.clean), number, daemon))
    heapq.heapify(agenda)
    taken = world.down
    while agenda and agenda[0][0] <= world.until:
        now, number, daemon = heapq.heappop(agenda)
        if daemon.tries == 0:
            daemon.began = now
        at_relay = now + daemon.trip / 2
        course.arrivals.append(at_relay)

        def again(now: float, number: int = number, daemon: _Daemon = daemon) -> None:
            daemon.tries = 0
            heapq.heappush(agenda, (now + daemon.policy.failed(now), number, daemon))

        if at_relay < world.down:
            again(now + daemon.trip)
            continue
        while queue and queue[0] <= at_relay:
            queue.popleft()
        if len(queue) >= world.backlog:
            course.dropped += 1
            pause = SYN_AGAIN[daemon.tries] if daemon.tries < len(SYN_AGAIN) else SYN_LAST
            daemon.tries += 1
            if now + pause - daemon.began >= daemon.policy.connect:
                again(daemon.began + daemon.policy.connect)
            elif daemon.tries > len(SYN_AGAIN):
                again(now + pause)
            else:
                heapq.heappush(agenda, (now + pause, number, daemon))
            continue
        taken = max(taken, at_relay) + 1 / world.rate
        queue.append(taken)
        answered = taken + daemon.trip / 2
        if answered - now > daemon.policy.response:
            course.in_vain += 1
            again(now + daemon.policy.response)
        else:
            course.back.append(answered)
    course.arrivals.sort()
    course.back.sort()
    return course


def peak(times: Sequence[float], after: float = 0.0, window: float = 1.0) -> int:
    """The most of `times` (ascending) in any window of so many seconds that begins at `after` or later."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] < after or times[first] <= time - window:
            if first >= last:
                break
            first += 1
        if times[first] >= after:
            most = max(most, last - first + 1)
    return most


def until_back(back: Sequence[float], daemons: int, since: float, share: float = 0.99) -> float | None:
    """Seconds from `since` until so many of the daemons were back; None where they never were."""
    needed = -(-daemons * share // 1)
    return back[int(needed) - 1] - since if len(back) >= needed else None
