"""Peer: httpx, `iter_lines`, in a thread."""

import ssl
from collections.abc import Iterator

import httpx

from bench.clients._handover import in_thread
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    def events() -> Iterator[str]:
        verify = ssl.create_default_context(cafile=probe.ca) if probe.ca else True
        with httpx.Client(verify=verify, timeout=None) as client, client.stream("GET", probe.url) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield line

    in_thread(probe, events)


if __name__ == "__main__":
    run("event", body)
