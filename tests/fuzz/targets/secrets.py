"""Invariant: whatever text a peer sends, with the secret in it or not, plain, escaped, encoded or cut, what is quoted
of it is one bounded line without a piece of the secret, an error that went through `cleanse` does not hold the secret,
nor does its cause, and `mask` changes nothing but such pieces: in text without escapes exactly those that a search by
hand finds.

Layout: a byte that chooses the length of the quotation; the text, as UTF-8, in which the byte FF and one more stand for
the secret in one of its forms.
"""

from __future__ import annotations

import base64
import errno
import html
import json
import re
from typing import Final
from urllib.parse import quote, unquote

from tests.fuzz.oracles.secrets import SECRET
from wire_rawsse.errors import ConnectionBrokenError
from wire_rawsse.redact import Secrets

LONGEST: Final = 512

_HEX: Final = SECRET.encode().hex()
_BASE64: Final = tuple(
    base64.b64encode(b"\0" * before + SECRET.encode()).decode()[skip:].rstrip("=")
    for before, skip in ((0, 0), (1, 2), (2, 3))
)
FORMS: Final = (
    SECRET,
    SECRET.lower(),
    SECRET[:5],
    SECRET[-5:],
    " ".join(SECRET),
    "".join(f"%{byte:02X}" for byte in SECRET.encode()),
    "".join(f"%25{byte:02x}" for byte in SECRET.encode()),
    "".join(f"&#{byte};" for byte in SECRET.encode()),
    "".join(f"&#x{byte:x};" for byte in SECRET.encode()),
    "".join(f"\\u{byte:04x}" for byte in SECRET.encode()),
    "".join(f"\\x{byte:02x}" for byte in SECRET.encode()),
    "".join(f"\\{byte:03o}" for byte in SECRET.encode()),
    SECRET.replace("k", "%6b").replace("9", "\\u0039"),
    _HEX,
    _HEX.upper(),
    *_BASE64,
    "\x00".join(SECRET),
)
"""The forms in which a server may echo a secret."""

WORDS: Final = (
    *(bytes((0xFF, number)) for number in range(len(FORMS))),
    *(SECRET[:3].encode(), SECRET[3:7].encode(), _BASE64[0][:9].encode(), _HEX[:9].encode()),
    *(
        b"%",
        b"%25",
        b"\\u",
        b"\\u{",
        b"\\U0000",
        b"&#",
        b"&amp;",
        b";",
        b"*",
        b"\\\\",
        b"\xc3\xa9",
        b"text/event-stream",
    ),
)
SEEDS: Final = (
    b"\x50token \xff\x00 refused",
    b"\x10aaaaaaaaaaaa\xff\x01",
    *(b"\x50x" + bytes((0xFF, number)) + b"y" for number in range(2, len(FORMS))),
    b"\x50nothing of the kind: text/event-stream; charset=utf-8",
)

_PIECE, _DERIVED_PIECE = 4, 8


def _runs(text: str, size: int) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


def _whole_characters(encoded: str, before: int) -> str:
    """Of base64 without padding: without a last character that the neighbour has a part in."""
    return encoded[:-1] if (before + len(SECRET)) % 3 else encoded


_PIECES: Final = _runs(SECRET.lower(), _PIECE)
_DERIVED: Final = _runs(_HEX, _DERIVED_PIECE).union(
    *(_runs(_whole_characters(one, before).lower(), _DERIVED_PIECE) for before, one in enumerate(_BASE64))
)


def _text(data: bytes) -> str:
    parts = data.split(b"\xff")
    text = parts[0]
    for part in parts[1:]:
        text += (FORMS[part[0] % len(FORMS)].encode() + part[1:]) if part else b""
    return text.decode("utf-8", "replace")


def _shows(text: str) -> bool:
    """Whether a reader who undoes one kind of escape finds a piece in it."""
    seen = [text, unquote(text), unquote(unquote(text)), html.unescape(text)]
    seen += [re.sub(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", lambda one: chr(int(one[1] or one[2], 16)), text)]
    letters = ["".join(one for one in form if one.isprintable() and one != " ").lower() for form in seen]
    return any(piece in one for one in letters for piece in _PIECES) or any(
        piece in one for one in letters for piece in _DERIVED
    )


def _masked(text: str) -> str:
    """By hand: printable ASCII without escapes."""
    places = [at for at, one in enumerate(text) if one != " "]
    letters = "".join(text[at] for at in places).lower()
    shown = list(text)
    for size, pieces in ((_PIECE, _PIECES), (_DERIVED_PIECE, _DERIVED)):
        for start in range(len(letters) - size + 1):
            if letters[start : start + size] in pieces:
                first, last = places[start], places[start + size - 1] + 1
                shown[first:last] = "*" * (last - first)
    return "".join(shown)


def check(data: bytes) -> None:
    if not data:
        return
    most, text = max(1, data[0]), _text(data[1:])
    secrets = Secrets([SECRET])
    quoted = secrets.quote(text, most)
    assert len(quoted) <= most and quoted.isprintable(), "no line, or a long one"
    assert not _shows(quoted), "a piece of the secret is quoted"
    assert not _shows(secrets.quote(text.encode(), most)), "a piece of the secret is quoted from bytes"
    masked = secrets.mask(text)
    assert len(masked) == len(text), "another length"
    assert all(new in (old, "*") for old, new in zip(text, masked, strict=True)), "more than masked"
    if text.isascii() and text.isprintable() and not set("%\\&") & set(text):
        assert masked == _masked(text), "other characters than those of the secret are masked"
    _check_error(secrets, text)


def _check_error(secrets: Secrets, text: str) -> None:
    error = ConnectionBrokenError(f"said: {text}")
    error.__cause__ = OSError(errno.EPROTO, text)
    secrets.cleanse(error)
    for told in (str(error), repr(error), str(error.__cause__), repr(error.__cause__)):
        assert len(told) < 4000 and SECRET.lower() not in told.lower(), "the secret in an error or its cause"
        for form in (quote(SECRET), json.dumps(SECRET)[1:-1], _HEX, *_BASE64[:1]):
            assert form not in told, "an encoded secret in an error or its cause"
