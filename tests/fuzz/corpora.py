"""The committed inputs of each target, and how a large heap of inputs is distilled into a few.

An input is kept for a feature that no smaller one has: a step from one line of the library to another, together with
how often it is taken (once, twice, three times, up to 7, 15, 31, 127, or more), which is libFuzzer's own notion. It is
traced in plain Python, so that anybody can do it, and so that the result depends on the inputs and on nothing else.
But an invariant may break where no new step is taken; so of the inputs that break on a mutant, the smallest is
kept too.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import wire_rawsse
from tests.fuzz.findings import failure
from tests.mutants import Mutant, installed

HERE: Final = Path(__file__).parent / "corpus"
PACKAGE: Final = str(Path(wire_rawsse.__file__).parent)

Feature = tuple[CodeType, int, int, int]


def files(name: str) -> list[Path]:
    """The committed inputs of a target, the smallest first."""
    return sorted((HERE / name).glob("[0-9a-f]*"), key=lambda path: (path.stat().st_size, path.name))


def file_name(data: bytes) -> str:
    """Named by content, so that the same input is never there twice."""
    return hashlib.sha256(data).hexdigest()[:16]


def write(folder: Path, inputs: Iterable[bytes]) -> None:
    """Each input in a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / file_name(data)).write_bytes(data)


def distilled(inputs: Iterable[bytes], check: Callable[[bytes], None], mutants: Iterable[Mutant] = ()) -> list[bytes]:
    """Of `inputs`, which all hold, those that have a feature, or find a mutant, which no smaller one has or finds."""
    seen: set[Feature] = set()
    kept: set[bytes] = set()
    smallest_first = sorted(set(inputs), key=lambda one: (len(one), one))
    for data in smallest_first:
        new = features(data, check) - seen
        if new:
            seen |= new
            kept.add(data)
    for mutant in mutants:
        with installed(mutant):
            found = next((data for data in smallest_first if failure(check, data)), None)
        if found is not None:
            kept.add(found)
    return sorted(kept)


def features(data: bytes, check: Callable[[bytes], None]) -> set[Feature]:
    """The steps that the library takes under `check`, with how often."""
    counts: dict[tuple[CodeType, int, int], int] = {}

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        before = 0

        def stepped(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            if event == "line":
                step = (code, before, frame.f_lineno)
                counts[step] = counts.get(step, 0) + 1
                before = frame.f_lineno
            return stepped

        return stepped

    traced = sys.gettrace()
    sys.settrace(called)
    try:
        check(data)
    finally:
        sys.settrace(traced)
    return {(*step, _about(count)) for step, count in counts.items()}


def _about(count: int) -> int:
    return count if count < 4 else min(1 << (count.bit_length() - 1), 128)
