"""Ours: a subscriber thread and a `WakeChannel`, as in the seed."""

from time import monotonic_ns

from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    from wire_rawsse import StreamSubscriber, WakeChannel, spawn_stream_subscriber

    wake = WakeChannel()
    threads = [spawn_stream_subscriber(wake, StreamSubscriber(url, tls=probe.ca)) for url in probe.urls]
    try:
        while True:
            if wake.wait(timeout=5.0):
                probe.woken(monotonic_ns())
    finally:
        for thread in threads:
            thread.stop()


if __name__ == "__main__":
    run("wake", body)
