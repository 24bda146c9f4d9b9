"""Floor: `add_reader` and recv on asyncio's own event loop: the least that a wake costs in a program of asyncio."""

import asyncio
from time import monotonic_ns

from bench.clients import _event_loop
from bench.clients._floor import subscribe
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    would_block: tuple[type[OSError], ...] = (BlockingIOError,)
    if probe.ca is not None:
        import ssl

        would_block = (ssl.SSLWantReadError,)

    async def one(url: str) -> None:
        sock = subscribe(probe)
        sock.setblocking(False)

        def readable() -> None:
            try:
                received = sock.recv(65536)
            except would_block:
                return
            if not received:
                raise ConnectionError("the stream ended")
            probe.woken(monotonic_ns())

        loop = asyncio.get_running_loop()
        loop.add_reader(sock, readable)
        await loop.create_future()

    _event_loop.run(probe, one)


if __name__ == "__main__":
    run("wake", body)
