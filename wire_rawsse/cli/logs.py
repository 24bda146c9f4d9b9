"""Routes the library's log lines while a command runs: to one function, as text, or nowhere."""

from __future__ import annotations

import logging
from collections.abc import Callable


class _Lines(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


def route(tell: Callable[[str], None] | None, *, failures_only: bool = False) -> None:
    """Hand each line of the logger `wire_rawsse` to `tell`, which must not raise; drop them all where it is None."""
    logger = logging.getLogger("wire_rawsse")
    logger.propagate = False
    logger.setLevel(logging.WARNING if failures_only else logging.INFO)
    logger.handlers = [logging.NullHandler() if tell is None else _Lines(tell)]
