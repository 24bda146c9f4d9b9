"""Properties that small inputs cannot show: time is linear in the input, and memory is bounded.

Inputs are made large in two ways: by hand, for each construct that repeats, and out of the committed corpus, whose
inputs take every branch and are repeated here until they are long. (`protocol.test_sse_cost` does the same for the
event parser.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.fuzz import corpora
from tests.fuzz.shipped import PLACE, exchange, one_document, one_kind, one_proxy, one_url, one_value
from tests.support.cost import check_linear, peak_bytes
from wire_rawsse.errors import InvalidRequestError, ProxyError
from wire_rawsse.protocol import proxy, url

Make = Callable[[int], bytes]
Work = Callable[[int], object]
"""Does something with so many bytes."""

SMALL, LARGE = 1 << 11, 1 << 15
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def repeated(before: bytes, unit: bytes, behind: bytes = b"") -> Make:
    return lambda size: before + unit * (size // len(unit)) + behind


STREAMS: Final = {
    "a field of one value": repeated(OK + b"X: ", b"y", b"\r\n\r\n"),
    "many fields": repeated(OK, b"X: y\r\n", b"\r\n"),
    "a folded field": repeated(OK + b"X: y\r\n", b" y\r\n", b"\r\n"),
    "a value of spaces": repeated(OK + b"X:", b" ", b"y\r\n\r\n"),
    "a name of one letter": repeated(OK, b"X", b": y\r\n\r\n"),
    "interim responses": repeated(b"", b"HTTP/1.1 103 E\r\n\r\n"),
    "a reason": repeated(b"HTTP/1.1 200 ", b"OK ", b"\r\n\r\n"),
    "line ends": repeated(OK, b"\r", b"\n\r\n"),
    "chunks of one byte": repeated(CHUNKED, b"1\r\nx\r\n"),
    "one chunk": repeated(CHUNKED + b"fffff\r\n", b"x"),
    "extensions": repeated(CHUNKED, b"1;a=b\r\nx\r\n"),
    "trailers": repeated(CHUNKED + b"0\r\n", b"A: b\r\n"),
    "a body to the end": repeated(OK + b"\r\n", b"data: x\n\n"),
    "a body with a length": repeated(OK + b"Content-Length: 9999999\r\n\r\n", b"data: x\n\n"),
}
KINDS: Final = {
    "types": repeated(b"", b"a/b,"),
    "quotes": repeated(b'"', b"\\a"),
    "open quotes": repeated(b"", b'"'),
    "semicolons": repeated(b"text/event-stream", b";"),
}
URLS: Final = {
    "a path": repeated(b"http://h/", b"a/"),
    "steps up": repeated(b"http://h/", b"../"),
    "what must be encoded": repeated(b"http://h/", b"\xc3\xa9"),
    "a query": repeated(b"http://h/?", b"a?"),
    "users": repeated(b"http://", b"u@", b"h/"),
    "a password": repeated(b"http://u:", b"%41", b"@h/"),
    "labels": repeated(b"http://", b"a.", b"a/"),
    "colons": repeated(b"http://", b":", b"/"),
    "an address": repeated(b"http://[", b"0:", b"]/"),
    "a host beyond ASCII": repeated(b"http://", b"\xc3\xa9", b"/"),
    "labels beyond ASCII": repeated(b"http://", b"\xc3\xa9.", b"a/"),
    "a scheme": repeated(b"", b"a", b"://h/"),
    "spaces": repeated(b"", b" "),
}
DOCUMENTS: Final = {
    "endpoints": repeated(
        b'{"self":{"endpoints":[', b'{"relay_url":"http://h","slot_id":"a","slot_token":"t"},', b"5]}}"
    ),
    "broken endpoints": repeated(b'{"self":{"endpoints":[', b"5,", b"5]}}"),
    "a slot": repeated(b'{"self":{"relay_url":"http://h","slot_token":"t","slot_id":"', b"\xc3\xa9", b'"}}'),
    "a relay": repeated(b'{"self":{"slot_id":"a","slot_token":"t","relay_url":"http://h/', b"/a", b'"}}'),
    "a token": repeated(b'{"self":{"slot_id":"a","relay_url":"http://h/","slot_token":"', b"\\u0041", b'"}}'),
    "nesting": repeated(b"", b"[", b""),
    "nothing": repeated(b"", b" "),
}


def growing() -> dict[str, Work]:
    def stream(make: Make, read: int) -> Work:
        return lambda size: exchange(make(size), read)

    def text(make: Make, call: Callable[[str], None]) -> Work:
        return lambda size: call(make(size).decode())

    def document(make: Make) -> Work:
        return lambda size: one_document(make(size))

    found: dict[str, Work] = {}
    for name, make in STREAMS.items():
        for read in (1, 500, 1 << 20):
            found[f"{name}, in reads of {read}"] = stream(make, read)
    for name, make in KINDS.items():
        found[f"kind: {name}"] = text(make, one_kind)
    for name, make in URLS.items():
        found[f"URL: {name}"] = text(make, one_url)
        found[f"proxy: {name}"] = text(make, one_proxy)
        found[f"value: {name}"] = text(make, one_value)
    for name, make in DOCUMENTS.items():
        found[f"relay.json: {name}"] = document(make)
    return found


def check_growth(work: Work) -> None:
    check_linear(lambda size: lambda: work(size), SMALL, LARGE)


GROWING: Final = growing()


@pytest.mark.campaign
@pytest.mark.parametrize("name", GROWING)
def test_time_is_linear(name: str) -> None:
    check_growth(GROWING[name])


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["exchange", "urls", "relay_json", "chunks"])
def test_time_is_linear_in_what_the_corpus_repeats(name: str) -> None:
    """Every fifth input; all of them take a minute."""
    for path in corpora.files(name)[::5]:
        make = repeated(CHUNKED if name == "chunks" else b"", path.read_bytes()[2:] or b"x")
        if name == "urls":
            check_growth(lambda size, make=make: one_url(make(size).decode("utf-8", "surrogateescape")))  # type: ignore[misc]
        elif name == "relay_json":
            check_growth(lambda size, make=make: one_document(make(size)))  # type: ignore[misc]
        else:
            check_growth(lambda size, make=make: exchange(make(size), 500))  # type: ignore[misc]


@pytest.mark.parametrize("name", STREAMS)
def test_memory_is_bounded_however_much_comes(name: str) -> None:
    """1 MiB of it; the largest head is 64 KiB, and of a body only the read at hand is held."""
    stream = STREAMS[name](1 << 20)
    exchange(STREAMS[name](1 << 10), 4096)
    assert peak_bytes(lambda: exchange(stream, 4096)) < 3 << 18


@pytest.mark.parametrize("name", ["exchange", "chunks"])
def test_memory_is_bounded_in_what_the_corpus_repeats(name: str) -> None:
    """Every tenth input, as this is slow too."""
    for path in corpora.files(name)[::10]:
        stream = repeated(CHUNKED if name == "chunks" else b"", path.read_bytes()[2:] or b"x")(1 << 20)
        assert peak_bytes(lambda stream=stream: exchange(stream, 4096)) < 3 << 18, path  # type: ignore[misc]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_costs_a_small_multiple_of_itself(name: str) -> None:
    content = DOCUMENTS[name](1 << 17)
    one_document(b"{}")
    assert peak_bytes(lambda: one_document(content)) < 30 * len(content)


def test_a_bad_setting_of_any_size_is_a_short_line() -> None:
    for name, make in URLS.items():
        text = make(1 << 16).decode()
        try:
            url.parse_url(text)
        except InvalidRequestError as error:
            assert len(str(error)) < 250, name
        try:
            proxy.proxy_for(PLACE, {"HTTP_PROXY": text})
        except ProxyError as error:
            assert len(str(error)) < 250, name
