"""Invariant: whatever is repeated in whatever is sent or set, 16 times as much of it takes some 16 times as long, and
not 256 times, as where something looks at everything again.

Layout: a byte that says who reads it, then three texts with 0xFF between them: what comes once, what is repeated, and
what comes in the end. In what is repeated 0xFE stands for the number of the repetition, as not all is alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.fuzz import shipped
from tests.fuzz.targets import exchange, relay_json, urls
from tests.support.cost import check_linear

_SMALL, _LARGE = 1 << 10, 1 << 14
_READ: Final = 61


def _decoded(read: Callable[[str], None]) -> Callable[[bytes], None]:
    """As what is not UTF-8 stands in an argument or the environment."""
    return lambda content: read(content.decode("utf-8", "surrogateescape"))


READERS: Final[tuple[Callable[[bytes], None], ...]] = (
    lambda stream: shipped.exchange(stream, _READ),
    lambda stream: shipped.exchange(stream, _LARGE),
    lambda stream: shipped.events(stream, _READ),
    lambda stream: shipped.events(stream, _LARGE),
    shipped.one_document,
    _decoded(shipped.one_url),
    _decoded(shipped.one_proxy),
    _decoded(shipped.one_kind),
    _decoded(shipped.one_value),
)

LONGEST: Final = 192
_REPEATED: Final = (
    b"/a",
    b"/..",
    b"a,",
    b"%41",
    b"5,",
    b"[",
    b"1\r\nx\r\n",
    b"X: y\r\n",
    b"data\n",
    b"id: \xfe\n",
    b": c\n",
)
WORDS: Final = (
    b"\xff",
    b"\xfe",
    *_REPEATED,
    *exchange.WORDS,
    *relay_json.WORDS,
    *(word for word in urls.WORDS if b"\xff" not in word),
)
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
SEEDS: Final = (
    b"\x00" + _OK + b"\xffX\xfe: y\r\n\xff\r\n",
    b"\x00" + _OK + b"Transfer-Encoding: chunked\r\n\r\n\xff1\r\nx\r\n",
    b"\x01" + _OK + b"\r\n\xffdata: x\n\n",
    b"\x01\xffHTTP/1.1 103 E\r\n\r\n",
    b"\x02\xffid: \xfe\ndata: x\n\n",
    b"\x03\xffdata: x\r\n\xff\r\n",
    b"\x03retry: \xff1\xff\n",
    b'\x04{"self":{"endpoints":[\xff{"relay_url":"http://h","slot_id":"\xfe","slot_token":"t"},\xff5]}}',
    b"\x05http://h/\xff/a",
    b"\x05/\xff../",
    b"\x06a.example.com,\xff.b\xfe,",
    b'\x07text/event-stream,"\xff\\"',
    b"\x08\xffa",
)


def check(data: bytes) -> None:
    if not data:
        return
    read = READERS[data[0] % len(READERS)]
    before, unit, behind = [*data[1:].split(b"\xff"), b"", b""][:3]

    def prepare(size: int) -> Callable[[], object]:
        stream = before + _repeated(unit or b"x", size) + behind
        return lambda: read(stream)

    check_linear(prepare, _SMALL, _LARGE, attempts=3)


def _repeated(unit: bytes, size: int) -> bytes:
    """Of about this size."""
    if b"\xfe" not in unit:
        return unit * (size // len(unit))
    parts: list[bytes] = []
    left = size
    while left > 0:
        parts.append(unit.replace(b"\xfe", b"%d" % len(parts)))
        left -= len(parts[-1])
    return b"".join(parts)
