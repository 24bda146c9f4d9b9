"""Ours, with and without the watch of the machine. It sleeps without a timeout, so that all its wake-ups are ours."""

from functools import partial
from time import monotonic_ns

from bench.clients._probe import Probe, run_variant


def body(probe: Probe, *, watch: bool) -> None:
    from wire_rawsse import StreamSubscriber

    with StreamSubscriber(probe.url, tls=probe.ca, watch=watch) as subscriber:
        while True:
            if subscriber.wait():
                probe.woken(monotonic_ns())


if __name__ == "__main__":
    run_variant({"on": ("wake", partial(body, watch=True)), "off": ("wake", partial(body, watch=False))})
