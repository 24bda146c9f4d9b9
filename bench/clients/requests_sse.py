"""Peer: requests-sse, `EventSource` as its README shows it. How it cuts lines is no option of its own."""

from collections.abc import Iterator

import requests
from requests_sse import EventSource

from bench.clients._handover import in_main, in_thread
from bench.clients._probe import Probe, run_variant


def stock(probe: Probe) -> None:
    def events(url: str) -> Iterator[object]:
        with EventSource(url, verify=probe.ca or True) as source:
            yield from source

    in_thread(probe, events)


def tuned_events(probe: Probe, url: str) -> Iterator[object]:
    """No look at the environment, no content decoders."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Accept-Encoding": "identity"}
        with EventSource(url, session=session, headers=headers, verify=probe.ca or True) as source:
            yield from source


def tuned(probe: Probe) -> None:
    in_thread(probe, lambda url: tuned_events(probe, url))


def main(probe: Probe) -> None:
    in_main(probe, lambda url: tuned_events(probe, url))


if __name__ == "__main__":
    run_variant({"stock": ("event", stock), "tuned": ("event", tuned), "main": ("event", main)})
