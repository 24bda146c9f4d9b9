"""The relay, servers and authorities of the other tests, for the probe."""

from tests.cli.conftest import client, home, relay, slot
from tests.relay.conftest import certified
from tests.support.fixtures import authority, serve, socket_path, stranger

__all__ = ["authority", "certified", "client", "home", "relay", "serve", "slot", "socket_path", "stranger"]
