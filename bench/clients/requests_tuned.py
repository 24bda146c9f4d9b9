"""Peer: requests, urllib3's chunk iterator below it, no line splitter, in the main thread."""

from collections.abc import Iterator

import requests

from bench.clients._handover import in_main
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    def chunks() -> Iterator[bytes]:
        with requests.get(probe.url, stream=True, verify=probe.ca or True) as response:
            response.raise_for_status()
            for chunk in response.raw.stream(65536):
                if b"data:" in chunk:
                    yield chunk

    in_main(probe, chunks())


if __name__ == "__main__":
    run("wake", body)
