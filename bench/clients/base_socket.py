"""Baseline of memory: what a stream over `socket` (and `ssl`, with trusted roots) and h11 weighs with no library at
all.

It connects, sends its request and sleeps for good. Anything that another client costs beyond this is its library's.
"""

import signal
from time import monotonic_ns

import h11

from bench.clients._floor import subscribe
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    held = subscribe(probe), h11.Connection(h11.CLIENT)
    while held:
        probe.woken(monotonic_ns())
        signal.pause()


if __name__ == "__main__":
    run("wake", body)
