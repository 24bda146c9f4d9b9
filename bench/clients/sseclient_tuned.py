"""Peer: sseclient-py over urllib3's chunk iterator, iterated by the main thread."""

import requests
import sseclient

from bench.clients._handover import in_main
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    headers = {"Accept": "text/event-stream"}
    with requests.get(probe.url, stream=True, headers=headers, verify=probe.ca or True) as response:
        in_main(probe, sseclient.SSEClient(response.raw.stream(65536)).events())


if __name__ == "__main__":
    run("event", body)
