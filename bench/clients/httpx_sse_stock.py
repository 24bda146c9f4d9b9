"""Peer: httpx-sse, `connect_sse` as its README shows it, in a thread."""

import ssl
from collections.abc import Iterator

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from bench.clients._handover import in_thread
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    def events() -> Iterator[ServerSentEvent]:
        verify = ssl.create_default_context(cafile=probe.ca) if probe.ca else True
        with (
            httpx.Client(verify=verify, timeout=None) as client,
            connect_sse(client, "GET", probe.url) as source,
        ):
            yield from source.iter_sse()

    in_thread(probe, events)


if __name__ == "__main__":
    run("event", body)
