"""The demo's steps: wakes, a wedge, wakes again, and a table of promises with the measured figures.

Each figure is the difference of two times of CLOCK_MONOTONIC, which all processes of a machine share (it is also the
uptime of macOS and Windows). A wake's latency begins just before the relay writes the event and ends with the
daemon's first instruction after its wait. The silence of the wedge begins with the last byte that the relay wrote, by
the relay's log, and ends when the daemon gives the stream up.

Each step has a deadline, and the whole has one, so the demo always ends.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import sys
import time
from typing import Any, Final

from wire_rawsse.cli.demo import output
from wire_rawsse.cli.demo.output import Output, Promise, WakeTimes
from wire_rawsse.cli.demo.processes import Processes
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
"""Seconds that the whole may take; it is cut off a little earlier."""

_BEFORE: Final = 16
_IN_SILENCE: Final = 3
_AFTER: Final = 10
_GAP: Final = 0.15
"""Seconds between two posts."""
_STEP: Final = 5.0
"""Seconds that any one step may take."""
_LATE: Final = 0.25
"""Seconds by which a wedge may be noticed late on a busy machine."""


class Demo:
    """The steps and their results. Times are seconds on CLOCK_MONOTONIC."""

    def __init__(self, processes: Processes, relay: RelayClient, slot: Slot, output: Output, began: float) -> None:
        self._processes = processes
        self._relay = relay
        self._slot = slot
        self._output = output
        self._began = began
        self._posted: list[str] = []
        self._pulled: list[str] = []
        self._wakes: list[WakeTimes] = []
        self._silence = self._reconnected_after = 0.0
        self._caught: list[str] = []

    def run(self) -> bool:
        self._opening()
        self._output.section("Wakes", output.WAKES)
        self._exchange(_BEFORE)
        self._output.section("The wedge", output.WEDGE)
        self._wedge()
        self._output.section("Wakes again", "")
        self._exchange(_AFTER)
        promises = self._promises()
        self._output.table(promises)
        return all(promise.kept is not False for promise in promises)

    def _opening(self) -> None:
        processes = self._processes
        self._output.opening(
            processes.relay.pid,
            processes.relay.url,
            processes.sender.pid,
            processes.daemon.pid,
            READ,
            HEARTBEAT,
            INITIAL,
        )
        processes.sender.send(url=processes.relay.url, **dataclasses.asdict(self._slot))
        processes.daemon.send(read=READ, initial=INITIAL)
        self._woken("be woken by its connection")

    def _exchange(self, events: int) -> None:
        for _ in range(events):
            ready = time.monotonic()
            event_id, sent = self._post()
            woke, written = 0.0, math.inf
            while woke < written:  # A wake given before the write belongs to an earlier event.
                woke = self._woken(f"be woken by {event_id}")
                written = self._relay.published(self._slot, len(self._posted) - 1)[0][1]
            self._wakes.append(WakeTimes(event_id, woke - written, woke - sent))
            self._output.wake(self._wakes[-1])
            time.sleep(max(0.0, ready + _GAP - time.monotonic()))

    def _wedge(self) -> None:
        out = self._output
        self._relay.misbehave(Fault("silent", at="stream", scope="live"))
        for _ in range(_IN_SILENCE):
            self._post()
        out.posted(_IN_SILENCE)
        time.sleep(READ / 2)
        out.kernel(self._kernel_state())
        lost = self._receive("give the silent stream up", "lost")
        # Only streams that were open are silent. The relay serves new connections, like a server whose proxy has
        # lost one of them.
        self._silence = lost["lost"] - self._last_byte(lost["lost"])
        out.found(self._silence, lost["why"])
        self._reconnected_after = self._woken("be woken by its reconnect") - lost["lost"]
        self._caught = self._pulled[-_IN_SILENCE:]
        out.reconnected(
            self._reconnected_after, len([one for one in self._caught if one in self._posted[-_IN_SILENCE:]])
        )

    def _promises(self) -> list[Promise]:
        latencies = sorted(wake.from_relay for wake in self._wakes)
        middle = _median(latencies)
        expected = _BEFORE + _AFTER
        missed = self._posted[-_AFTER - _IN_SILENCE : -_AFTER]
        return [
            Promise("each event wakes the daemon", f"{expected}", f"{len(latencies)}", len(latencies) == expected),
            # A busy machine misses this bound. That breaks no promise, so it is reported only.
            Promise(
                "wake latency, median",
                "under 1 ms",
                output.duration(middle) + ("" if middle < 0.001 else ": a busy machine"),
                middle < 0.001 or None,
            ),
            Promise("   90 % of the wakes within", "", output.duration(_share(latencies, 0.9)), None),
            Promise(
                "   from post to wake, median", "", output.duration(_median([w.from_post for w in self._wakes])), None
            ),
            Promise(
                "silence until the wedge is noticed",
                f"{READ:.2f} to {READ + _LATE:.2f} s",
                f"{self._silence:.2f} s",
                READ - 0.01 <= self._silence <= READ + _LATE,
            ),
            Promise(
                "reconnected after",
                f"at most {INITIAL + 1:.1f} s",
                f"{self._reconnected_after:.2f} s",
                self._reconnected_after <= INITIAL + 1,
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
        self._processes.sender.send(post=event_id)
        answer = self._processes.sender.receive(self._until())
        if answer is None:
            raise Failure(f"the demo's relay did not answer the post of {event_id} in time", FAILED)
        return event_id, float(answer["sent"])

    def _woken(self, what: str) -> float:
        """The moment of the daemon's next wake. The events that it pulled are counted."""
        report = self._receive(what, "woke")
        self._pulled += report["pulled"]
        return float(report["woke"])

    def _receive(self, what: str, key: str) -> dict[str, Any]:
        until = self._until()
        while True:
            report = self._processes.daemon.receive(until)
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

    def _kernel_state(self) -> str | None:
        """The kernel's state of the daemon's connection; None but on Linux, where it needs no tools."""
        if sys.platform != "linux":
            return None
        return tcp_state(self._stream_record()["peer"], self._processes.relay.url.removeprefix("http://"))


def run_demo() -> bool:
    """Whether every promise was kept. Raises `Failure` if the demo could not be finished."""
    began = time.monotonic()
    out = Output()
    out.title()
    try:
        with Processes(HEARTBEAT) as processes, processes.relay.client(timeout=_STEP) as relay:
            slot = Slot("demo", secrets.token_hex(32))
            relay.adopt(slot)
            processes.write_relay_json(slot.slot_id, slot.slot_token)
            return Demo(processes, relay, slot, out, began).run()
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
