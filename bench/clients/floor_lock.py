"""Floor: a thread in a blocking recv hands over to the main thread by a raw lock."""

import threading
from time import monotonic_ns

from bench.clients._floor import subscribe
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    sock = subscribe(probe)
    lock = threading.Lock()
    lock.acquire()

    def read() -> None:
        while sock.recv(65536):
            try:
                lock.release()
            except RuntimeError:
                pass  # Already free: the main thread has a wake that it has not taken yet.

    threading.Thread(target=read, daemon=True).start()
    while True:
        if lock.acquire(timeout=5.0):
            probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
