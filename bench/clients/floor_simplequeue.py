"""Floor: a thread in a blocking recv hands over to the main thread by a `SimpleQueue`."""

import queue
import threading
from time import monotonic_ns

from bench.clients._floor import subscribe
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    sock = subscribe(probe)
    wakes: queue.SimpleQueue[None] = queue.SimpleQueue()

    def read() -> None:
        while sock.recv(65536):
            wakes.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            wakes.get(timeout=5.0)
        except queue.Empty:
            continue
        probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
