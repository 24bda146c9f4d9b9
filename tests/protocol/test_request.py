"""Requests, and the input that is refused before a byte is sent: header fields, tokens, methods, ids."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.listen import told
from wire_rawsse._version import __version__
from wire_rawsse.errors import CredentialsError, InvalidRequestError, WireRawSSEError, excerpt
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.protocol.request import (
    Headers,
    Request,
    ask_bearer,
    ask_headers,
    can_carry,
    check_headers,
    check_method,
    compose,
    compose_connect,
)
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.redact import Secrets

URL = parse_url("http://example.com:8770/v1?since=7")
CONTROLS = [*map(chr, range(0x20)), "\x7f"]


def sent(request: Request) -> list[str]:
    """The lines of the head that goes out."""
    head, end, _ = Exchange(request).to_send.partition(b"\r\n\r\n")
    assert end
    return head.decode("latin-1").split("\r\n")


class TestTheRequest:
    def test_a_plain_one(self) -> None:
        first, *fields = sent(compose(URL))
        assert first == "GET /v1?since=7 HTTP/1.1"
        assert sorted(fields) == [
            "Accept-Encoding: identity",
            "Accept: text/event-stream",
            "Cache-Control: no-cache",
            "Host: example.com:8770",
            f"User-Agent: wire_rawsse/{__version__}",
        ]

    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("http://example.com:80/", "example.com"),
            ("https://example.com/", "example.com"),
            ("https://example.com:80/", "example.com:80"),
            ("http://[2001:db8::1]/", "[2001:db8::1]"),
            ("http://[fe80::1%25lo]:81/", "[fe80::1]:81"),
            ("unix:///run/x.sock", "localhost"),
        ],
    )
    def test_the_host(self, url: str, host: str) -> None:
        assert f"Host: {host}" in sent(compose(parse_url(url)))

    @pytest.mark.parametrize("name", ["Accept", "accept", "HOST", "user-agent", "Cache-Control", "Accept-Encoding"])
    def test_a_field_of_the_caller_overrides_ours(self, name: str) -> None:
        lines = sent(compose(URL, headers=check_headers({name: "mine"})))
        assert [line for line in lines if line.lower().startswith(name.lower() + ":")] == [f"{name}: mine"]

    def test_a_field_of_the_caller_may_come_twice(self) -> None:
        lines = sent(compose(URL, headers=check_headers([("X-A", "1"), ("x-a", "2")])))
        assert [line for line in lines if line.lower().startswith("x-a")] == ["X-A: 1", "x-a: 2"]

    def test_credentials_in_the_url(self) -> None:
        url = parse_url("http://user:pass@example.com/")
        assert f"Authorization: Basic {base64.b64encode(b'user:pass').decode()}" in sent(compose(url))
        lines = sent(compose(url, headers=[(b"authorization", b"Bearer mine")]))
        assert [line for line in lines if line.lower().startswith("authorization")] == ["authorization: Bearer mine"]

    def test_the_last_event_id(self) -> None:
        assert not [line for line in sent(compose(URL)) if line.startswith("Last")]
        assert "Last-Event-ID: 7" in sent(compose(URL, last_event_id="7"))
        assert "Last-Event-ID: €" in [
            line.encode("latin-1").decode("utf-8") for line in sent(compose(URL, last_event_id="€"))
        ]
        assert "last-event-id: mine" in sent(
            compose(URL, last_event_id="7", headers=check_headers({"last-event-id": "mine"}))
        )

    @pytest.mark.parametrize(
        "last_event_id", ["", *(f"a{c}b" for c in CONTROLS if c != "\t"), " a", "a ", "\ta", "\ud800"]
    )
    def test_an_id_that_http_cannot_carry_is_left_out(self, last_event_id: str) -> None:
        assert not [line for line in sent(compose(URL, last_event_id=last_event_id)) if line.startswith("Last")]
        assert can_carry(last_event_id) is (last_event_id == "")

    @pytest.mark.parametrize("last_event_id", ["7", "a b", "a\tb", "ü€😀", "\x85", "x" * 4096])
    def test_an_id_that_http_can_carry(self, last_event_id: str) -> None:
        assert can_carry(last_event_id)
        expected = b"Last-Event-ID: " + last_event_id.encode() + b"\r\n"
        assert expected in Exchange(compose(URL, last_event_id=last_event_id)).to_send

    def test_a_body(self) -> None:
        request = compose(URL, method=b"POST", body=b"x" * 1000)
        assert "Content-Length: 1000" in sent(request)
        assert Exchange(request).to_send.endswith(b"\r\n\r\n" + b"x" * 1000)
        assert "Content-Length: 0" in sent(compose(URL, method=b"POST", body=b""))

    def test_a_post_without_a_body_says_so(self) -> None:
        """RFC 9110 §8.6: many a server answers 411 otherwise."""
        assert "Content-Length: 0" in sent(compose(URL, method=b"POST"))
        assert not [line for line in sent(compose(URL)) if line.startswith("Content")]

    def test_for_a_proxy(self) -> None:
        lines = sent(compose(URL, absolute_form=True, proxy_authorization="Basic cHc="))
        assert lines[0] == "GET http://example.com:8770/v1?since=7 HTTP/1.1"
        assert "Host: example.com:8770" in lines
        assert "Proxy-Authorization: Basic cHc=" in lines

    def test_for_a_tunnel(self) -> None:
        lines = sent(compose_connect(parse_url("https://user:pw@example.com/x"), "Basic cHc="))
        assert sorted(lines) == [
            "CONNECT example.com:443 HTTP/1.1",
            "Host: example.com:443",
            "Proxy-Authorization: Basic cHc=",
            f"User-Agent: wire_rawsse/{__version__}",
        ]
        assert sent(compose_connect(parse_url("https://[::1]:8443/"), None))[0] == "CONNECT [::1]:8443 HTTP/1.1"

    def test_its_repr_shows_nothing(self) -> None:
        request = compose(URL, headers=[(b"X-Secret", b"seKret")], body=b"seKret", method=b"POST")
        assert "seKret" not in repr(request)
        assert "since" not in repr(request)


class TestWhatIsRefused:
    @pytest.mark.parametrize("control", [c for c in CONTROLS if c != "\t"])
    def test_a_control_in_a_header_value(self, control: str) -> None:
        with pytest.raises(
            InvalidRequestError, match="the header X-Token holds a line end or another control"
        ) as refused:
            check_headers({"X-Token": f"seKret{control}seKret"})
        assert "seKret" not in told(refused.value)

    @pytest.mark.parametrize("value", [" seKret", "seKret ", "\tseKret", "seKret\t", " "])
    def test_an_outer_space_in_a_header_value(self, value: str) -> None:
        with pytest.raises(InvalidRequestError, match="begins or ends with a space") as refused:
            check_headers({"X-Token": value})
        assert "seKret" not in told(refused.value)

    @pytest.mark.parametrize("value", ["", "a", "a b", "a\tb", "ü", "€", '"a"', "\x80"])
    def test_a_value_that_is_fine(self, value: str) -> None:
        assert check_headers({"X-A": value}) == [(b"X-A", value.encode())]

    @pytest.mark.parametrize("value", [None, 7, ["a"]])
    def test_a_value_that_is_no_text(self, value: object) -> None:
        with pytest.raises(InvalidRequestError, match="must be a str"):
            check_headers({"X-A": value})  # type: ignore[arg-type]  # what an unchecked caller may do

    def test_a_value_with_a_lone_surrogate(self) -> None:
        with pytest.raises(InvalidRequestError, match="surrogate") as refused:
            check_headers({"X-A": "seKret\ud800"})
        assert "seKret" not in told(refused.value)

    @pytest.mark.parametrize(
        "name", ["", " ", "X Y", "X:", "X\r\nseKret", "seKret\n", "X\0", "ü", "X(", '"X"', 7, None]
    )
    def test_a_name_that_is_no_token(self, name: str) -> None:
        """It is named by its number: anyone who mixes up name and value has a secret in the name."""
        with pytest.raises(InvalidRequestError, match="header 2 has a name") as refused:
            check_headers([("X-Fine", "x"), (name, "seKret")])
        assert "seKret" not in told(refused.value)

    @pytest.mark.parametrize(
        "name", ["Content-Length", "transfer-encoding", "CONNECTION", "Upgrade", "Expect", "TE", "Trailer"]
    )
    def test_a_field_of_the_connection(self, name: str) -> None:
        with pytest.raises(InvalidRequestError, match=name):
            check_headers({name: "x"})

    def test_two_hosts_are_refused_without_a_cause_that_quotes_them(self) -> None:
        with pytest.raises(InvalidRequestError, match="host is given twice") as refused:
            check_headers([("Host", "seKret.example"), ("host", "other")])
        assert "seKret" not in told(refused.value)
        request = compose(URL, headers=[(b"Host", b"seKret.example"), (b"host", b"other")])
        with pytest.raises(InvalidRequestError, match="contradict") as refused:
            Exchange(request)
        assert "seKret" not in told(refused.value)

    @pytest.mark.parametrize(
        "method", ["", "GET ", " GET", "GET\r\n", "GET / HTTP/1.1", "G\0", "GÉT", "CONNECT", "head"]
    )
    def test_a_method(self, method: str) -> None:
        with pytest.raises(InvalidRequestError, match="method"):
            check_method(method)

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "REPORT", "get", "M-SEARCH"])
    def test_a_method_that_is_fine(self, method: str) -> None:
        assert check_method(method) == method.encode()

    @pytest.mark.parametrize("token", ["a", "seKret", "a" * 4096, "~!@#$%^&*()_+-=", "a\n", "a\r\n", "a\r"])
    def test_a_token_that_is_fine_but_for_its_line_end(self, token: str) -> None:
        assert ask_bearer(token) == [(b"Authorization", b"Bearer " + token.rstrip().encode())]

    @pytest.mark.parametrize(
        "token",
        [
            *("", "\n", "seKret\n\n", "seKret\r\r\n", "\nseKret", "seK ret", " seKret", "seKret ", "seKret\t"),
            *("seKret\r\nX: y", "seK\0ret", "seK\x7fret", "seKretü", "seKret\ud800", b"seKret", 7),
        ],
    )
    def test_a_token(self, token: str) -> None:
        with pytest.raises(InvalidRequestError, match="bearer token") as refused:
            ask_bearer(token)
        assert "seK" not in told(refused.value)

    @given(st.text(max_size=30))
    def test_any_value_is_either_refused_or_one_field(self, value: str) -> None:
        try:
            fields = check_headers({"X-A": value})
        except InvalidRequestError:
            return
        lines = Exchange(compose(URL, headers=fields)).to_send.split(b"\r\n")
        assert b"X-A: " + value.encode() in [line.ljust(5) for line in lines]
        assert len(lines) == 9  # The request line, five of ours, this one, and the end of the head.

    @given(st.binary(max_size=30))
    def test_what_is_checked_is_never_refused_by_h11(self, value: bytes) -> None:
        text = value.decode("latin-1")
        if can_carry(text):
            assert b"X-A:" in Exchange(compose(URL, headers=check_headers({"X-A": text}))).to_send


class TestCallables:
    def test_are_asked_each_time(self) -> None:
        answers = iter(["one", "two"])
        assert [ask_bearer(lambda: next(answers)) for _ in range(2)] == [
            [(b"Authorization", b"Bearer one")],
            [(b"Authorization", b"Bearer two")],
        ]
        count = iter("12")

        def headers() -> Headers:
            return {"X-Count": next(count)}

        assert [ask_headers(headers), ask_headers(headers)] == [[(b"X-Count", b"1")], [(b"X-Count", b"2")]]

    def test_may_return_pairs(self) -> None:
        assert ask_headers(lambda: iter([("A", "1"), ("A", "2")])) == [(b"A", b"1"), (b"A", b"2")]

    def test_nothing_given_is_nothing_sent(self) -> None:
        assert ask_headers(None) == ask_headers({}) == ask_bearer(None) == []

    @pytest.mark.parametrize("ask", [lambda call: ask_headers(call), lambda call: ask_bearer(call)])
    def test_one_that_raises_is_an_error_that_is_retried(self, ask: Callable[[Callable[[], str]], object]) -> None:
        def fail() -> str:
            raise LookupError("no seKret here")

        with pytest.raises(CredentialsError, match="raised LookupError") as failed:
            ask(fail)
        assert not failed.value.permanent
        assert "seKret" not in str(failed.value) + repr(failed.value)
        assert str(failed.value).endswith(f"(test_request.py, line {fail.__code__.co_firstlineno + 1})")

    def test_one_of_another_language_has_no_line(self) -> None:
        with pytest.raises(CredentialsError, match=r"raised StopIteration$"):
            ask_bearer(iter(()).__next__)

    @pytest.mark.parametrize("answer", ["seKret\r\nX: y", "", None, 7])
    def test_one_that_returns_a_bad_token_is_retried(self, answer: str) -> None:
        with pytest.raises(CredentialsError, match="returned something unusable") as failed:
            ask_bearer(lambda: answer)
        assert not failed.value.permanent
        assert "seKret" not in told(failed.value)

    @pytest.mark.parametrize(
        "answer", [{"X": "seKret\n"}, {"X Y": "seKret"}, None, 7, ["seKret"], [("a", "b", "seKret")]]
    )
    def test_one_that_returns_bad_headers_is_retried(self, answer: Headers) -> None:
        with pytest.raises(CredentialsError) as failed:
            ask_headers(lambda: answer)
        assert not failed.value.permanent
        assert "seKret" not in str(failed.value)


class TestSecrets:
    """Whatever is secret in a request is known as such from when it is composed."""

    @pytest.mark.parametrize(
        ("name", "value", "echo"),
        [
            ("Authorization", "Bearer T0kenXYZ", "T0kenXYZ"),
            ("Authorization", "T0kenXYZ", "T0kenXYZ"),
            ("Authorization", "Basic dXNlcjpwYXNzdzByZA==", "passw0rd"),
            ("Authorization", "Basic n0-base64!", "n0-base64!"),
            ("X-Api-Key", "T0kenXYZ", "t0kenxyz"),
            ("Cookie", "a=T0kenXYZ; b=c", "T0KENXYZ"),
            ("PRIVATE-TOKEN", "T0kenXYZ", "T0kenXYZ"),
            ("X-Unheard-Of", "T0kenXYZ", "T0kenXYZ"),
        ],
    )
    def test_a_field(self, name: str, value: str, echo: str) -> None:
        secrets = compose(URL, headers=check_headers({name: value})).secrets
        assert echo.lower() not in secrets.quote(f"you sent {echo}.").lower()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("User-Agent", "curl/8.1"),
            ("accept-language", "en-GB"),
            ("Accept-Encoding", "gzip"),
            ("X-GitHub-Api-Version", "2022-11-28"),
            ("Sec-Fetch-Mode", "cors"),
            ("Last-Event-ID", "event-1234"),
            ("Authorization", "Bearer x"),
            ("X-Format", "application/json"),
            ("X-Types", "message"),
            ("anthropic-beta", "tools-2024-04-04"),
        ],
    )
    def test_no_field_that_is_public(self, name: str, value: str) -> None:
        secrets = compose(URL, headers=check_headers({name: value})).secrets
        assert secrets.quote(value) == value

    @pytest.mark.parametrize(
        ("query", "echo", "hidden"),
        [
            ("token=qu3rytok", "token=qu3rytok", "token=********"),
            ("stream=true&k=qu3rytok", "the stream is true", "the stream is true"),
            ("qu3rytok", "qu3rytok", "********"),
            ("qu3rytok=", "qu3rytok", "********"),
            ("a=qu%33rytok", "qu3rytok", "********"),
            ("format=json&types=message", "application/json: message", "application/json: message"),
            ("accept=text/event-stream", "text/event-stream", "text/event-stream"),
            ("key=letmein", "no letmein", "no *******"),
        ],
    )
    def test_the_query(self, query: str, echo: str, hidden: str) -> None:
        assert compose(parse_url(f"http://example.com/?{query}")).secrets.quote(echo) == hidden

    def test_the_names_of_cookies_are_none(self) -> None:
        fields = check_headers({"Cookie": "session=c00kie-1; theme=dark; lonely-c00kie"})
        secrets = compose(URL, headers=fields).secrets
        assert secrets.quote("session expired: c00kie-1 lonely-c00kie") == "session expired: ******** *************"

    def test_userinfo_encoded_and_as_a_server_would_quote_it(self) -> None:
        secrets = compose(parse_url("http://user:pa%73sw0rd@example.com/")).secrets
        for echo in (base64.b64encode(b"user:passw0rd").decode(), "user:passw0rd", "passw0rd"):
            assert set(secrets.quote(echo)) == {"*"}

    def test_the_proxys(self) -> None:
        proxy = parse_url("http://user:passw0rd@proxy")
        for request in (
            compose(URL, absolute_form=True, proxy_authorization=proxy.authorization),
            compose_connect(parse_url("https://example.com/"), proxy.authorization),
        ):
            assert request.secrets.quote("passw0rd") == "********"

    def test_what_looks_like_a_token_in_a_body_and_not_its_words(self) -> None:
        body = b'{"model": "small", "api_key": "sk-0123456789abcdef"}'
        secrets = compose(URL, method=b"POST", body=body).secrets
        assert secrets.quote("field required: model") == "field required: model"
        assert secrets.quote("bad key sk-0123456789abcdef") == "bad key " + "*" * 19

    def test_those_of_one_stream_are_collected(self) -> None:
        secrets = Secrets()
        compose(parse_url("http://example.com/?a=f1rst-one"), secrets=secrets)
        compose_connect(parse_url("https://example.com/"), "Basic dXNlcjpwYXNzdzByZA==", secrets)
        compose(URL, headers=check_headers({"X-Key": "th1rd-one"}), secrets=secrets)
        for echo in ("f1rst-one", "passw0rd", "th1rd-one"):
            assert set(secrets.quote(echo)) == {"*"}


@given(st.binary(max_size=100))
def test_an_excerpt_of_anything_is_printable(data: bytes) -> None:
    shown = excerpt(data)
    assert shown.isprintable() and len(shown) == min(len(data), 80)
    for byte, character in zip(data[:79], shown, strict=False):
        assert character == (chr(byte) if 0x20 <= byte < 0x7F else ".")


def test_every_error_here_is_ours() -> None:
    assert issubclass(InvalidRequestError, WireRawSSEError) and issubclass(InvalidRequestError, ValueError)
    assert issubclass(CredentialsError, WireRawSSEError) and issubclass(CredentialsError, RuntimeError)
