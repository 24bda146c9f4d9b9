"""One module for each target: its invariant in words, `check`, which is that invariant as a plain function of bytes,
`WORDS`, which a fuzzer puts into its inputs, and `SEEDS`, with which it begins.

`check` returns where the invariant holds and raises where it does not, whatever raises. It knows no fuzzer, so that
the ordinary tests replay every input on every Python. How the bytes are laid out is said in each module; a layout never
refuses an input, as an input that says nothing is time lost.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, Protocol


class Target(Protocol):
    """What a module in this folder holds."""

    __doc__: str | None
    ABOUT: tuple[str, ...]
    """The modules of `wire_rawsse` that it is to reach."""
    WORDS: tuple[bytes, ...]
    SEEDS: tuple[bytes, ...]
    LONGEST: int
    """Bytes: longer inputs say nothing that shorter ones do not, and cost time."""

    def check(self, data: bytes) -> None: ...


NAMES: Final = (
    "events",
    "exchange",
    "relay_json",
    "urls",
    "requests",
    "chunks",
    "wakes",
    "dates",
    "state_json",
)
"""The first four are the ones that long runs are promised for."""


def load(name: str) -> Target:
    """The target of this name, one of `NAMES`."""
    module: Any = importlib.import_module(f"{__name__}.{name}")
    found: Target = module
    return found
