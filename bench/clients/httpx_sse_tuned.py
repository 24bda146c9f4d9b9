"""Peer: httpx-sse, iterated by the main thread."""

import ssl

import httpx
from httpx_sse import connect_sse

from bench.clients._handover import in_main
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    verify = ssl.create_default_context(cafile=probe.ca) if probe.ca else True
    with (
        httpx.Client(verify=verify, timeout=None) as client,
        connect_sse(client, "GET", probe.url) as source,
    ):
        in_main(probe, source.iter_sse())


if __name__ == "__main__":
    run("event", body)
