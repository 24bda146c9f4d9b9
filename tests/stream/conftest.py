"""Fixtures for this folder."""

from tests.support.fixtures import (
    authority,
    ca_file,
    contexts_built,
    fresh_contexts,
    serve,
    server_context,
    socket_path,
    stranger,
)

__all__ = [
    "authority",
    "ca_file",
    "contexts_built",
    "fresh_contexts",
    "serve",
    "server_context",
    "socket_path",
    "stranger",
]
