"""wire's HTTP surface as a table, asked of our relay and of wire's own: one expectation for both.

The tests at the end are about intended differences, and ask ours alone.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from tests.relay.conftest import STORED_EVENTS, Connect, Target
from tests.relay.raw import Raw
from wire_rawsse.testing import RelayProcess
from wire_rawsse.testing.client import ClientResponse, RelayClient, Slot

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
STORED = frozenset({"event_id", "status"})
ERROR = frozenset({"error"})
CREDENTIALS = frozenset({"slot_id", "slot_token"})
UNKNOWN = "/v1/events/0123456789abcdef0123456789abcdef"
JSON_FIELD = ("Content-Type", JSON)


class Case(NamedTuple):
    """`{slot}` in a path stands for a slot that holds E1 to E4; `token` is that slot's, the other slot's, or none."""

    name: str
    method: str
    path: str
    status: int
    kind: str | None = None
    keys: frozenset[str] | None = None
    token: str = "right"
    body: bytes | None = None
    fields: tuple[tuple[str, str], ...] = (JSON_FIELD,)
    allow: str | None = None
    exactly: object = None


def post(name: str, event: object, status: int, keys: frozenset[str] | None = STORED, token: str = "right") -> Case:
    body = json.dumps({"event": event}).encode()
    return Case(name, "POST", "/v1/events/{slot}", status, JSON if keys else TEXT, keys, token, body)


def body(name: str, text: bytes, status: int, **more: Any) -> Case:
    return Case(name, "POST", "/v1/events/{slot}", status, more.pop("kind", TEXT), body=text, **more)


def allocate(name: str, text: bytes, status: int, **more: Any) -> Case:
    kind = JSON if status == 201 else TEXT
    keys = CREDENTIALS if status == 201 else None
    return Case(name, "POST", "/v1/slot/allocate", status, kind, keys, "none", text, **more)


def pull(name: str, query: str, ids: list[str] | None) -> Case:
    if ids is None:
        return Case(name, "GET", "/v1/events/{slot}" + query, 400, TEXT)
    events = [event for event in STORED_EVENTS if event["event_id"] in ids]
    return Case(name, "GET", "/v1/events/{slot}" + query, 200, JSON, exactly=events)


def refused(name: str, status: int, token: str, path: str = "/v1/events/{slot}") -> list[Case]:
    return [
        Case(f"post {name}", "POST", path, status, JSON, ERROR, token, b'{"event": {}}'),
        Case(f"pull {name}", "GET", path, status, JSON, ERROR, token),
        Case(f"stream {name}", "GET", path + "/stream", status, JSON, ERROR, token),
        Case(f"HEAD of a stream {name}", "HEAD", path + "/stream", status, JSON, None, token),
    ]


def wrong_methods(path: str, allow: str, *methods: str) -> list[Case]:
    return [Case(f"{method} {path}", method, path, 405, allow=allow) for method in methods]


EVENT_BYTES = 256 * 1024
LARGEST = "x" * (EVENT_BYTES - len('{"event_id":"max","p":""}'))

CASES = [
    Case("healthz", "GET", "/healthz", 200, TEXT),
    Case("HEAD healthz", "HEAD", "/healthz", 200, TEXT),
    Case("healthz with a query", "GET", "/healthz?x=1", 200, TEXT),
    Case("healthz with a slash", "GET", "/healthz/", 404),
    *wrong_methods("/healthz", "GET,HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"),
    Case("an unknown path", "GET", "/nope", 404),
    Case("HEAD of an unknown path", "HEAD", "/nope", 404),
    Case("the root", "GET", "/", 404),
    Case("events without a slot", "GET", "/v1/events/", 404),
    Case("events without a slash", "GET", "/v1/events", 404),
    Case("below a stream", "GET", "/v1/events/{slot}/stream/x", 404),
    Case("not quite a stream", "GET", "/v1/events/{slot}/streams", 404),
    *wrong_methods("/v1/slot/allocate", "POST", "GET", "HEAD", "PUT"),
    *wrong_methods("/v1/events/{slot}", "POST,GET,HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"),
    *wrong_methods("/v1/events/{slot}/stream", "GET,HEAD", "PUT", "POST", "DELETE"),
    allocate("allocate", b"{}", 201),
    allocate("allocate with a handle", b'{"handle": "x"}', 201),
    allocate("allocate with null for a handle", b'{"handle": null, "more": 1}', 201),
    allocate("allocate with a number for a handle", b'{"handle": 5}', 422),
    allocate("allocate with null", b"null", 422),
    allocate("allocate with a number", b"5", 422),
    allocate("allocate with nothing", b"", 400),
    allocate("allocate with half an object", b"{", 400),
    allocate("allocate without a type", b"{}", 415, fields=()),
    allocate("allocate as text", b"{}", 415, fields=(("Content-Type", "text/plain"),)),
    allocate("allocate with a charset", b"{}", 201, fields=(("Content-Type", "Application/JSON; charset=utf-8"),)),
    allocate("allocate as some JSON", b"{}", 201, fields=(("Content-Type", "application/some+json"),)),
    post("post", {"event_id": "new"}, 201),
    post("post what is there", {"event_id": "E1", "text": "another"}, 200),
    post("post without an id", {"x": 1}, 201),
    post("post with a number for an id", {"event_id": 5}, 201),
    post("post with null for an id", {"event_id": None}, 201),
    post("post an empty id", {"event_id": ""}, 201),
    post("post a strange id", {"event_id": "a b\nü"}, 201),
    post("post a string", "event", 201),
    post("post a list", [1, {"event_id": "x"}], 201),
    post("post null", None, 201),
    post("post a number", 7, 201),
    post("post the largest event", {"event_id": "max", "p": LARGEST}, 201),
    post("post one byte more", {"event_id": "max", "p": LARGEST + "x"}, 413, frozenset({"error", "max_bytes"})),
    post("post too much without a token", {"p": LARGEST + "x"}, 401, ERROR, "none"),
    post("post too much with a wrong token", {"p": LARGEST + "x"}, 403, ERROR, "wrong"),
    body("post only outer spaces too much", b'{"event": ' + b" " * 300_000 + b"7}", 201, kind=JSON, keys=STORED),
    body("post over 2 MiB", b'{"event": ' + b" " * 2_097_152 + b"7}", 413),
    body("post over 2 MiB without a token", b'{"event": ' + b" " * 2_097_152 + b"7}", 413, token="none"),
    body("post without an event", b"{}", 422),
    body("post without an object", b"5", 422),
    body("post nothing", b"", 400),
    body("post half an object", b'{"event": {"event_id": "half"', 400),
    body("post half an object without a token", b"{", 400, token="none"),
    body("post NaN", b'{"event": NaN}', 400),
    body("post an endless number", b'{"event": 1e999}', 400),
    body("post half a surrogate pair", b'{"event": "\\ud800"}', 400),
    body("post a surrogate pair", b'{"event": "\\ud83d\\ude00"}', 201, kind=JSON, keys=STORED),
    body("post no UTF-8", b'{"event": "\xff"}', 400),
    body("post with a BOM", b'\xef\xbb\xbf{"event": 1}', 400),
    body("post a line end in a string", b'{"event": "\n"}', 400),
    body("post 100 levels", b'{"event": ' + b"[" * 100 + b"]" * 100 + b"}", 201, kind=JSON, keys=STORED),
    body("post 200,000 levels", b'{"event": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400),
    body("post without a type", b'{"event": 1}', 415, fields=()),
    *refused("without a token", 401, "none"),
    *refused("with an empty token", 401, "empty"),
    *refused("with another scheme", 401, "basic"),
    *refused("with the scheme in lower case", 401, "lower"),
    *refused("with a wrong token", 403, "wrong"),
    *refused("with another slot's token", 403, "other"),
    *refused("of an unknown slot", 404, "right", UNKNOWN),
    *refused("of an unknown slot without a token", 401, "none", UNKNOWN),
    pull("pull", "", ["E1", "E 2&=+", "E3", "E4"]),
    pull("pull one", "?limit=1", ["E1"]),
    pull("pull none", "?limit=0", []),
    pull("pull since", "?since=E1", ["E 2&=+", "E3", "E4"]),
    pull("pull since and limit", "?since=E1&limit=2&x=3", ["E 2&=+", "E3"]),
    pull("pull since the last", "?since=E4", []),
    pull("pull since an unknown event", "?since=E99&limit=2", ["E1", "E 2&=+"]),
    pull("pull since an encoded id", "?since=E+2%26%3d%2B", ["E3", "E4"]),
    pull("pull a negative number", "?limit=-1", None),
    pull("pull a word", "?limit=x", None),
    pull("pull an empty number", "?limit=", None),
    pull("pull a huge number", "?limit=99999999999999999999999", None),
    pull("pull a fraction", "?limit=1.0", None),
    pull("pull two limits", "?limit=1&limit=2", None),
    pull("pull since two", "?since=E1&since=E2", None),
    Case("pull a word without a token", "GET", "/v1/events/{slot}?limit=x", 400, TEXT, token="none"),
    Case("HEAD of a pull", "HEAD", "/v1/events/{slot}", 200, JSON),
    Case("HEAD of a stream", "HEAD", "/v1/events/{slot}/stream", 200, "text/event-stream"),
]


def ask(case: Case, target: Target) -> ClientResponse:
    slot = target.posted if case.method == "POST" else target.pulled
    other = target.pulled if case.method == "POST" else target.posted
    value = {
        "right": f"Bearer {slot.slot_token}",
        "wrong": "Bearer wrong",
        "other": f"Bearer {other.slot_token}",
        "empty": "Bearer",
        "basic": f"Basic {slot.slot_token}",
        "lower": f"bearer {slot.slot_token}",
        "none": "",
    }[case.token]
    fields = list(case.fields) if case.body is not None else []
    fields += [("Authorization", value)] if value else []
    with Raw(target.url) as raw:
        lines = [f"{name}: {value}" for name, value in fields]
        if case.body is not None:
            lines.append(f"Content-Length: {len(case.body)}")
        raw.ask(case.method, case.path.format(slot=slot.slot_id), *lines)
        raw.send(case.body or b"")
        status, answer = raw.head()
        length = 0 if case.method == "HEAD" else int(answer["content-length"])
        raw.until(lambda: len(raw.plain) >= length)
        return ClientResponse(status, answer, raw.plain[:length])


def check(case: Case, target: Target) -> None:
    response = ask(case, target)
    assert response.status == case.status, response
    assert response.fields.get("content-type") == case.kind, response
    assert response.fields.get("allow") == case.allow
    assert response.fields["date"].endswith(" GMT")
    if case.method == "HEAD":
        return
    if case.kind == JSON:
        if case.exactly is not None:
            assert response.json() == case.exactly
        if case.keys is not None:
            assert set(response.json()) == case.keys
    elif case.kind == TEXT:
        assert response.body.strip(), "what went wrong must be said"
    else:
        assert response.body == b""
    # Nobody hears their token back.
    for slot in (target.pulled, target.posted):
        assert slot.slot_token.encode() not in response.body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ours(case: Case, ours: Target) -> None:
    check(case, ours)


@pytest.mark.interop
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wires(case: Case, wires: Target) -> None:
    check(case, wires)


# The following is asked of ours alone: limits that are switched off elsewhere, and where we differ from wire on
# purpose.


def test_the_budget_for_allocations() -> None:
    # The rate is so low that no clock of a busy machine brings a slot back.
    with RelayProcess(allocate_rate=0.001, allocate_burst=3) as relay, relay.client() as client:
        for _ in range(3):
            client.allocate()
        limited = client.request("POST", "/v1/slot/allocate", body=b"{}")
        assert limited.status == 429
        assert 900 < int(limited.fields["x-ratelimit-after"]) <= 1000
        assert client.request("GET", "/v1/slot/allocate").status == 429
        assert client.request("GET", "/healthz").status == 200


def test_the_documented_budget_is_the_default() -> None:
    with RelayProcess() as relay, relay.client() as client:
        answers = [client.request("POST", "/v1/slot/allocate", body=b"{}").status for _ in range(200)]
    # A burst of 50, and 10 a second for as long as the 200 requests took.
    assert answers[:50] == [201] * 50
    assert 429 in answers


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"no HTTP\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),  # RFC 9112 §3.2; wire answers 200.
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA b: c\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 600_000, 431),
        (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2097153\r\n\r\n", 413),
        (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n200001\r\n" + b"x" * 0x200001, 413),
    ],
)
def test_what_is_no_request_is_refused_and_closed(request_bytes: bytes, status: int, connect: Connect) -> None:
    raw = connect()
    raw.send(request_bytes)
    got, fields = raw.head()
    assert got == status
    assert fields["connection"] == "close"
    assert raw.ended() == "FIN"
    assert len(raw.plain) == int(fields["content-length"]) > 0


def test_requests_in_one_piece_are_answered_in_order(connect: Connect) -> None:
    raw = connect()
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
    for _ in range(50):
        assert raw.head()[0] == 200
        raw.until(b"ok\n")
        raw.plain = raw.plain[3:]
        assert raw.head()[0] == 404


def test_a_request_byte_by_byte_with_100_continue(connect: Connect, slot: Slot) -> None:
    raw = connect()
    body = b'{"event": {"event_id": "slow"}}'
    lines = [f"POST {slot.path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {slot.slot_token}"]
    lines += ["Content-Type: application/json", "Expect: 100-continue", f"Content-Length: {len(body)}"]
    for byte in "\r\n".join([*lines, "", ""]).encode():
        raw.send(bytes([byte]))
    assert raw.head()[0] == 100
    raw.send(body)
    assert raw.head()[0] == 201


def test_http_1_0_and_absolute_form(connect: Connect) -> None:
    raw = connect()
    raw.send(b"GET http://relay/healthz HTTP/1.0\r\n\r\n")
    assert raw.head()[0] == 200
    assert raw.ended() == "FIN"
    assert raw.plain == b"ok\n"


def test_who_reads_no_answers_is_not_asked_for_more(connect: Connect, client: RelayClient, slot: Slot) -> None:
    client.post(slot, {"p": "x" * 200_000})
    raw = connect()
    pull = f"GET {slot.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {slot.slot_token}\r\n\r\n".encode()
    raw.socket.settimeout(0.3)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 64 << 20:
            sent += raw.socket.send(pull * 1000)
    [record] = [found for found in client.report()["connections"] if found["peer"] == raw.local]
    # It read on only while its answers found room, and holds no more than the last of them.
    assert record["received"] < 4 << 20 and record["requests"] < 1000
