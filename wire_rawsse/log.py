"""The logger `wire_rawsse`. `logging` is loaded only when there is something to log, because it is larger than we are.

Nothing is raised from here: a line may be lost, but no stream. A program without a free descriptor cannot load
`logging`, just when a connection fails for the same reason. Also, a filter of the program's may raise.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wire_rawsse.errors import MOST_CHARACTERS, one_line

if TYPE_CHECKING:
    from logging import Logger

_MOST: int = MOST_CHARACTERS + 100
"""Characters of a line: an error, and what is done about it."""


def _logger() -> Logger:
    """`getLogger` takes a lock, which a signal handler that raises could leave held. So it is called only once."""
    import logging

    known = logging.Logger.manager.loggerDict.get("wire_rawsse")
    return known if isinstance(known, logging.Logger) else logging.getLogger("wire_rawsse")


def warn(text: str) -> None:
    """Log a failure and how it is handled. `text` holds no secret."""
    try:
        _logger().warning("%s", one_line(text, _MOST))
    except Exception:
        pass


_said: set[str] = set()
_MOST_SAID = 256


def warn_once(text: str) -> None:
    """`warn`, unless this process has logged the same text before; at most 256 different texts."""
    if text not in _said and len(_said) < _MOST_SAID:
        _said.add(text)
        warn(text)


def info_once(text: str) -> None:
    """`info`, unless this process has logged the same text before."""
    if "logging" in sys.modules and text not in _said and len(_said) < _MOST_SAID:
        _said.add(text)
        info(text)


def info(text: str) -> None:
    """Log normal operation, but only if the program has loaded `logging` itself."""
    if "logging" in sys.modules:
        try:
            _logger().info("%s", one_line(text, _MOST))
        except Exception:
            pass
