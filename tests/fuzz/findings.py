"""Handles an input that breaks an invariant: describes the failure, minimises the input, tells how to replay it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import slow

_MOST_TRIES = 20_000
_LONGEST = 30.0
"""Seconds: what `growth` finds takes long to see again."""


def failure(check: Callable[[bytes], None], data: bytes) -> str | None:
    """How `data` fails: the kind of the exception and the line that raised it (or was slow); None where it holds."""
    try:
        check(data)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        # An interrupted check is identified by the line at which it was interrupted.
        where = next((frame for frame in reversed(frames) if frame.filename != slow.__file__), frames[-1])
        return f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {where.line}"
    return None


def minimised(check: Callable[[bytes], None], data: bytes) -> bytes:
    """A small input that fails as `data` does: nothing can be left out of it, and what can be plain is, in time."""
    wanted = failure(check, data)
    tries = 0
    end = time.monotonic() + _LONGEST

    def still(other: bytes) -> bool:
        nonlocal tries
        tries += 1
        return tries < _MOST_TRIES and time.monotonic() < end and failure(check, other) == wanted

    size = len(data) // 2
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if still(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    for at in range(len(data)):
        for plain in (b"\x00", b"a"):
            if data[at : at + 1] > plain and still(data[:at] + plain + data[at + 1 :]):
                data = data[:at] + plain + data[at + 1 :]
                break
    return data


def report(name: str, data: bytes, folder: Path, mutant: str = "") -> str:
    """All that a person needs for an input that a fuzzer found, with `mutant` perhaps; a small one goes to `folder`."""
    from tests.fuzz import corpora

    check = slow.check_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    told = failure(check, data)
    if told is None:
        path = folder / f"{name}-{corpora.file_name(data)}"
        path.write_bytes(data)
        return f"{name}: {path} stopped the fuzzer (too much memory?) and breaks nothing when replayed"
    # Of what is slow a small input shows less, and each try to make it smaller would take long.
    small = data if told.startswith(slow.TooSlow.__name__) else minimised(check, data)
    path = folder / f"{name}-{corpora.file_name(small)}"
    path.write_bytes(small)
    return "\n".join(
        [
            f"{name}: an input breaks the invariant",
            f"  how      {told}",
            f"  input    {small!r} ({len(small)} bytes, {len(data)} when found)",
            f"  replay   python -m tests.fuzz {name}{f' --mutant {mutant!r}' if mutant else ''} --replay {path}",
            f"  keep     correct the library, then: cp {path} tests/fuzz/corpus/{name}/",
        ]
    )
