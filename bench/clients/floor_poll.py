"""Floor: poll(2) and recv in the main thread, with the 5 s timeout that a daemon has."""

import select
from time import monotonic_ns

from bench.clients._floor import subscribe
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    sock = subscribe(probe)
    sock.setblocking(False)
    would_block: tuple[type[OSError], ...] = (BlockingIOError,)
    if probe.ca is not None:
        import ssl

        would_block = (ssl.SSLWantReadError,)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while True:
        try:
            received = sock.recv(65536)
        except would_block:
            poll.poll(5000)
            continue
        if not received:
            raise ConnectionError("the stream ended")
        probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
