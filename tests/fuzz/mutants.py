"""The mutants that each target must find.

They are found twice. The committed corpus must break on each (`test_mutants`), so that an invariant that has become
blind is noticed, and so is a corpus from which too much was removed. And a fuzzer that knows only the seeds must find
each too: `python -m tests.fuzz TARGET --mutant WORDS` says after how many inputs it did.
"""

from __future__ import annotations

from tests.mutants import FUZZ, FUZZ_SEARCH, Mutant, found_by


def of(name: str) -> list[Mutant]:
    """Those that the corpus of the target must find."""
    return found_by(FUZZ + name)


def by_words(name: str, words: str) -> Mutant:
    """The target's one whose name holds these words. Raises `LookupError` if there is none, or more than one."""
    found = [one for one in [*of(name), *found_by(FUZZ_SEARCH + name)] if words in one.name]
    if len(found) != 1:
        raise LookupError(f"{len(found)} mutants of {name} have {words!r} in their name")
    return found[0]
