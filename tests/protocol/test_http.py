"""The response: heads and bodies under any split, their limits, and an error of its own for whatever is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cost import check_linear, peak_bytes
from tests.support.listen import told
from wire_rawsse.errors import (
    InvalidRequestError,
    MalformedResponseError,
    TruncatedError,
    WireRawSSEError,
)
from wire_rawsse.protocol.http import HEAD_BYTES, Exchange
from wire_rawsse.protocol.request import check_headers, compose, compose_connect
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.url import parse_url

URL = parse_url("http://example.com/v1")
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def exchange() -> Exchange:
    return Exchange(compose(URL))


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and at every two-way split (at 97 of them, where there are very many)."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data), max(1, len(data) // 97)):
        yield [data[:at], data[at:]]


def receive(reads: list[bytes], closes: bool = False) -> tuple[Response, bytes, bool]:
    """The response, its body, and whether it ended."""
    one = exchange()
    response: Response | None = None
    body = b""
    for read in [*reads, *([b""] if closes else [])]:
        if response is None:
            response = one.head(read)
            if response is not None:
                body += b"".join(one.body(None))
        else:
            body += b"".join(one.body(read))
    assert response is not None, "no response"
    return response, body, one.ended


def head_of(size: int) -> bytes:
    """A correct head of so many bytes, in lines of a usual length."""
    head = OK
    while len(head) + 2 < size:
        line = b"X-Filler: " + b"x" * 80 + b"\r\n"
        left = size - 2 - len(head)
        if left < 2 * len(line):
            line = b"X-Last: " + b"y" * (left - 10) + b"\r\n"
        head += line
    return head + b"\r\n"


class TestHead:
    @pytest.mark.parametrize(
        ("data", "status", "reason"),
        [
            (OK + b"\r\n", 200, "OK"),
            (b"HTTP/1.0 200 OK\r\n\r\n", 200, "OK"),
            (b"HTTP/1.1 200 \r\n\r\n", 200, ""),
            (b"HTTP/1.1 200\r\n\r\n", 200, ""),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, "Not Found"),
            (b"HTTP/1.1 200 \xe9t\xe9\r\n\r\n", 200, "été"),
            # Interim responses (RFC 9110 §15.2) are skipped.
            (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n", 200, "OK"),
            (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 \r\n\r\n" + OK + b"\r\n", 200, "OK"),
            (b"HTTP/1.1 199 ?\r\n\r\n" + OK + b"\r\n", 200, "OK"),
            # Bare LF is a line end to a lenient recipient (RFC 9112 §2.2).
            (b"HTTP/1.1 200 OK\nA: b\n\n", 200, "OK"),
        ],
    )
    def test_the_same_under_any_split(self, data: bytes, status: int, reason: str) -> None:
        for reads in splits(data):
            response, _, _ = receive(reads)
            assert (response.status, response.reason) == (status, reason)

    def test_fields(self) -> None:
        response, _, _ = receive([OK + b"Content-TYPE:  a ;b \r\nX: 1\r\nx: \xe9\r\nEmpty:\r\n\r\n"])
        assert response.headers == (("content-type", "a ;b"), ("x", "1"), ("x", "é"), ("empty", ""))
        assert response.get("x") == "1, é"
        assert response.get("missing") is None
        assert repr(response) == "<Response 200>"

    @pytest.mark.parametrize(
        ("came", "shown"),
        [
            (b"\x01\x02\x03\0\x02\x02\x46", "......F"),
            (b"ICY 200 OK\r\n\r\n", "ICY 200 OK...."),
            (b"http/1.1 200 OK\r\n\r\n", "http/1.1 200 OK...."),
            (b"\r\n" + OK, "..HTTP/1.1 200 OK.."),
            (b"221 mail.example ESMTP " + b"x" * 200, "221 mail.example ESMTP " + "x" * 56 + "…"),
            ("HTTP\u2028".encode(), "HTTP..."),
        ],
    )
    def test_what_is_no_http_1_is_shown(self, came: bytes, shown: str) -> None:
        with pytest.raises(MalformedResponseError) as refused:
            exchange().head(came)
        assert str(refused.value) == f"expected an HTTP/1 response, got: {shown}"
        assert str(refused.value).isprintable()
        assert not refused.value.permanent
        one = exchange()
        with pytest.raises(MalformedResponseError, match="expected an HTTP/1 response"):
            for byte in came:
                one.head(bytes([byte]))

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1200 OK\r\n\r\n",
            OK + b"no colon\r\n\r\n",
            OK + b"A : b\r\n\r\n",
            OK + b": b\r\n\r\n",
            OK + b"A: b\0\r\n\r\n",
            OK + b" A: b\r\n\r\n",
            OK + b"Content-Length: x\r\n\r\n",
            OK + b"Content-Length: -1\r\n\r\n",
            OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
            OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",  # Which nobody asked for.
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/0.9 200 OK\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2.0 103 Early Hints\r\n\r\n" + OK + b"\r\n",
        ],
    )
    def test_one_that_breaks_the_rules(self, data: bytes) -> None:
        for reads in splits(data):
            with pytest.raises(MalformedResponseError) as refused:
                receive(reads)
            assert "breaks HTTP/1.1: " in str(refused.value)
            assert "h11" not in told(refused.value)  # The text of h11's error may quote a header line.

    @pytest.mark.parametrize("data", [b"", b"H", b"HTTP/1.1 200 OK", OK, OK + b"A: b\r\n", b"HTTP/1.1 100 \r\n\r\n"])
    def test_one_that_is_cut_short(self, data: bytes) -> None:
        for reads in splits(data):
            with pytest.raises(TruncatedError, match="before the response head was complete") as cut:
                receive([read for read in reads if read], closes=True)
            assert isinstance(cut.value, EOFError) and isinstance(cut.value, ConnectionError)
        if not data:
            assert str(cut.value).endswith("it sent nothing")


class TestHeadLimit:
    @pytest.mark.parametrize(
        ("step", "behind"),
        [(1, b""), (2, b"xxx"), *((step, b"x" * 100_000) for step in (1000, 65535, 65536, 65537, 10**6))],
    )
    def test_64_kib_is_accepted_however_it_is_split(self, step: int, behind: bytes) -> None:
        head = head_of(HEAD_BYTES)
        assert len(head) == HEAD_BYTES == 65536
        data = head + behind
        response, body, _ = receive([data[at : at + step] for at in range(0, len(data), step)])
        assert response.status == 200
        assert body == behind

    @pytest.mark.parametrize(
        ("step", "behind"),
        [(1, b""), (2, b"xxx"), *((step, b"x" * 100_000) for step in (1000, 65535, 65536, 65537, 10**6))],
    )
    def test_one_byte_more_is_refused_however_it_is_split(self, step: int, behind: bytes) -> None:
        data = head_of(HEAD_BYTES + 1) + behind
        one = exchange()
        with pytest.raises(MalformedResponseError, match="the response head is longer than 65536 bytes"):
            for at in range(0, len(data), step):
                assert one.head(data[at : at + step]) is None

    def test_interim_responses_count(self) -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        fits = interim * 1000
        head = fits + head_of(HEAD_BYTES - len(fits))
        for step in (1, 4096, 10**6):
            assert receive([head[at : at + step] for at in range(0, len(head), step)])[0].status == 200
        with pytest.raises(MalformedResponseError, match=r"longer than 65536|more than 4000 lines"):
            receive([fits + head_of(HEAD_BYTES - len(fits) + 1)])

    @pytest.mark.parametrize("step", [1, 4096, 10**6])
    def test_a_flood_of_interim_responses_ends(self, step: int) -> None:
        data = b"HTTP/1.1 102 Processing\r\n\r\n" * (HEAD_BYTES // 27 + 1)
        one = exchange()
        with pytest.raises(MalformedResponseError, match=r"longer than 65536 bytes|more than 4000 lines"):
            for at in range(0, len(data), step):
                assert one.head(data[at : at + step]) is None

    @pytest.mark.parametrize("line", [b"X: " + b"y" * 1000 + b"\r\n", b"y" * 1000, b"\r\n"[:1] * 1000])
    def test_an_endless_head_is_refused_in_bounded_memory(self, line: bytes) -> None:
        one = exchange()
        fed = 0

        def endless() -> None:
            nonlocal fed
            with pytest.raises(MalformedResponseError):
                assert one.head(OK + b"X: ") is None
                while fed < 100 * HEAD_BYTES:
                    fed += len(line)
                    one.head(line)

        assert peak_bytes(endless) < 16 * HEAD_BYTES
        assert fed <= HEAD_BYTES + len(line)


class TestHeadLines:
    """h11 takes a microsecond and more for each line, and 64 KiB hold 16,000."""

    @pytest.mark.parametrize("line", [b"a:\r\n", b"a: b\n"])
    @pytest.mark.parametrize("cut", [100, 16_384, 1 << 20])
    def test_there_is_a_limit(self, line: bytes, cut: int) -> None:
        head = b"HTTP/1.1 200 OK\r\n" + line * 9000 + b"\r\n"
        one = exchange()
        with pytest.raises(MalformedResponseError, match="more than 4000 lines"):
            for start in range(0, len(head), cut):
                one.head(head[start : start + cut])

    def test_interim_responses_count(self) -> None:
        one = exchange()
        with pytest.raises(MalformedResponseError, match="more than 4000 lines"):
            for _ in range(2001):
                one.head(b"HTTP/1.1 100 \r\n\r\n")

    def test_body_lines_do_not(self) -> None:
        response = exchange().head(CHUNKED + b"\n" * 5000)
        assert response is not None and response.status == 200


class TestBody:
    @pytest.mark.parametrize(
        ("data", "body", "closes"),
        [
            (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello", False),
            (CHUNKED + b"5\r\nhello\r\n3\r\n, w\r\n00\r\n\r\n", b"hello, w", False),
            (CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", False),
            (CHUNKED + b"5;x=y;z\r\nhello\r\n0;q\r\n\r\n", b"hello", False),
            (CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"hello", False),
            (CHUNKED + b"0\r\n\r\n", b"", False),
            (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", False),
            (OK + b"Content-Length: 0\r\n\r\n", b"", False),
            (OK + b"\r\nhello", b"hello", True),
            (OK + b"\r\n", b"", True),
            (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", True),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
            (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello", b"hello", True),
            # RFC 9112 §6.3: Transfer-Encoding comes before Content-Length.
            (OK + b"Content-Length: 1\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", False),
            # Bytes after the end are ignored.
            (OK + b"Content-Length: 2\r\n\r\nhi" + OK, b"hi", False),
        ],
    )
    def test_the_same_under_any_split(self, data: bytes, body: bytes, closes: bool) -> None:
        for reads in splits(data):
            assert receive(reads, closes)[1:] == (body, True)

    @pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
    def test_where_there_is_none_no_field_makes_one(self, status: bytes) -> None:
        """RFC 9112 §6.3."""
        for field in (b"Transfer-Encoding: chunked", b"Content-Length: 3"):
            _, body, ended = receive([b"HTTP/1.1 " + status + b"\r\n" + field + b"\r\n\r\n3\r\nabc\r\n"])
            assert (body, ended) == (b"", True)

    def test_each_byte_is_handed_on_before_its_chunk_is_complete(self) -> None:
        one = exchange()
        assert one.head(CHUNKED + b"ffff") is not None
        assert list(one.body(None)) == []
        assert list(one.body(b"\r\nda")) == [b"da"]
        assert list(one.body(b"t")) == [b"t"]
        assert list(one.body(b"a: x\n")) == [b"a: x\n"]
        assert not one.ended

    def test_bytes_of_two_chunks_in_one_read(self) -> None:
        one = exchange()
        assert one.head(CHUNKED + b"2\r\nab\r\n9\r\ncd") is not None
        assert b"".join(one.body(None)) == b"abcd"

    def test_framing_brings_nothing(self) -> None:
        """So it restarts no clock either."""
        one = exchange()
        assert one.head(CHUNKED) is not None
        for read in (b"5", b";", b"name", b"=", b"value", b"\r", b"\n"):
            assert list(one.body(read)) == []
        assert list(one.body(b"hello")) == [b"hello"]
        for read in (b"\r\n", b"0\r\n", b"Trai", b"ler: x", b"\r\n"):
            assert list(one.body(read)) == []
        assert not one.ended
        assert list(one.body(b"\r\n")) == []
        assert one.ended

    @pytest.mark.parametrize(
        ("data", "before"),
        [
            (CHUNKED, b""),
            (CHUNKED + b"5\r\nhel", b"hel"),
            (CHUNKED + b"5\r\nhello", b"hello"),
            (CHUNKED + b"5\r\nhello\r\n", b"hello"),
            (CHUNKED + b"5\r\nhello\r\n0", b"hello"),
            (CHUNKED + b"5\r\nhello\r\n0\r\n", b"hello"),
            (CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n", b"hello"),
            (OK + b"Content-Length: 9\r\n\r\nhello", b"hello"),
            (OK + b"Content-Length: 9\r\n\r\n", b""),
        ],
    )
    def test_cut_short(self, data: bytes, before: bytes) -> None:
        for reads in splits(data):
            one = exchange()
            got = b""
            answered = False
            for read in reads:
                if not answered:
                    answered = one.head(read) is not None
                    read = b""
                    got += b"".join(one.body(None)) if answered else b""
                else:
                    got += b"".join(one.body(read))
            assert got == before
            with pytest.raises(TruncatedError, match="in the middle of the response body"):
                list(one.body(b""))

    @pytest.mark.parametrize(
        ("bad", "before"),
        [
            (b"x\r\n", b""),
            (b"-1\r\n", b""),
            (b"\r\n", b""),
            (b"5 hello\r\n", b""),
            (b"0x5\r\nhello\r\n", b""),
            (b"fffffffffffffffffffff\r\n", b""),
            (b"5\r\nhelloXX0\r\n\r\n", b"hello"),
            (b"5\r\nhello\r\n0\r\nno colon\r\n\r\n", b"hello"),
            (b"5\r\nhello\r\n<html>\r\n", b"hello"),
        ],
    )
    def test_garbage_comes_after_what_was_good(self, bad: bytes, before: bytes) -> None:
        one = exchange()
        assert one.head(CHUNKED) is not None
        got = b""
        with pytest.raises(MalformedResponseError, match="chunked coding") as refused:
            for piece in one.body(bad):
                got += piece
        assert got == before
        assert "h11" not in told(refused.value)
        assert not refused.value.permanent
        for reads in splits(CHUNKED + bad):
            with pytest.raises(MalformedResponseError):
                receive(reads)

    def test_an_endless_chunk_header_is_refused(self) -> None:
        one = exchange()
        assert one.head(CHUNKED + b"5;") is not None
        with pytest.raises(MalformedResponseError, match="too long"):
            for _ in range(3):
                assert list(one.body(b"x" * HEAD_BYTES)) == []

    @pytest.mark.campaign
    def test_time_is_linear_in_a_body_that_drips(self) -> None:
        def drip(count: int) -> None:
            one = exchange()
            assert one.head(OK + b"\r\n") is not None
            for _ in range(count):
                assert list(one.body(b"x")) == [b"x"]

        check_linear(lambda count: lambda: drip(count), 1 << 9, 1 << 13)


class TestTunnel:
    def answer(self, data: bytes) -> tuple[Response | None, bytes]:
        one = Exchange(compose_connect(parse_url("https://example.com/"), None))
        return one.head(data), one.rest()

    @pytest.mark.parametrize("fields", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
    def test_a_2xx_has_no_body(self, fields: bytes) -> None:
        """RFC 9110 §9.3.6: the fields that say otherwise are ignored."""
        response, rest = self.answer(b"HTTP/1.1 200 Connected\r\n" + fields + b"\r\n")
        assert response is not None and response.status == 200
        assert rest == b""

    def test_what_comes_behind_it_is_seen(self) -> None:
        assert self.answer(b"HTTP/1.1 200 Connected\r\n\r\n\x16\x03")[1] == b"\x16\x03"

    def test_what_comes_behind_the_largest_head_is_seen(self) -> None:
        start = b"HTTP/1.1 200 Connected\r\nTransfer-Encoding: chunked\r\n"
        head = start + b"X: " + b"x" * (HEAD_BYTES - len(start) - 7) + b"\r\n\r\n"
        assert len(head) == HEAD_BYTES
        response, rest = self.answer(head + b"SSH")
        assert response is not None and rest == b"SSH"

    def test_an_interim_response_is_skipped(self) -> None:
        response, _ = self.answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connected\r\n\r\n")
        assert response is not None and response.status == 200

    def test_a_refusal(self) -> None:
        response, _ = self.answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        assert response is not None and response.status == 403


pieces = st.sampled_from(
    [
        *(OK, b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 404 x\r\n\r\n", b"\r\n", b"\n", b"x", b"\0"),
        *(b"A: b\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\n", b"hello", b"0\r\n\r\n"),
    ]
)
heads = st.lists(pieces, max_size=12).map(b"".join)


@given(heads | st.binary(max_size=60), st.data())
def test_any_bytes_give_the_same_under_any_split(data: bytes, draw: st.DataObject) -> None:
    """Facts, or one documented error; of a body that breaks off, the same good bytes before it."""

    def outcome(reads: list[bytes]) -> tuple[object, bytes]:
        one = exchange()
        response: Response | None = None
        body = b""
        try:
            for read in [*reads, b""]:
                if response is None:
                    response = one.head(read)
                    pieces = one.body(None) if response is not None else iter(())
                else:
                    pieces = one.body(read)
                for piece in pieces:
                    body += piece
                if one.ended:
                    break
        except WireRawSSEError as error:
            assert not isinstance(error, InvalidRequestError)
            return (response, type(error)), body
        return (response, one.ended), body

    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    reads = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert outcome([read for read in reads if read]) == outcome([data] if data else [])


def test_a_header_value_with_a_tab_survives() -> None:
    assert b"X: a\tb\r\n" in Exchange(compose(URL, headers=check_headers({"X": "a\tb"}))).to_send
