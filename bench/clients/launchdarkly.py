"""Peer: launchdarkly-eventsource, `SSEClient.events` as its documentation shows it."""

import socket
from collections.abc import Iterator

import urllib3
from ld_eventsource import SSEClient
from ld_eventsource.config import ConnectStrategy
from urllib3.connection import HTTPConnection

from bench.clients._handover import in_main, in_thread
from bench.clients._probe import Probe, run_variant


def stock(probe: Probe) -> None:
    def events(url: str) -> Iterator[object]:
        pool = urllib3.PoolManager(ca_certs=probe.ca)
        with SSEClient(ConnectStrategy.http(url, pool=pool)) as client:
            yield from client.events

    in_thread(probe, events)


def tuned_events(probe: Probe, url: str) -> Iterator[object]:
    """No content decoders, no Nagle, and everything that comes instead of a filter that leaves only events."""
    options = [*HTTPConnection.default_socket_options, (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    pool = urllib3.PoolManager(ca_certs=probe.ca, num_pools=1, maxsize=1, socket_options=options)
    strategy = ConnectStrategy.http(url, pool=pool, urllib3_request_options={"decode_content": False})
    with SSEClient(strategy) as client:
        # `Start` and comments come too; of those the bench's sender gives no second one while it measures.
        yield from client.all


def tuned(probe: Probe) -> None:
    in_thread(probe, lambda url: tuned_events(probe, url))


def main(probe: Probe) -> None:
    in_main(probe, lambda url: tuned_events(probe, url))


if __name__ == "__main__":
    run_variant({"stock": ("event", stock), "tuned": ("wake", tuned), "main": ("wake", main)})
