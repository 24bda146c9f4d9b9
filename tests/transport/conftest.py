"""Fixtures for this folder."""

from tests.support.fixtures import authority, contexts_built, fresh_contexts, serve, socket_path, stranger

__all__ = ["authority", "contexts_built", "fresh_contexts", "serve", "socket_path", "stranger"]
