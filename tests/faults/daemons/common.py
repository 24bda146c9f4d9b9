"""The common part of our daemons: their settings, their input and output, and the pull."""

from __future__ import annotations

import errno
import json
import logging  # noqa: F401  # The library loads it with its first warning, and the memory of two rounds is compared.
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from wire_rawsse import Backoff, Keepalive, Timeouts, WireRawSSEError
from wire_rawsse.errors import DeadlineError
from wire_rawsse.phases import PhaseName
from wire_rawsse.record import Record
from wire_rawsse.testing.client import RelayClient, Slot

PULL_SECONDS = 0.5
AGAIN_SECONDS = 0.1


class Given:
    """The settings that the lab passes in the environment; see `tests.faults.daemon`."""

    def __init__(self) -> None:
        env = os.environ
        self.host = env["FAULTS_HOST"]
        self.url = env["FAULTS_URL"]
        self.ca_file = env.get("FAULTS_CA") or None
        self.slot = Slot(env["FAULTS_SLOT"], env["FAULTS_TOKEN"])
        self.pull_url = env["FAULTS_PULL"]
        self.slow = float(env.get("FAULTS_SLOW", "0"))
        number: dict[str, Any] = json.loads(env["FAULTS_SETTINGS"])
        self.settings: dict[str, Any] = {
            "timeouts": Timeouts(number["connect"], number["response"], number["read"], number["min_rate"]),
            "keepalive": Keepalive(number["keepalive_idle"], number["keepalive_interval"], number["keepalive_count"]),
            "backoff": Backoff(number["initial"], number["maximum"], number["healthy_after"]),
            "tls": self.ca_file,
        }


def sleep_under_faketime() -> None:
    """Make `time.sleep` use select(2) if libfaketime is loaded, under which clock_nanosleep(2) fails with EINVAL.

    CPython before 3.11 does so everywhere.
    """
    if "faketime" in os.environ.get("LD_PRELOAD", ""):

        def sleep(seconds: Any, /) -> None:
            select.select((), (), (), seconds)

        time.sleep = sleep


def say(*words: object) -> None:
    """One line, one write, stamped."""
    text = " ".join(map(str, words))
    os.write(1, f"{text} @{time.monotonic():.6f}\n".encode())


def clock_of(error: WireRawSSEError | None) -> str:
    """The cause of the end: one of our clocks, the kernel's keepalive, or the peer."""
    if isinstance(error, DeadlineError):
        return error.clock
    cause = error.__cause__ if error is not None else None
    return "keepalive" if isinstance(cause, OSError) and cause.errno == errno.ETIMEDOUT else "peer"


def observe() -> None:
    """Report each call on a stream's record at once. The record itself behaves as before."""
    heard = [0.0]
    enter, ended, was_heard, accepted = Record.enter, Record.ended, Record.heard, Record.accepted

    def tell_enter(record: Record, phase: PhaseName, wall: float) -> None:
        say("state", phase.replace(" ", "-"))
        enter(record, phase, wall)

    def tell_ended(
        record: Record, error: WireRawSSEError | None, delay: float | None, wall: float, cause: str = "end"
    ) -> None:
        pause = "" if delay is None else f"pause={delay:.3f} "
        kind = "closed" if error is None else type(error).__name__
        if error is not None or delay is not None:  # Else it was closed, by ourselves.
            say("failed", clock_of(error), f"heard={heard[0]:.6f} {pause}{kind}: {error}")
        ended(record, error, delay, wall, cause)

    def tell_heard(record: Record, now: float, wall: float, wake: bool) -> None:
        heard[0] = time.monotonic()
        was_heard(record, now, wall, wake)

    def tell_accepted(record: Record, now: float, wall: float) -> None:
        heard[0] = time.monotonic()
        accepted(record, now, wall)

    Record.enter, Record.ended = tell_enter, tell_ended  # type: ignore[method-assign,assignment]  # told of, unchanged
    Record.heard, Record.accepted = tell_heard, tell_accepted  # type: ignore[method-assign,assignment]  # told of, unchanged


class Pull:
    """Fetches what came after the last event that was fetched."""

    def __init__(self, given: Given) -> None:
        self._slot = given.slot
        self._client = RelayClient(given.pull_url, timeout=PULL_SECONDS)
        self._last: str | None = None
        self.owed = False
        """A wake came, and no pull has succeeded since."""

    def __call__(self) -> None:
        try:
            while events := self._client.pull(self._slot, self._last, limit=1000):
                self._last = events[-1]["event_id"]
                say("pulled", *(event["event_id"] for event in events))
                if len(events) < 1000:
                    break
        except WireRawSSEError:
            return  # The relay is not there: tried again.
        self.owed = False

    def close(self) -> None:
        self._client.close()


def _opens() -> str:
    """The result when this process opens a file: the name of the error, or `well`."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "well"


class Orders:
    """Standard input. `go` is awaited by `began`; `stop`, and the end of the input, call what `on_stop` was given."""

    def __init__(self) -> None:
        self._go = threading.Semaphore(0)
        self._stop: Callable[[], None] = lambda: None
        self._stopped = False
        self._over = False
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def began(self) -> bool:
        """Wait for the next round; False when there is none."""
        say("ready")
        self._go.acquire()
        self._stopped = False
        return not self._over

    def on_stop(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self._stopped or self._over:
            stop()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "go":
                self._go.release()
            elif line.strip() == "stop":
                self._stopped = True
                self._stop()
            elif line.strip() == "wall":
                say("wall", f"{time.time():.6f}")
            elif line.strip() == "open":
                say("opens", _opens())
        self._over = True
        self._stop()
        self._go.release()
