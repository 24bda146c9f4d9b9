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
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from wire_rawsse.errors import (
    EXCERPT_CHARACTERS,
    MOST_BODY_CHARACTERS,
    MOST_CHARACTERS,
    CredentialsError,
    InvalidRequestError,
    WireRawSSEError,
    one_line,
)

MASKED_PIECE: Final = 4
"""A run of this many characters of a secret is masked."""
_DERIVED_PIECE: Final = 8
"""The same for base64 and hexadecimal forms, in which runs of four letters coincide with words too easily."""
_WHOLE: Final = 8
"""The shortest secret that `cleanse` looks for in a text that may hold words of ours."""
_MOST_KEPT: Final = 128 * 1024
"""Characters of all values; more than any server takes in one request."""
_MOST_DERIVED: Final = 2 * 1024
"""Characters of the values, newest first, of which base64 and hexadecimal forms are derived."""
_LOOK_AHEAD: Final = 64
"""Characters beyond a cut that are searched, so that a piece of a secret may lie across it, in escaped form too."""
_MOST_IN_CAUSE: Final = 2000
_NESTED: Final = 3
"""How many times a text may have been escaped: a proxy encodes what a server has encoded."""

# The forms that a server which quotes us may give one character: percent-encoding, escapes of JSON, of programming
# languages and of HTML. Compiled when used.
_ESCAPE: Final = (
    r"(?s)%u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}|\\u\{[0-9A-Fa-f]{1,6}\}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\x[0-9A-Fa-f]{2}"
    r"|\\[0-7]{3}|\\[^0-9A-Za-z]|\\[bfnrt]|&#[xX][0-9A-Fa-f]{1,8};?|&#[0-9]{1,8};?|&(?:amp|lt|gt|quot|apos);"
)
_PERCENT: Final = r"%[0-9A-Fa-f]{2}"
_PERCENT_RUN: Final = rf"(?:{_PERCENT})+"
_NAMED: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_DIGITS: Final = frozenset("0123456789")
_NOT_VISIBLE_ASCII: Final = r"[^!-~]+"


class Secrets:
    """The values that no text may show, in full or in part. It has no repr that shows them, and is bounded.

    `shown` is text that is public although it may coincide with a secret: the URL as it appears in every log line.
    """

    __slots__ = ("_forms", "_kept", "_shown", "_values")

    def __init__(self, values: Iterable[str] = (), shown: str = "") -> None:
        self._values: dict[str, None] = {}
        self._kept = 0
        """Characters of all values."""
        self._shown = _letters(shown)
        self._forms: _Forms | None = None
        self.add(*values)

    def show(self, text: str) -> None:
        """This is public from now on, in place of the one before: the URL that a callable has given."""
        self._shown = _letters(text)
        self._forms = None

    def add(self, *values: str) -> None:
        """Keep these secret from now on. The oldest are forgotten when there are more than 128 KiB of them."""
        for value in values:
            if not value:
                continue
            if value in self._values:
                del self._values[value]  # Now the newest.
            else:
                self._forms = None
                self._kept += len(value)
            self._values[value] = None
        while self._kept > _MOST_KEPT and len(self._values) > 1:
            oldest = next(iter(self._values))
            del self._values[oldest]
            self._kept -= len(oldest)

    def mask(self, text: str) -> str:
        """`text` with every piece of a secret replaced by asterisks."""
        return self._masked(text, whole=False)

    def quote(self, what: bytes | str, most: int = EXCERPT_CHARACTERS) -> str:
        """At most `most` printable ASCII characters of what a peer sent, masked."""
        cut = what[: most + _LOOK_AHEAD]
        text = cut.decode("latin-1") if isinstance(cut, bytes) else cut
        # Masked before it is cut, so that no cut can hide a piece.
        return one_line(self.mask(text), most, ascii_only=True)

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
            # The exception of a callable, or of a codec, holds a value that may never have been sent.
            callers = isinstance(one, (CredentialsError, InvalidRequestError))
            if one.__cause__ is not None and self._is_unfit(one.__cause__, callers):
                one.__cause__ = None
            if one.__context__ is not None and self._is_unfit(one.__context__, callers):
                one.__context__ = None
            todo += [other for other in (one.__cause__, one.__context__) if other is not None and id(other) not in seen]
        self.settle()

    def settle(self) -> None:
        """Give back the memory that comparing takes. It is taken again by the next text."""
        self._forms = None

    def _cleanse_attributes(self, error: WireRawSSEError) -> None:
        error.args = tuple(self._cleansed(value) for value in error.args)
        for name, value in vars(error).items():
            setattr(error, name, self._cleansed(value, MOST_BODY_CHARACTERS if name == "body" else MOST_CHARACTERS))

    def _cleansed(self, value: object, most: int = MOST_CHARACTERS) -> object:
        if isinstance(value, str):
            return one_line(self._masked(value[: most + _LOOK_AHEAD], whole=True), most)
        if isinstance(value, tuple):
            return tuple(self._cleansed(one) for one in value)
        if isinstance(value, OSError) and self._is_unfit(value):
            return OSError(value.errno, os.strerror(value.errno) if value.errno else type(value).__name__)
        return value

    def _is_unfit(self, error: BaseException, callers: bool = False) -> bool:
        """Whether an exception that is none of ours shows a piece of a secret, or is too long to be shown."""
        if isinstance(error, WireRawSSEError):
            return False
        if callers:
            return True
        try:
            text = f"{error} {error.args!r} {vars(error)!r} {_subject(error)}"
            if isinstance(error, OSError) and error.errno:
                text = text.replace(os.strerror(error.errno), "")  # The system's own words for a number.
        except Exception:
            return True
        return len(text) > _MOST_IN_CAUSE or self.shows(text)

    def _masked(self, text: str, *, whole: bool) -> str:
        if not self._values:
            return text
        forms = self._forms
        if forms is None:  # Another thread may call `settle` meanwhile.
            forms = self._forms = _Forms(self._values, self._shown)
        find = forms.wholes_in if whole else forms.pieces_in
        shown = text
        for steps, reading in _readings(text):
            found = list(find(_visible(reading)))
            if found:
                places = _places(text, steps)
                masked = list(shown)
                for start, end in found:
                    first, last = places[start][0], places[end - 1][1]
                    masked[first:last] = "*" * (last - first)
                shown = "".join(masked)
        return shown


class _Forms:
    """The forms of the secrets in a text that `_letters` has simplified.

    Every run of four characters (eight of a derived form) is kept as one integer in a set, which is made and asked at
    the speed of C. So neither the length of the secrets nor what a peer sends makes a quotation expensive.
    """

    def __init__(self, values: Iterable[str], shown: str) -> None:
        self._short: set[str] = set()
        self._wholes: dict[str, list[str]] = {}
        """By their first eight characters."""
        all_plain: list[str] = []
        all_derived: list[str] = []
        left = _MOST_DERIVED
        for value in reversed(list(values)):
            forms = plain = list(_plain_forms(value))
            all_plain += plain
            if len(value) <= left:
                left -= len(value)
                derived = list(_derived_forms(value))
                all_derived += derived
                forms = plain + derived
            # One or two characters are no secret, and are found in any text.
            self._short.update(one for one in plain if len(one) == MASKED_PIECE - 1)
            # A text that could be a word (`text/event-stream`) may be one of ours.
            if not value.islower() or not _DIGITS.isdisjoint(value):
                for one in forms:
                    if len(one) >= _WHOLE and one not in shown:
                        self._wholes.setdefault(one[:_WHOLE], []).append(one)
        # A line end is in no text that is compared, so no run crosses from one form to the next.
        self._plain = set[int]().union(*_runs("\n".join(all_plain), MASKED_PIECE))
        self._derived = set[int]().union(*_runs("\n".join(all_derived), _DERIVED_PIECE))
        self._beginnings = set[int](*islice(_runs("".join(self._wholes), _WHOLE), 1))

    def pieces_in(self, letters: str) -> Iterator[tuple[int, int]]:
        """The start and end of each piece of a secret in `letters`."""
        for size, forms in ((MASKED_PIECE, self._plain), (_DERIVED_PIECE, self._derived)):
            if forms:
                for phase, run in enumerate(_runs(letters, size)):
                    if not forms.isdisjoint(run):
                        starts = (phase + size * number for number, one in enumerate(run) if one in forms)
                        yield from ((start, start + size) for start in starts)
        if self._short:
            for start in range(len(letters) - MASKED_PIECE + 2):
                if letters[start : start + MASKED_PIECE - 1] in self._short:
                    yield start, start + MASKED_PIECE - 1

    def wholes_in(self, letters: str) -> Iterator[tuple[int, int]]:
        if all(map(self._beginnings.isdisjoint, _runs(letters, _WHOLE))):
            return
        for start in range(len(letters) - _WHOLE + 1):
            for whole in self._wholes.get(letters[start : start + _WHOLE], ()):
                if letters.startswith(whole, start):
                    yield start, start + len(whole)


def _runs(letters: str, size: int) -> Iterator[memoryview]:
    """Every run of `size` characters as an integer of 64 bits: those at each multiple of `size`, and at each phase."""
    # 16 bits a character if a run has four, 8 if it has eight: derived forms are ASCII.
    width = 8 // size
    data = memoryview(
        letters.encode("utf-16-le", "surrogatepass") if width == 2 else letters.encode("latin-1", "replace")
    )
    for phase in range(size):
        whole = (len(data) - phase * width) // 8
        if whole > 0:
            yield data[phase * width : phase * width + whole * 8].cast("Q")


def _plain_forms(value: str) -> Iterator[str]:
    """The value itself, unescaped, as text of either encoding."""
    text = _unescaped(value)
    yield _visible(text)
    if not text.isascii():
        for ours, theirs in (("latin-1", "utf-8"), ("utf-8", "latin-1")):
            try:
                yield _visible(text.encode(ours).decode(theirs))
            except UnicodeError:
                pass  # It is no text in this encoding.


def _derived_forms(value: str) -> Iterator[str]:
    """Base64 (RFC 4648 §4 and §5), wherever in a longer text the value stood, and hexadecimal digits."""
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
    """`text` as it is compared: unescaped, in lower case, without spaces and invisible characters."""
    return _visible(_unescaped(text))


def _visible(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = re.sub(_NOT_VISIBLE_ASCII, lambda run: "".join(map(_seen, run[0])), text)
    return text.replace(" ", "").lower()


def _seen(one: str) -> str:
    """One character as it is compared: "" for an invisible one. Always of the same length in lower case."""
    if not one.isprintable() or one == " ":
        return ""
    return one if one <= "\uffff" and len(one.lower()) == 1 else "\ufffd"


def _unescaped(text: str) -> str:
    *_, (_, last) = _readings(text)
    return last


def _readings(text: str) -> Iterator[tuple[int, str]]:
    """`text` as it stands, and after each step that undoes escapes, with the number of steps.

    Each of them counts: a backslash, a percent or an ampersand before a secret can look like an escape that takes the
    first characters of the secret with it.
    """
    yield 0, text
    for steps in range(1, 2 * _NESTED + 1):
        if not ("%" in text or "\\" in text or "&" in text):
            return
        before = text
        if steps % 2:
            # A run of them at once: a query may be 60 KB of nothing else.
            text = re.sub(_PERCENT_RUN, lambda run: bytes.fromhex(run[0].replace("%", "")).decode("latin-1"), text)
        else:
            text = re.sub(_ESCAPE, lambda found: _meant(found[0]), text)
        if text != before:
            yield steps, text


def _places(text: str, steps: int) -> list[tuple[int, int]]:
    """The start and end in `text` of each visible character of its reading after so many steps."""
    spans = [(start, start + 1) for start in range(len(text))]
    for step in range(1, steps + 1):
        text, spans = _step(_PERCENT if step % 2 else _ESCAPE, text, spans)
    return [span for one, span in zip(text, spans, strict=True) if _seen(one)]


def _step(pattern: str, text: str, spans: list[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    """Unescape each match of `pattern`: the text after it, and the span in the original of each character of that."""
    pieces: list[str] = []
    kept: list[tuple[int, int]] = []
    last = 0
    for found in re.finditer(pattern, text):
        start, end = found.span()
        meant = _meant(found[0])
        pieces += text[last:start], meant
        kept += spans[last:start]
        kept += [(spans[start][0], spans[end - 1][1])] * len(meant)
        last = end
    return "".join((*pieces, text[last:])), kept + spans[last:]


def _meant(escape: str) -> str:
    """The character that a match of `_ESCAPE` stands for; the escape itself if there is none."""
    digits, base = escape[1:].strip("uUx#{};"), 16
    if escape.startswith("&"):
        if escape[1] != "#":
            return _NAMED[digits]
        base = 16 if escape[2] in "xX" else 10
        digits = digits.lstrip("X")
    elif escape.startswith("\\"):
        if escape[1].isdigit():
            base = 8
        elif escape[1] not in "uUx":
            return " " if escape[1].isalpha() else escape[1]
    try:
        return chr(int(digits, base))
    except (ValueError, OverflowError):
        return escape


def _subject(error: BaseException) -> str:
    """The value that a failed conversion worked on: a UnicodeError keeps it as an attribute."""
    return repr(error.object) if isinstance(error, (UnicodeEncodeError, UnicodeDecodeError)) else ""
