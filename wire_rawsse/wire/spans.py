"""Lengths of time in words, as the command shows them."""

from __future__ import annotations


def span(seconds: float) -> str:
    """A length of time in the largest unit that still says something: 90 s, 5 min, 30 h, 4 days. Negative is 0."""
    seconds = max(0.0, seconds)
    for unit, size in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 120 * size or (unit == "h" and seconds < 48 * size):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def ago(seconds: float) -> str:
    return f"{span(seconds)} ago"
