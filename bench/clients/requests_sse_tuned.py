"""Peer: requests-sse, iterated by the main thread."""

from requests_sse import EventSource

from bench.clients._handover import in_main
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    with EventSource(probe.url, verify=probe.ca or True) as source:
        in_main(probe, source)


if __name__ == "__main__":
    run("event", body)
