"""The text about a response that refuses the stream: its reason, its fields, and what may help; masked and bounded."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import pytest

from tests.hosts.support import AT_ONCE
from tests.support.fixtures import Serve
from tests.support.listen import LENIENT, end, first, source, told
from tests.support.server import PATIENCE, Step, answer, byte_by_byte, request, send, stall
from wire_rawsse import Closed, EventSource, connection
from wire_rawsse.errors import NotAnEventStreamError, StatusError

TOKEN = "Zq7xW9vKmPf2TgB8nJ4cRh6Y"


def refusal(serve: Serve, *steps: Step, **settings: Any) -> StatusError:
    server = serve([request, *steps])
    error = end(settings.pop("url", server.url), **{"timeouts": LENIENT, **settings}).error
    assert isinstance(error, StatusError)
    return error


def json(body: str) -> Step:
    return send(answer("422 x", "Content-Type: application/json", body=body.encode()))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"detail": "field required: model"}', "field required: model"),
        ('{"title": "Bad", "detail": "no such slot"}', "no such slot"),
        ('{"error": {"code": 7, "message": "quota \\"x\\" is used up"}}', 'quota "x" is used up'),
        ('{"error": "invalid_grant", "error_description": "expired"}', "expired"),
        ('{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        ('{\n  "message": "two\\nlines"\n}', "two lines"),
        ('{"code": 7}', '{"code": 7}'),
        ("plain words,\r\nof two lines", "plain words, of two lines"),
        ("<!DOCTYPE html><html><head><title>\n Not here </title></head>", "Not here"),
        ("über", "über"),
    ],
)
def test_the_reason_is_in_the_text(body: str, said: str, serve: Serve) -> None:
    error = refusal(serve, json(body))
    assert str(error).endswith(f"expected 200; it said: {said}")
    assert error.body == " ".join(body.split())


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/json", '{"error": {"message": "no such model"}}', "no such model"),
        ("text/html", "<title>Log in</title>", "Log in"),
        ("text/event-stream-ish", f"data: {TOKEN}", "data: " + "*" * len(TOKEN)),
        ("text/plain", "", None),
    ],
)
def test_so_it_is_of_a_200_that_is_no_stream(kind: str, body: str, said: str | None, serve: Serve) -> None:
    """A page for a login, an error in JSON: many APIs answer these with 200."""
    head = answer("200 OK", f"Content-Type: {kind}", "X-Request-Id: 7", body=body.encode())
    server = serve([request, send(head), stall])
    error = end(server.url, bearer_token=TOKEN).error
    assert isinstance(error, NotAnEventStreamError)
    words = f"answered 200 with Content-Type {kind}, expected text/event-stream"
    assert str(error).endswith(words if said is None else f"{words}; it said: {said}")
    assert error.body == body.replace(TOKEN, "*" * len(TOKEN)) and ("x-request-id", "7") in error.headers


@pytest.mark.parametrize("body", ["", "{}", "[]", "<html><body>x</body></html>"])
def test_there_is_none(body: str, serve: Serve) -> None:
    error = refusal(serve, json(body))
    assert str(error).endswith("answered 422 x, expected 200") and error.body == body


@pytest.mark.parametrize("fields", [(), ("Content-Encoding: gzip",)])
def test_what_is_no_text_is_not_shown(fields: tuple[str, ...], serve: Serve) -> None:
    error = refusal(serve, send(answer("404 x", *fields, body=b"\x1f\x8b\x08\0\0\xff\xfe\xfd")))
    assert error.body == "" and str(error).endswith("answered 404 x, expected 200")


def test_an_error_can_be_pickled_and_copied(serve: Serve) -> None:
    """As `multiprocessing` and `concurrent.futures` do."""
    error = refusal(serve, json('{"detail": "x"}'))
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is StatusError and str(same) == str(error) and vars(same) == vars(error)
        assert same.permanent and same.args == error.args


def test_how_much_of_it_is_kept(serve: Serve) -> None:
    error = refusal(serve, json("x" * 100_000))
    assert error.body == "x" * 1024
    assert str(error).endswith("it said: " + "x" * 79 + "…")


def test_the_fields_but_for_secrets_of_the_servers(serve: Serve) -> None:
    fields = ("X-Request-Id: 7", "WWW-Authenticate: Bearer realm=x", "Set-Cookie: a=b", "X-Auth-Token: new")
    error = refusal(serve, send(answer("401 x", *fields, "Location: /x?sig=new", "X-Long: " + "y" * 9000)))
    kept = dict(error.headers)
    assert (kept["x-request-id"], kept["www-authenticate"], kept["location"]) == ("7", "Bearer realm=x", "/x")
    assert not {"set-cookie", "x-auth-token"} & set(kept)
    assert len(kept["x-long"]) == 200


@pytest.mark.parametrize(
    "wait",
    ["3600", "Mon, 30 Nov 2026 12:00:00 GMT", "Monday, 30-Nov-26 12:00:00 GMT", "Mon Nov 30 12:00:00 2026"],
)
def test_a_wait_is_followed_although_the_token_holds_its_number(wait: str, serve: Serve) -> None:
    error = refusal(serve, send(answer("404 x", f"Retry-After: {wait}")), bearer_token="key-2026-12:00:00-3600-nov")
    assert error.retry_after == wait


def test_any_other_wait_is_masked(serve: Serve) -> None:
    error = refusal(serve, send(answer("404 x", "Retry-After: 8473625190")), bearer_token="8473625190")
    assert error.retry_after == "*" * 10


@pytest.mark.parametrize("name", ["Location", "Content-Location", "Link", "Refresh"])
def test_secrets_in_urls_of_the_servers(name: str, serve: Serve) -> None:
    value = "<https://user:new@x.test:8/a?sig=new#token=new>; rel=next, <//new@x.test/b#new>"
    error = refusal(serve, send(answer("404 x", f"{name}: {value}")))
    assert dict(error.headers)[name.lower()] == "<https://x.test:8/a>; rel=next, <//x.test/b>"


@pytest.mark.parametrize("name", ["X-ApiKey", "X-CSRFToken", "XSRF", "X-JWT", "X-Password", "X-Signature"])
def test_a_field_that_may_bring_a_secret_is_left_out(name: str, serve: Serve) -> None:
    error = refusal(serve, send(answer("404 x", f"{name}: new")))
    assert "new" not in str(error.headers)


@pytest.mark.parametrize("how", [send, byte_by_byte])
def test_secrets_of_ours_are_masked(how: Any, serve: Serve) -> None:
    escaped = "".join(f"\\u{ord(one):04x}" for one in TOKEN)
    body = f'{{"detail": "no {TOKEN}", "x": "{escaped}"}}'
    head = answer(f"403 {TOKEN}", f"X-Echo: {TOKEN}", f"{TOKEN}: y", body=body.encode())
    error = refusal(serve, how(head), bearer_token=TOKEN)
    assert "it said: no " + "*" * len(TOKEN) in str(error)
    whole = f"{told(error)} {vars(error)}".lower()
    assert not [at for at in range(len(TOKEN) - 3) if TOKEN[at : at + 4].lower() in whole]
    assert f"u{ord(TOKEN[0]):04x}" not in whole


@pytest.mark.parametrize("status", ["404 x", "503 x"])
def test_a_body_that_does_not_come_holds_nothing_up(status: str, serve: Serve) -> None:
    """Its beginning is told after a second."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: 1000\r\n\r\nbegun".encode()
    began = time.monotonic()
    error = refusal(serve, send(head), stall)
    assert 0.9 < time.monotonic() - began < PATIENCE
    assert error.body == "begun"


def test_nor_does_close_wait_for_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ERROR_BODY_SECONDS", 3 * AT_ONCE)
    server = serve([request, send(b"HTTP/1.1 404 x\r\nContent-Length: 1000\r\n\r\n"), stall])
    listening = EventSource(server.url)
    assert listening.next(0.3) is None
    began = time.monotonic()
    listening.close()
    assert time.monotonic() - began < AT_ONCE


@pytest.mark.parametrize(
    "body",
    [b"HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsaid\r\nzz\r\n", b"HTTP/1.1 404 x\r\n\r\nsaid"],
)
def test_a_body_that_breaks_off(body: bytes, serve: Serve) -> None:
    error = refusal(serve, send(body))
    assert (error.status, error.body) == (404, "said")


@pytest.mark.parametrize(
    ("status", "settings", "hint"),
    [
        (401, {}, "no Authorization was sent"),
        (403, {}, "no Authorization was sent"),
        (401, {"bearer_token": TOKEN}, "still valid"),
        (403, {"headers": {"Authorization": TOKEN}}, "does not permit"),
        (401, {"headers": {"X-Api-Key": TOKEN}}, "the X-Api-Key that was sent is not accepted"),
        (403, {"headers": {"Cookie": f"a={TOKEN}"}}, "the Cookie that was sent is known but"),
        (401, {"headers": {"X-Other": "x"}}, "no Authorization was sent"),
        (404, {}, None),
    ],
)
def test_a_hint_at_the_token(status: int, settings: dict[str, Any], hint: str | None, serve: Serve) -> None:
    text = str(refusal(serve, send(answer(f"{status} x")), **settings))
    assert text.endswith("expected 200") if hint is None else hint in text


def test_accept_encoding_is_named_where_it_was_given(serve: Serve) -> None:
    coded = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    server = serve([request, send(coded), stall])
    text = str(end(server.url, headers={"Accept-Encoding": "gzip"}).error)
    assert "Content-Encoding gzip, and compression is not spoken here; leave Accept-Encoding out" in text
    assert "leave" not in str(end(server.url).error)


@pytest.mark.parametrize("coding", ["none", "utf-8", "identity, identity"])
def test_a_coding_that_is_none_is_passed_through(coding: str, serve: Serve) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\n\r\n"
    server = serve([request, send(head.encode() + b"data: x\n\n"), stall])
    with source(server.url) as listening:
        happened = listening.next(PATIENCE)
        assert happened is not None and happened.data == "x"


def test_a_target_in_the_path_of_a_unix_url(socket_path: str, serve: Serve) -> None:
    serve([request, stall], path=socket_path)
    with source(f"unix://{socket_path}/v1/events") as listening:
        error = first(listening, Closed).error
    assert f"unix://{socket_path}?path=/v1/events" in str(error)
