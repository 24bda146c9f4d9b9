"""The relay, servers and authorities of the other tests, for the probe."""

from tests.cli.conftest import client, home, relay, slot
from tests.support.fixtures import authority, serve, socket_path, stranger

__all__ = ["authority", "client", "home", "relay", "serve", "slot", "socket_path", "stranger"]
