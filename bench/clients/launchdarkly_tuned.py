"""Peer: launchdarkly-eventsource, iterated by the main thread."""

import urllib3
from ld_eventsource import SSEClient
from ld_eventsource.config import ConnectStrategy

from bench.clients._handover import in_main
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    pool = urllib3.PoolManager(ca_certs=probe.ca)
    with SSEClient(ConnectStrategy.http(probe.url, pool=pool)) as client:
        in_main(probe, client.events)


if __name__ == "__main__":
    run("event", body)
