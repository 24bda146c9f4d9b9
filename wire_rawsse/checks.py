"""Checks of arguments, made when they are given, with one form of error text.

Each error names the argument, the expected type or value, and the type of the given value. The value itself is quoted
only if it is a number, because anything else may be a secret. All raise `InvalidRequestError`.
"""

from __future__ import annotations

import math
from typing import Any, Final

from wire_rawsse.errors import InvalidRequestError

LONGEST_INTEGER: Final = 40
"""Digits of an integer that are still quoted."""


def wrong(name: str, expected: str, value: object) -> InvalidRequestError:
    """The error for an argument of a wrong type or value."""
    return InvalidRequestError(f"{name} must be {expected}, not {_described(value)}")


def _described(value: object) -> str:
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        return str(int(value)) if abs(value) < 10**LONGEST_INTEGER else "an int that is far too large"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"of type {type(value).__name__}"


def instance(value: object, kind: type, name: str) -> None:
    """`value` is a `kind`."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise wrong(name, f"{article} {kind.__name__}", value)


def text(value: object, name: str) -> None:
    """`value` is a str."""
    instance(value, str, name)


def utf8(value: str, name: str) -> bytes:
    """`value` in UTF-8. The error is raised outside the `except`, because the codec's error holds the value."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        pass
    raise InvalidRequestError(f"{name} holds a lone surrogate, which has no UTF-8")


def flag(value: object, name: str) -> bool:
    """`value` is True or False, and not another value that counts as one."""
    if not isinstance(value, bool):
        raise wrong(name, "True or False", value)
    return value


def number(value: Any, name: str, *, zero: bool = False) -> None:
    """`value` is a finite int or float above 0, or from 0 on where `zero` is True. A bool is neither."""
    expected = "a finite number, 0 or more" if zero else "a finite number above 0"
    try:
        good = type(value) is not bool and isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # An int that no float can hold.
        good = False
    if not good or value < 0 or (value == 0 and not zero):
        raise wrong(name, expected, value)


def whole(value: Any, name: str, most: int | None = None) -> int:
    """`value` as an int from 1 to `most`. A float that is whole will do, a bool will not."""
    expected = "a whole number, 1 or more" if most is None else f"a whole number from 1 to {most}"
    good = type(value) is not bool and isinstance(value, (int, float)) and value == value // 1
    if not good or value < 1 or (most is not None and value > most):
        raise wrong(name, expected, value)
    return int(value)


def seconds(value: Any, name: str = "timeout") -> float | None:
    """A timeout as a float. None and infinity mean for ever. Less than 0 counts as 0.

    A host computes it as "deadline less now", so a negative timeout is no mistake.
    """
    if value is None:
        return None
    if type(value) is bool or not isinstance(value, (int, float)) or value != value:
        raise wrong(name, "None or a number of seconds", value)
    try:
        seconds = float(value)
        return seconds if seconds > 0.0 else 0.0  # Not `max`: each wait comes through here.
    except OverflowError:
        return math.inf if value > 0 else 0.0
