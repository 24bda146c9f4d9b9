"""The shared part of all client programs of the bench: its arguments, its stamps, its report. Knows no HTTP.

A client calls `probe.woken(monotonic_ns())` as the first thing its main thread does after a wake: the clock is read
before anything else of ours runs. The first call says `connected` on standard output (the sender greets each
connection with one event); nothing else is printed until the end, and the garbage collector is left as it is.

The end is SIGTERM, or for a client whose main thread is deaf to signals inside a C call the event after it. The
report is one JSON line, `{"kind": …, "wakes": [[n, t_ns], …], "modules": …}`. A `kind` of "event"
promises one stamp for each event, in order, so that n is the sequence number of the event; "wake" promises only that
something had come, as wakes coalesce.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Literal

Kind = Literal["wake", "event"]


class Probe:
    """One run of one client. `urls` are the streams that it holds, mostly one; `ca` is the path of the CA file to
    trust, or None for http.
    """

    def __init__(self, kind: Kind, urls: str, ca: str | None) -> None:
        self.kind = kind
        self.urls = urls.split(",")
        self.ca = ca
        self.stamps: list[int] = []

    @property
    def url(self) -> str:
        return self.urls[0]

    def woken(self, stamp: int) -> None:
        """Keep one wake; `stamp` is `time.monotonic_ns()`, read by the caller before it did anything else."""
        self.stamps.append(stamp)
        if len(self.stamps) == 1:
            say("connected")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(kind: Kind, body: Callable[[Probe], None]) -> None:
    """Run a client that has no variants until SIGTERM, and report. Never returns."""
    _run(kind, body, sys.argv[1:])


def run_variant(variants: dict[str, tuple[Kind, Callable[[Probe], None]]]) -> None:
    """The same for the variant that the first argument names."""
    _run(*variants[sys.argv[1]], sys.argv[2:])


def _run(kind: Kind, body: Callable[[Probe], None], arguments: list[str]) -> None:
    """The exit status is 0 after a report, 1 after a failure."""
    probe = Probe(kind, arguments[0], arguments[1] if len(arguments) > 1 else None)
    signal.signal(signal.SIGTERM, _stop)
    status = 0
    try:
        body(probe)
        say(json.dumps({"failed": "the client returned before it was told to stop"}))
        status = 1
    except Stop:
        wakes = [[n, stamp] for n, stamp in enumerate(probe.stamps)]
        say(json.dumps({"kind": probe.kind, "wakes": wakes, "modules": len(sys.modules)}))
    except ImportError as error:
        say(json.dumps({"unavailable": f"{error}"}))
    except Exception as error:
        say(json.dumps({"failed": f"{type(error).__name__}: {error}"}))
        status = 1
    # A reader thread may sit in a blocking read; the interpreter would wait for it.
    os._exit(status)


class Stop(BaseException):
    """Raised in the main thread by SIGTERM. Not an `Exception`: no library on the way may swallow it."""


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stop
