"""Peer: launchdarkly-eventsource, `SSEClient.events` as its documentation shows it, in a thread."""

from collections.abc import Iterator

import urllib3
from ld_eventsource import SSEClient
from ld_eventsource.config import ConnectStrategy

from bench.clients._handover import in_thread
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    def events() -> Iterator[object]:
        pool = urllib3.PoolManager(ca_certs=probe.ca)
        with SSEClient(ConnectStrategy.http(probe.url, pool=pool)) as client:
            yield from client.events

    in_thread(probe, events)


if __name__ == "__main__":
    run("event", body)
