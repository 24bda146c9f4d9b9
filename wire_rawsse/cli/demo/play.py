"""The demo's three acts and its table: wakes, a wedge, wakes again, and whether what was promised was kept.

Every figure is made of two stamps of one clock, CLOCK_MONOTONIC, which all processes of a machine share (it is the
system's uptime on macOS and Windows too). A wake's latency runs from the relay's stamp, taken just before it writes the
event, to the daemon's, taken first of all after its wait. The silence before the wedge was found runs from the last
byte that the relay wrote, by the relay's own log, to the daemon's giving up.

Whatever hangs, the play ends: each step has a deadline, and all of them together have one.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import sys
import time
from typing import Any, Final

from wire_rawsse.cli.demo import tell
from wire_rawsse.cli.demo.stage import Stage
from wire_rawsse.cli.demo.tell import Promise, Voice
from wire_rawsse.cli.exit import FAILED, Failure
from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.testing import Fault, RelayClient, Slot

READ: Final = 2.0
"""Seconds, for the 75 of `Timeouts.read`."""
HEARTBEAT: Final = 0.8
"""Seconds, for wire's 30: two and a half of them are a read timeout, here as there."""
INITIAL: Final = 0.5
"""Seconds, for the 1 of `Backoff.initial`."""
LONGEST: Final = 20.0
"""Seconds that the whole may take; it is broken off a little earlier."""

_BEFORE: Final = 16
_IN_SILENCE: Final = 3
_AFTER: Final = 10
_GAP: Final = 0.15
"""Seconds between two posts."""
_STEP: Final = 5.0
"""Seconds that any one step may take."""
_LATE: Final = 0.25
"""Seconds by which the finding of a wedge may be late on a busy machine."""


@dataclasses.dataclass
class Wake:
    """One event on its way, in seconds: from the relay's write, and from the sender's post, to the daemon."""

    event_id: str
    from_relay: float
    from_post: float


class Play:
    """What the acts find out. Moments are seconds on CLOCK_MONOTONIC."""

    def __init__(self, stage: Stage, relay: RelayClient, slot: Slot, voice: Voice, began: float) -> None:
        self._stage = stage
        self._relay = relay
        self._slot = slot
        self._voice = voice
        self._began = began
        self._posted: list[str] = []
        self._pulled: list[str] = []
        self._wakes: list[Wake] = []
        self._silence = self._mended = self._caught_up = 0.0
        self._caught: list[str] = []

    def run(self) -> bool:
        self._opening()
        self._voice.act("Wakes", tell.WAKES)
        self._exchange(_BEFORE)
        self._voice.act("The wedge", tell.WEDGE)
        self._wedge()
        self._voice.act("Wakes again", "")
        self._exchange(_AFTER)
        promises = self._promises()
        self._voice.table(promises)
        return all(promise.kept is not False for promise in promises)

    def _opening(self) -> None:
        stage = self._stage
        self._voice.opening(
            stage.relay.pid, stage.relay.url, stage.sender.pid, stage.daemon.pid, READ, HEARTBEAT, INITIAL
        )
        stage.sender.tell(url=stage.relay.url, **dataclasses.asdict(self._slot))
        stage.daemon.tell(read=READ, initial=INITIAL)
        self._woken("be woken by its connection")

    def _exchange(self, events: int) -> None:
        for _ in range(events):
            ready = time.monotonic()
            event_id, sent = self._post()
            woke, written = 0.0, math.inf
            while woke < written:  # A wake that was given before it is another's.
                woke = self._woken(f"be woken by {event_id}")
                written = self._relay.published(self._slot, len(self._posted) - 1)[0][1]
            self._wakes.append(Wake(event_id, woke - written, woke - sent))
            self._voice.wake(self._wakes[-1])
            time.sleep(max(0.0, ready + _GAP - time.monotonic()))

    def _wedge(self) -> None:
        voice = self._voice
        self._relay.misbehave(Fault("silent", at="stream", scope="live"))
        for _ in range(_IN_SILENCE):
            self._post()
        voice.posted(_IN_SILENCE)
        time.sleep(READ / 2)
        voice.kernel(self._tcp_says())
        lost = self._hear("give the silent stream up", "lost")
        # Only streams that were open are silent: the relay serves whoever comes anew, as one would behind a
        # proxy that has lost its way to it.
        self._silence = lost["lost"] - self._last_byte(lost["lost"])
        voice.found(self._silence, lost["why"])
        self._caught_up = self._woken("be woken by its reconnect")
        self._mended = self._caught_up - lost["lost"]
        self._caught = self._pulled[-_IN_SILENCE:]
        voice.mended(self._mended, len([one for one in self._caught if one in self._posted[-_IN_SILENCE:]]))

    def _promises(self) -> list[Promise]:
        latencies = sorted(wake.from_relay for wake in self._wakes)
        middle = _median(latencies)
        expected = _BEFORE + _AFTER
        missed = self._posted[-_AFTER - _IN_SILENCE : -_AFTER]
        return [
            Promise("each event wakes the daemon", f"{expected}", f"{len(latencies)}", len(latencies) == expected),
            # Missed only where other programs keep the processors: told, but nothing of ours is broken then.
            Promise(
                "wake latency, median",
                "under 1 ms",
                tell.duration(middle) + ("" if middle < 0.001 else ": a busy machine"),
                middle < 0.001 or None,
            ),
            Promise("   90 % of the wakes within", "", tell.duration(_share(latencies, 0.9)), None),
            Promise(
                "   from post to wake, median", "", tell.duration(_median([w.from_post for w in self._wakes])), None
            ),
            Promise(
                "silence until the wedge is found",
                f"{READ:.2f} to {READ + _LATE:.2f} s",
                f"{self._silence:.2f} s",
                READ - 0.01 <= self._silence <= READ + _LATE,
            ),
            Promise(
                "connected again after",
                f"at most {INITIAL + 1:.1f} s",
                f"{self._mended:.2f} s",
                self._mended <= INITIAL + 1,
            ),
            Promise(
                "the catch-up wake brings",
                f"{_IN_SILENCE} events",
                f"{len(self._caught)} events",
                self._caught == missed,
            ),
            Promise(
                "pulled in the end, none lost or twice",
                f"{len(self._posted)}",
                f"{len(self._pulled)}",
                self._pulled == self._posted,
            ),
            Promise(
                "the whole demo",
                f"under {LONGEST:.0f} s",
                f"{time.monotonic() - self._began:.1f} s",
                time.monotonic() - self._began < LONGEST,
            ),
        ]

    # The steps.

    def _post(self) -> tuple[str, float]:
        event_id = f"event-{len(self._posted) + 1:02}"
        self._posted.append(event_id)
        self._stage.sender.tell(post=event_id)
        answer = self._stage.sender.hear(self._until())
        if answer is None:
            raise Failure(f"the demo's relay did not answer the post of {event_id} in time", FAILED)
        return event_id, float(answer["sent"])

    def _woken(self, what: str) -> float:
        """The moment of the daemon's next wake; what it pulled is noted."""
        report = self._hear(what, "woke")
        self._pulled += report["pulled"]
        return float(report["woke"])

    def _hear(self, what: str, key: str) -> dict[str, Any]:
        until = self._until()
        while True:
            report = self._stage.daemon.hear(until)
            if report is None:
                raise Failure(f"the demo's daemon was expected to {what}, and was not heard of in time", FAILED)
            if key in report:
                return report

    def _until(self) -> float:
        return min(time.monotonic() + _STEP, self._began + LONGEST - 2)

    def _stream_record(self) -> dict[str, Any]:
        """The relay's record of the newest connection with a stream on it."""
        records = [one for one in self._relay.report()["connections"] if one["slot_id"] == self._slot.slot_id]
        return max(records, key=lambda one: int(one["number"]))

    def _last_byte(self, before: float) -> float:
        log = self._stream_record()["log"]
        return max(float(when) for when, what, _ in log if what in ("stream", "event", "heartbeat") and when < before)

    def _tcp_says(self) -> str | None:
        """What the kernel says of the daemon's connection, where it can be read without tools (Linux)."""
        if sys.platform != "linux":
            return None
        return tcp_state(self._stream_record()["peer"], self._stage.relay.url.removeprefix("http://"))


def play() -> bool:
    """Whether everything that was promised was kept. Raises `Failure` where the play could not be finished."""
    began = time.monotonic()
    voice = Voice()
    voice.title()
    try:
        with Stage(HEARTBEAT) as stage, stage.relay.client(timeout=_STEP) as relay:
            slot = Slot("demo", secrets.token_hex(32))
            relay.adopt(slot)
            stage.write_relay_json(slot.slot_id, slot.slot_token)
            return Play(stage, relay, slot, voice, began).run()
    except WireRawSSEError as error:
        raise Failure(f"the demo's relay: {error}", FAILED) from None
    except OSError as error:
        raise Failure(f"the demo could not be set up: {error.strerror or error}", FAILED) from None


def tcp_state(near: str, far: str) -> str | None:
    """The state of the TCP connection from `near` to `far` ("127.0.0.1:PORT"), by /proc/net/tcp; None if not found."""
    ends = [_as_proc_has_it(near), _as_proc_has_it(far)]
    for _ in range(10):  # While sockets come and go elsewhere, a row may be missing from the table.
        try:
            with open("/proc/net/tcp", encoding="ascii") as table:
                rows = [line.split() for line in table]
        except OSError:
            return None
        for row in rows:
            if row[1:3] == ends:
                return "ESTABLISHED" if row[3] == "01" else f"state {row[3]}"
        time.sleep(0.02)
    return None


def _as_proc_has_it(place: str) -> str:
    """An IPv4 address and port in hexadecimal, the address as a little-endian machine has it in memory (proc(5))."""
    address, _, port = place.rpartition(":")
    return f"{bytes(reversed([int(part) for part in address.split('.')])).hex().upper()}:{int(port):04X}"


def _median(values: list[float]) -> float:
    return _share(sorted(values), 0.5)


def _share(ordered: list[float], part: float) -> float:
    """The value below which `part` of them lie (nearest rank); infinite where there is none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else math.inf
