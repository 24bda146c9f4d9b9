"""Peer: requests, `iter_lines` with its default chunk size, in a thread."""

from collections.abc import Iterator

import requests

from bench.clients._handover import in_thread
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    def events() -> Iterator[bytes]:
        with requests.get(probe.url, stream=True, verify=probe.ca or True) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith(b"data:"):
                    yield line

    in_thread(probe, events)


if __name__ == "__main__":
    run("event", body)
