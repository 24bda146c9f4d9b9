"""Ours: a daemon's own poll loop with one descriptor and one deadline for each subscriber."""

import select
import time
from time import monotonic_ns

from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    from wire_rawsse import StreamSubscriber

    poll = select.poll()
    held = {}
    for url in probe.urls:
        subscriber = StreamSubscriber(url, tls=probe.ca)
        held[subscriber.fileno()] = subscriber
        poll.register(subscriber.fileno(), select.POLLIN)
    while True:
        soonest = min(subscriber.deadline() for subscriber in held.values())
        ready = poll.poll(min(5000.0, max(0.0, (soonest - time.monotonic()) * 1000)))
        if len(ready) == 1:
            woken = held[ready[0][0]].wait(0)
        else:
            # A deadline is nobody's descriptor, so everybody is asked.
            woken = sum(subscriber.wait(0) for subscriber in held.values()) > 0
        if woken:
            probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
