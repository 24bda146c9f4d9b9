"""Ours: a daemon's own poll loop with the subscriber's one descriptor and one deadline."""

import select
import time
from time import monotonic_ns

from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    from wire_rawsse import StreamSubscriber

    with StreamSubscriber(probe.url, tls=probe.ca) as subscriber:
        poll = select.poll()
        poll.register(subscriber.fileno(), select.POLLIN)
        while True:
            poll.poll(min(5000.0, max(0.0, (subscriber.deadline() - time.monotonic()) * 1000)))
            if subscriber.wait(0):
                probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
