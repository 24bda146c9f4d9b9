"""A proxy's answer to CONNECT, in every split; and the schemes that it offers."""

from __future__ import annotations

import pytest

from wire_rawsse.errors import MalformedResponseError
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.protocol.request import compose_connect
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.tunnel import offered
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.redact import Secrets


def answered(*reads: bytes) -> tuple[Response | None, bytes]:
    """The final head of these reads, and what follows it."""
    exchange = Exchange(compose_connect(parse_url("https://h/"), None, Secrets()))
    response = None
    for number, read in enumerate(reads):
        response = exchange.head(read)
        if response is not None:
            return response, exchange.rest() + b"".join(reads[number + 1 :])
    return None, b""


ODD = b"Content-Length: 1, x\r\ntransfer-encoding: gzip\r\n\tchunked\r\nCONTENT-LENGTH:\r\n"


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_the_framing_fields_of_a_2xx_are_ignored_under_every_split(end: bytes) -> None:
    stream = b"HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\n" + ODD + b"Z: 1\r\n\r\n"
    stream = stream.replace(b"\r\n", end) + b"more"
    for cut in range(len(stream) + 1):
        response, rest = answered(stream[:cut], stream[cut:]) if 0 < cut < len(stream) else answered(stream)
        assert response is not None and response.status == 200
        assert response.headers == (("x", "y"), ("z", "1"))
        assert rest == b"more"
    response, rest = answered(*(stream[at : at + 1] for at in range(len(stream))))
    assert response is not None and response.headers == (("x", "y"), ("z", "1")) and rest == b"more"


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 407 x\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 x\r\nno colon\r\n\r\n"]
)
def test_all_else_is_judged_as_ever(head: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        answered(head)


def test_a_dripping_head_of_64_kib_is_refused() -> None:
    with pytest.raises(MalformedResponseError, match=r"(longer|more) than"):
        answered(b"HTTP/1.1 200 OK\r\n", *([b"X: y\r\n"] * 20_000))


@pytest.mark.parametrize(
    ("value", "schemes"),
    [
        ("", []),
        (" , ,", []),
        ("Basic", ["Basic"]),
        ('Basic realm="x"', ["Basic"]),
        ('Digest realm="a, Bearer b", qop="auth", nonce = "x", Basic realm=y', ["Digest", "Basic"]),
        ("NTLM, Negotiate abc==, Negotiate", ["NTLM", "Negotiate"]),
        ('x="y"', []),
        ('Digest realm="unfinished, Basic', ["Digest"]),
        (", ".join(f"S{number}" for number in range(9)), ["S0", "S1", "S2", "S3", "S4"]),
    ],
)
def test_the_schemes_that_are_offered(value: str, schemes: list[str]) -> None:
    assert offered(value) == schemes
