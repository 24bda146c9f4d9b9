"""Mutants: bugs that are put into the shipped code on purpose, and that the tests must find.

Each module of this package holds those of one part of the library; `engine` and `edits` say how they are written.
`tests.simulation.hunt` and `tests.fuzz` look for them.
"""

from __future__ import annotations

from typing import Final

from tests.mutants import (
    chunked,
    connection,
    early_wakes,
    hosts,
    http,
    many,
    policy,
    redact,
    sse,
    streams,
    transport,
    url,
    wire,
)
from tests.mutants.engine import FUZZ, FUZZ_SEARCH, STORMS, Mutant, installed, mutant

__all__ = (
    "FUZZ",
    "FUZZ_SEARCH",
    "MUTANTS",
    "STORMS",
    "Mutant",
    "by_words",
    "found_by",
    "installed",
    "mutant",
)

_PARTS: Final = (
    chunked,
    connection,
    early_wakes,
    hosts,
    http,
    many,
    policy,
    redact,
    sse,
    streams,
    transport,
    url,
    wire,
)
MUTANTS: Final[tuple[Mutant, ...]] = tuple(one for part in _PARTS for one in part.MUTANTS)


def found_by(what: str) -> list[Mutant]:
    """Those that `STORMS`, or a fuzz target, must find."""
    return [one for one in MUTANTS if one.is_found_by(what)]


def by_words(words: str) -> Mutant:
    """The one whose name holds these words. Raises `LookupError` if there is none, or more than one."""
    found = [one for one in MUTANTS if words == one.name] or [one for one in MUTANTS if words in one.name]
    if len(found) != 1:
        raise LookupError(f"{len(found)} mutants have {words!r} in their name")
    return found[0]
