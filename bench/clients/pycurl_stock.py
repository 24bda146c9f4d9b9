"""Peer: pycurl, `perform` with a write callback, in a thread."""

import queue
import threading
from time import monotonic_ns

import pycurl

from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    inbox: queue.Queue[bytes] = queue.Queue()
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, probe.url)
    if probe.ca:
        curl.setopt(pycurl.CAINFO, probe.ca)
    curl.setopt(pycurl.WRITEFUNCTION, inbox.put)
    threading.Thread(target=curl.perform, daemon=True).start()
    while True:
        try:
            inbox.get(timeout=5.0)
        except queue.Empty:
            continue
        probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
