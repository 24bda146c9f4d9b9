"""Floor: a thread in a blocking recv hands over to the main thread by an eventfd, which the main thread polls."""

import os
import select
import threading
from time import monotonic_ns

from bench.clients._floor import subscribe
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    if not hasattr(os, "eventfd"):
        raise ImportError("this platform has no eventfd")
    sock = subscribe(probe)
    wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    poll = select.poll()
    poll.register(wake, select.POLLIN)

    def read() -> None:
        while sock.recv(65536):
            os.eventfd_write(wake, 1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        if poll.poll(5000):
            probe.woken(monotonic_ns())
            os.eventfd_read(wake)


if __name__ == "__main__":
    run("wake", body)
