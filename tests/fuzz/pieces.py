"""How a few bytes of an input become a way to cut, a choice or a text. Cheap, as it all runs millions of times."""

from __future__ import annotations

from itertools import pairwise


def cut(stream: bytes, rule: int) -> list[bytes]:
    """`stream` in pieces, some of which may be empty.

    `rule`, 0 to 255: the first 16 cut byte by byte for 12 bytes, from one of 16 places on; the others are as many ways
    to cut at up to four places, half of them at neighbouring ones.
    """
    size = len(stream)
    if rule < 16:
        start = size * rule // 16
        edges = [0, *range(start, min(start + 12, size) + 1), size]
    else:
        edges = [0, size]
        state = rule
        for _ in range(rule % 4 + 1):
            state = (state * 75 + 74) % 65537  # A generator of our own: the same cuts on every Python.
            edges.append(min(edges[-1] + 1 + state % 2, size) if rule & 1 and len(edges) > 2 else state % (size + 1))
        edges.sort()
    return [stream[start:end] for start, end in pairwise(edges)]


class Recipe:
    """Reads an input as a list of choices. At its end every choice is the first, and every text is empty."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def byte(self) -> int:
        at = self._at
        self._at = at + 1
        return self._data[at] if at < len(self._data) else 0

    def left(self) -> bool:
        return self._at < len(self._data)

    def text(self) -> str:
        """UTF-8 after its length; invalid bytes become surrogates, as in `sys.argv`, so that every str can occur."""
        size = self.byte() % 64
        at = self._at
        self._at = at + size
        return self._data[at : at + size].decode("utf-8", "surrogateescape")
