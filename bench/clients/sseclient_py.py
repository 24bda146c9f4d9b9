"""Peer: sseclient-py over requests, as its README shows it."""

from collections.abc import Iterator

import requests
import sseclient

from bench.clients._handover import in_main, in_thread
from bench.clients._probe import Probe, run_variant

HEADERS = {"Accept": "text/event-stream"}


def stock(probe: Probe) -> None:
    def events(url: str) -> Iterator[object]:
        with requests.get(url, stream=True, headers=HEADERS, verify=probe.ca or True) as response:
            # Its types ask for an iterator; its README gives it the response.
            yield from sseclient.SSEClient(response).events()  # type: ignore[arg-type]

    in_thread(probe, events)


def tuned_events(probe: Probe, url: str) -> Iterator[object]:
    """No look at the environment, no content decoders, and urllib3's own chunks instead of pieces of 128 bytes."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {**HEADERS, "Accept-Encoding": "identity"}
        with session.get(url, stream=True, headers=headers, verify=probe.ca or True) as response:
            yield from sseclient.SSEClient(response.raw.stream(65536, decode_content=False)).events()


def tuned(probe: Probe) -> None:
    in_thread(probe, lambda url: tuned_events(probe, url))


def main(probe: Probe) -> None:
    in_main(probe, lambda url: tuned_events(probe, url))


if __name__ == "__main__":
    run_variant({"stock": ("event", stock), "tuned": ("event", tuned), "main": ("event", main)})
