"""Peer: pycurl, `perform` with a write callback, as its documentation shows it; it has no parser of events."""

import threading
from time import monotonic_ns

import pycurl

from bench.clients._handover import chosen
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
    """As `_handover.in_thread`, of which libcurl's loop is the iterator and the write callback the body."""
    hand_over = chosen(probe)
    give = hand_over.give

    def received(chunk: bytes) -> None:
        try:
            give()
        except RuntimeError:
            pass

    def read(curl: pycurl.Curl) -> None:
        try:
            curl.perform()
            hand_over.fail(ConnectionError("the stream ended"))
        except pycurl.error as error:
            hand_over.fail(error)

    for url in probe.urls:
        curl = easy(probe, url)
        if tuned:
            tune(curl)
        curl.setopt(pycurl.WRITEFUNCTION, received)
        threading.Thread(target=read, args=(curl,), daemon=True).start()
    hand_over.wake_for_each(probe)


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
