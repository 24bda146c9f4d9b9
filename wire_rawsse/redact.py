"""The one place through which foreign text goes before it is shown: masked, printable, and cut.

A peer may echo what we sent: in a reason phrase, a Location, a body, in garbage. So everything that is sent is first
added to the `Secrets` of the stream, and everything a peer sent is quoted by `Secrets.quote`. A `Secrets` outlives the
connections of its stream, because a server may answer with a token of the attempt before, and a proxy with a token that
only the origin of the previous hop was sent.

Our own words are never masked, so errors are not searched for pieces of secrets. As an error leaves the stream,
`Secrets.cleanse` is the second net: it masks whole secrets in its text and attributes, cuts them, and removes from the
chain of causes every exception of the system, of OpenSSL or of a caller's callable that shows a piece of a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from wire_rawsse.errors import EXCERPT_CHARACTERS, MOST_BODY_CHARACTERS, MOST_CHARACTERS, WireRawSSEError, one_line

PIECE: Final = 4
"""A run of this many characters of a secret is masked."""
_DERIVED_PIECE: Final = 8
"""The same for base64 and hexadecimal forms, in which runs of four letters coincide with words too easily."""
_WHOLE: Final = 8
"""The shortest secret that `cleanse` looks for in a text that may hold words of ours."""
_MOST_VALUES: Final = 100
_MOST_ENCODED: Final = 4096
"""Characters: no other forms are derived of a longer secret."""
_LOOK_AHEAD: Final = 64
"""Characters beyond a cut that are searched, so that a piece of a secret may lie across it, escaped as it may be."""
_MOST_IN_CAUSE: Final = 2000

_Find: TypeAlias = "Callable[[str], Iterator[tuple[int, int]]]"

# What a server that quotes us may make of one character: percent-encoding, JSON and HTML escapes. Compiled when used.
_UNIT: Final = r"(?s)%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|&#x?[0-9A-Fa-f]{1,6};|."


class Secrets:
    """The values that no text may show, in full or in part. It has no repr that shows them, and is bounded.

    `shown` is text that is public although it may coincide with a secret: the URL as it appears in every log line.
    """

    __slots__ = ("_forms", "_shown", "_values")

    def __init__(self, values: Iterable[str] = (), shown: str = "") -> None:
        self._values: dict[str, None] = {}
        self._shown = _letters(shown)
        self._forms: _Forms | None = None
        self.add(*values)

    def show(self, text: str) -> None:
        """This is public from now on, in place of what was: the URL that a callable has given."""
        self._shown = _letters(text)
        self._forms = None

    def add(self, *values: str) -> None:
        """Keep these secret from now on. The oldest are forgotten when there are more than a hundred."""
        for value in values:
            if not value:
                continue
            if value in self._values:
                del self._values[value]  # Now the newest.
            else:
                self._forms = None
            self._values[value] = None
        while len(self._values) > _MOST_VALUES:
            del self._values[next(iter(self._values))]

    def mask(self, text: str) -> str:
        """`text` with every piece of a secret replaced by asterisks."""
        return self._masked(text, self._derive().pieces_in)

    def quote(self, what: bytes | str, most: int = EXCERPT_CHARACTERS) -> str:
        """At most `most` printable ASCII characters of what a peer sent, masked."""
        text = what.decode("latin-1") if isinstance(what, bytes) else what
        # Masked before it is cut, so that no cut can hide a piece.
        return one_line(self.mask(text[: most + _LOOK_AHEAD]), most, ascii_only=True)

    def shows(self, text: str) -> bool:
        """Whether a piece of a secret is in `text`."""
        return "*" in self.mask(text.replace("*", "."))

    def cleanse(self, error: BaseException) -> None:
        """Hold an error, its attributes and its chain of causes against every secret, and bound their length."""
        todo: list[BaseException] = [error]
        seen: set[int] = set()
        while todo:
            one = todo.pop()
            seen.add(id(one))
            if isinstance(one, WireRawSSEError):
                self._cleanse_attributes(one)
            if one.__cause__ is not None and self._is_unfit(one.__cause__):
                one.__cause__ = None
            if one.__context__ is not None and self._is_unfit(one.__context__):
                one.__context__ = None
            todo += [other for other in (one.__cause__, one.__context__) if other is not None and id(other) not in seen]

    def _cleanse_attributes(self, error: WireRawSSEError) -> None:
        error.args = tuple(self._cleansed(value) for value in error.args)
        for name, value in vars(error).items():
            setattr(error, name, self._cleansed(value, MOST_BODY_CHARACTERS if name == "body" else MOST_CHARACTERS))

    def _cleansed(self, value: object, most: int = MOST_CHARACTERS) -> object:
        if isinstance(value, str):
            return one_line(self._masked(value[: most + _LOOK_AHEAD], self._derive().wholes_in), most)
        if isinstance(value, tuple):
            return tuple(self._cleansed(one) for one in value)
        if isinstance(value, OSError) and self._is_unfit(value):
            return OSError(value.errno, os.strerror(value.errno) if value.errno else type(value).__name__)
        return value

    def _is_unfit(self, error: BaseException) -> bool:
        """Whether an exception that is none of ours shows a piece of a secret, or is too long to be shown."""
        if isinstance(error, WireRawSSEError):
            return False
        try:
            text = f"{error} {error.args!r} {vars(error)!r} {_subject(error)}"
            if isinstance(error, OSError) and error.errno:
                text = text.replace(os.strerror(error.errno), "")  # The system's own words for a number.
        except Exception:
            return True
        return len(text) > _MOST_IN_CAUSE or self.shows(text)

    def _masked(self, text: str, find: _Find) -> str:
        if not self._values:
            return text
        letters, places = _view(text)
        shown = list(text)
        for start, end in find(letters):
            first, last = places[start][0], places[end - 1][1]
            shown[first:last] = "*" * (last - first)
        return "".join(shown)

    def _derive(self) -> _Forms:
        if self._forms is None:
            self._forms = _Forms(self._values, self._shown)
        return self._forms


class _Forms:
    """What the secrets look like in a text that `_view` has simplified."""

    def __init__(self, values: Iterable[str], shown: str) -> None:
        plain = [letters for value in values for letters in _plain_forms(value)]
        derived = [letters for value in values for letters in _derived_forms(value)]
        # One or two characters are no secret, and are found in any text.
        self._short = [one for one in plain if len(one) == PIECE - 1]
        # A line end is in no view, so no run crosses from one form to the next.
        self._plain = "\n".join(one for one in plain if len(one) >= PIECE)
        self._derived = "\n".join(one for one in derived if len(one) >= _DERIVED_PIECE)
        # What could be a word (`text/event-stream`) may be one of ours.
        unlike_words = [one for one in values if not one.islower() or _has_digit(one)]
        plain = [letters for value in unlike_words for letters in _plain_forms(value)]
        self._wholes = [one for one in (*plain, *derived) if len(one) >= _WHOLE and one not in shown]

    def pieces_in(self, letters: str) -> Iterator[tuple[int, int]]:
        """Where in `letters` there are pieces of secrets: start and end."""
        for size, forms in ((PIECE, self._plain), (_DERIVED_PIECE, self._derived)):
            if forms:
                for start in range(len(letters) - size + 1):
                    if letters[start : start + size] in forms:
                        yield start, start + size
        for short in self._short:
            yield from _occurrences(short, letters)

    def wholes_in(self, letters: str) -> Iterator[tuple[int, int]]:
        for whole in self._wholes:
            yield from _occurrences(whole, letters)


def _has_digit(value: str) -> bool:
    return any(one.isdigit() for one in value)


def _occurrences(form: str, letters: str) -> Iterator[tuple[int, int]]:
    start = letters.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = letters.find(form, start + 1)


def _plain_forms(value: str) -> Iterator[str]:
    """The value itself, unescaped, as text of either encoding."""
    yield _letters(value)
    text = re.sub(_UNIT, lambda found: _unescaped(found[0]), value) if _UNIT_BEGINS & set(value) else value
    if not text.isascii():
        for ours, theirs in (("latin-1", "utf-8"), ("utf-8", "latin-1")):
            try:
                yield _letters(text.encode(ours).decode(theirs))
            except UnicodeError:
                pass  # It is no text in this encoding.


def _derived_forms(value: str) -> Iterator[str]:
    """Base64 (RFC 4648 §4 and §5), wherever in a longer text the value stood, and hexadecimal digits."""
    if len(value) > _MOST_ENCODED:
        return
    import binascii

    data = value.encode("utf-8", "surrogatepass")
    for before in range(3):
        encoded = binascii.b2a_base64(b"\0" * before + data, newline=False).decode("ascii").rstrip("=")
        # The characters at both ends depend on the neighbours, too.
        encoded = encoded[(0, 2, 3)[before] :]
        if (before + len(data)) % 3:
            encoded = encoded[:-1]
        yield encoded.lower()
        if "+" in encoded or "/" in encoded:
            yield encoded.replace("+", "-").replace("/", "_").lower()
    yield data.hex()


def _letters(text: str) -> str:
    return _view(text)[0] if _UNIT_BEGINS & set(text) else "".join(text.split()).lower()


_UNIT_BEGINS: Final = frozenset("%\\&")


def _view(text: str) -> tuple[str, list[tuple[int, int]]]:
    """`text` as it is compared: unescaped, in lower case, without spaces and what is invisible; and where each
    character of it stands in `text`.
    """
    letters: list[str] = []
    places: list[tuple[int, int]] = []
    for found in re.finditer(_UNIT, text):
        for one in _unescaped(found[0]).lower():
            if one.isprintable() and one != " ":
                letters.append(one)
                places.append(found.span())
    return "".join(letters), places


def _unescaped(unit: str) -> str:
    if len(unit) == 1:
        return unit
    digits = unit.lstrip("%\\ux&#").rstrip(";")
    base = 10 if unit.startswith("&#") and "x" not in unit else 16
    try:
        return chr(int(digits, base))
    except (ValueError, OverflowError):
        return unit


def _subject(error: BaseException) -> str:
    """What a failed conversion worked on: a UnicodeError keeps it as an attribute."""
    return repr(error.object) if isinstance(error, (UnicodeEncodeError, UnicodeDecodeError)) else ""
