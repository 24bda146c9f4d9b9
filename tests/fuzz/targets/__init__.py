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
    """The interface of a module in this folder."""

    __doc__: str | None
    WORDS: tuple[bytes, ...]
    SEEDS: tuple[bytes, ...]
    LONGEST: int
    """Bytes: longer inputs say nothing that shorter ones do not, and cost time."""

    def check(self, data: bytes) -> None: ...


ABOUT: Final[dict[str, tuple[str, ...]]] = {
    "events": ("protocol/sse.py", "protocol/events.py"),
    "exchange": (
        "protocol/http.py",
        "protocol/chunked.py",
        "protocol/redirect.py",
        "protocol/url.py",
        "protocol/diagnosis.py",
        "protocol/refusal.py",
        "protocol/tunnel.py",
    ),
    "relay_json": ("wire/relay_json.py",),
    "urls": ("protocol/url.py", "protocol/proxy.py"),
    "requests": ("protocol/request.py",),
    "chunks": ("protocol/chunked.py",),
    "wakes": ("connection.py", "wake_streams.py"),
    "secrets": ("redact.py",),
    "dates": ("policy.py",),
    "state_json": ("wire/status.py",),
    "growth": (
        "protocol/sse.py",
        "protocol/events.py",
        "protocol/http.py",
        "protocol/chunked.py",
        "protocol/url.py",
        "protocol/proxy.py",
        "protocol/request.py",
        "wire/relay_json.py",
    ),
}
"""Each target, and the modules of `wire_rawsse` that it is about: their branches guide the fuzzer, and no others do,
as what is about another target is found by that one, and costs time here. Long runs are promised for the first four.
"""

NAMES: Final = tuple(ABOUT)


def load(name: str) -> Target:
    """The target of this name, one of `NAMES`."""
    module: Any = importlib.import_module(f"{__name__}.{name}")
    found: Target = module
    return found
