"""Peer: requests-sse, `EventSource` as its README shows it, in a thread."""

from collections.abc import Iterator

from requests_sse import EventSource

from bench.clients._handover import in_thread
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    def events() -> Iterator[object]:
        with EventSource(probe.url, verify=probe.ca or True) as source:
            yield from source

    in_thread(probe, events)


if __name__ == "__main__":
    run("event", body)
