"""Fixtures for this folder."""

from tests.support.fixtures import authority, serve, socket_path, stranger

__all__ = ["authority", "serve", "socket_path", "stranger"]
