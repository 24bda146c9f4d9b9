"""Peer: pycurl, `perform` with a write callback, as its documentation shows it; it has no parser of events."""

import queue
import threading
from time import monotonic_ns

import pycurl

from bench.clients._probe import Probe, run_variant


def easy(probe: Probe, url: str) -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    if probe.ca:
        curl.setopt(pycurl.CAINFO, probe.ca)
    return curl


def tune(curl: pycurl.Curl) -> None:
    """No signals, no progress meter, no decoders, no Nagle, and room for one event instead of 16 KiB."""
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.NOPROGRESS, 1)
    curl.setopt(pycurl.HTTP_CONTENT_DECODING, 0)
    curl.setopt(pycurl.TCP_NODELAY, 1)
    curl.setopt(pycurl.BUFFERSIZE, 2048)


def in_threads(probe: Probe, tuned: bool) -> None:
    """As `_handover.in_thread`; the callback is the queue's own `put`, so that no line of Python runs in between."""
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for url in probe.urls:
        curl = easy(probe, url)
        if tuned:
            tune(curl)
        curl.setopt(pycurl.WRITEFUNCTION, inbox.put)
        threading.Thread(target=curl.perform, daemon=True).start()
    while True:
        try:
            inbox.get(timeout=5.0)
        except queue.Empty:
            continue
        probe.woken(monotonic_ns())


def stock(probe: Probe) -> None:
    in_threads(probe, tuned=False)


def tuned(probe: Probe) -> None:
    in_threads(probe, tuned=True)


def main(probe: Probe) -> None:
    curl = easy(probe, probe.url)
    tune(curl)

    def received(chunk: bytes) -> None:
        probe.woken(monotonic_ns())

    curl.setopt(pycurl.WRITEFUNCTION, received)
    curl.perform()


if __name__ == "__main__":
    run_variant({"stock": ("wake", stock), "tuned": ("wake", tuned), "main": ("wake", main)})
