"""Which line of a head breaks which rule, and which protocol it is instead: told in one masked line."""

from __future__ import annotations

import pytest

from wire_rawsse.errors import MalformedResponseError
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.protocol.request import check_headers, compose
from wire_rawsse.protocol.url import parse_url

TOKEN = "Zq7xW9vKmPf2TgB8nJ4cRh6Y"
GOOD = b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\n"


def text_for(head: bytes) -> str:
    exchange = Exchange(compose(parse_url("http://h/"), headers=check_headers({"Authorization": f"Bearer {TOKEN}"})))
    with pytest.raises(MalformedResponseError) as refused:
        assert exchange.head(head) is not None, "nothing was refused"
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("lines", "rule", "shown"),
    [
        (b"X-Plugin/Cache result: no\r\n", "no token", "X-Plugin/Cache result: no"),
        (b"<b>Warning</b>\r\n", "no colon", "<b>Warning</b>"),
        (b"Name : value\r\n", "space before its colon", "Name : value"),
        (b": value\r\n", "no token", ": value"),
        (b"X: a\0b\r\n", "control character", "X: a.b"),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n", "contradict", "Content-Length: 3, Content-Length: 4"),
        (b"Content-Length: 3, 4\r\n", "contradict", "Content-Length: 3, 4"),
        (b"Content-Length: -3\r\n", "no length", "Content-Length: -3"),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", "no length", "Content-Length: 999"),
        (b"Transfer-Encoding: chunked\r\n" * 2, "more than once", "Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip, chunked\r\n", "other than chunked", "Transfer-Encoding: gzip, chunked"),
        (b"Set-Cookie : s=their-secret\r\n", "space before its colon", "Set-Cookie : (not shown)"),
    ],
)
def test_one_bad_line(lines: bytes, rule: str, shown: str) -> None:
    for head in (
        GOOD + lines + b"X-More: y\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + GOOD + lines + b"\r\n",
        (GOOD + lines + b"\r\n").replace(b"\r\n", b"\n"),
    ):
        text = text_for(head)
        assert text.startswith("the response head breaks HTTP/1.1: ")
        assert rule in text and f": {shown}" in text
        assert "their-secret" not in text and "Date" not in text


def test_another_protocol_that_was_not_asked_for() -> None:
    text = text_for(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\ndata: x\n\n")
    assert "not asked for" in text and text.endswith(": HTTP/1.1 101 Switching Protocols")


def test_a_folded_first_line() -> None:
    assert "begins with a space" in text_for(b"HTTP/1.1 200 OK\r\n X: y\r\n\r\n")


@pytest.mark.parametrize("line", [b"HTTP/1.1 OK", b"HTTP/1.1 20 OK", b"HTTP/1.x 200 OK", b"HTTP/1.1  200 OK"])
def test_a_status_line(line: bytes) -> None:
    assert f"(RFC 9112 §4): {line.decode()}" in text_for(line + b"\r\nX: y\r\n\r\n")


def test_what_is_shown_is_masked() -> None:
    text = text_for(GOOD + f"X/{TOKEN}: y\r\n\r\n".encode())
    assert "X/" + "*" * len(TOKEN) in text


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64", "HTTP/2"),
        (b"\0\0\x00\x04\0\0\0\0\0", "HTTP/2"),
        (b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\1", "HTTP/2"),
        (b"HTTP/2 200\r\n", "HTTP/2"),
        (b"PRI * HTTP/2.0\r\n", "HTTP/2"),
        (b"\x15\x03\x01\0\2\2\x46", "TLS"),
        (b"\x16\x03\x03\0\x7a", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH: SSH-2.0-OpenSSH"),
        (b"220 mail.example ESMTP\r\n", "SMTP"),
        (b"<html><body>", "a page without a response head: <html>"),
    ],
)
def test_another_protocol(first: bytes, name: str) -> None:
    text = text_for(first)
    assert text.startswith(f"expected an HTTP/1 response, got {name}")
    assert "..." not in text


def test_one_that_is_unknown_is_quoted() -> None:
    assert text_for(b"hello\r\n") == "expected an HTTP/1 response, got: hello.."
