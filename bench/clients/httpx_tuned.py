"""Peer: httpx, `iter_raw` (no decoding, no lines), in the main thread."""

import ssl
from collections.abc import Iterator

import httpx

from bench.clients._handover import in_main
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    def chunks() -> Iterator[bytes]:
        verify = ssl.create_default_context(cafile=probe.ca) if probe.ca else True
        with httpx.Client(verify=verify, timeout=None) as client, client.stream("GET", probe.url) as response:
            response.raise_for_status()
            for chunk in response.iter_raw():
                if b"data:" in chunk:
                    yield chunk

    in_main(probe, chunks())


if __name__ == "__main__":
    run("wake", body)
