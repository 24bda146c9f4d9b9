"""Fixtures for this folder."""

from tests.support.fixtures import authority, fresh_contexts, serve, socket_path, stranger

__all__ = ["authority", "fresh_contexts", "serve", "socket_path", "stranger"]
