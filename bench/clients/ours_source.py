"""Ours: `EventSource.next`, which gives whole parsed events, in the main thread."""

from time import monotonic_ns

from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    from wire_rawsse import EventSource

    with EventSource(probe.url, tls=probe.ca) as source:
        while True:
            if source.next(timeout=5.0) is not None:
                probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("event", body)
