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
        now = time.monotonic()
        due = [subscriber for subscriber in held.values() if subscriber.deadline() <= now]
        if not due:
            soonest = min(subscriber.deadline() for subscriber in held.values())
            due = [held[fd] for fd, _ in poll.poll(min(5000.0, (soonest - now) * 1000))]
        woken = False
        for subscriber in due:
            woken |= subscriber.wait(0)
        if woken:
            probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
