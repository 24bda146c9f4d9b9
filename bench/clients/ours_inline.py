"""Ours: the subscriber's `wait` is the daemon's own sleep; no thread."""

from time import monotonic_ns

from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    from wire_rawsse import StreamSubscriber

    with StreamSubscriber(probe.url, tls=probe.ca) as subscriber:
        while True:
            if subscriber.wait(timeout=5.0):
                probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
