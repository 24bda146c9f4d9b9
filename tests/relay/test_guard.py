"""Refusals of the relay: requests of foreign web pages, and peers that would hold its memory or its connections."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h11
import pytest

from tests.conftest import missing
from tests.relay.conftest import Certified, Connect
from tests.relay.raw import Raw
from wire_rawsse.errors import InvalidRequestError
from wire_rawsse.relay.guard import host_name, refusal
from wire_rawsse.relay.store import OVERHEAD, SLOTS, STORE_BYTES, Store, StoreFull
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot

RIGHT_HOSTS = [
    *("localhost", "localhost:8770", "LocalHost.", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]:8770"),
    *("10.1.2.3", "10.1.2.3:8770", "[::ffff:10.1.2.3]", "relay.home", "RELAY.home.:80", "mine.example:9"),
]
WRONG_HOSTS = [
    *("evil.example", "evil.example:8770", "127.0.0.1.evil.example", "localhost.evil.example", "10.1.2.4", "0.0.0.0"),
    *(
        "localhost@evil.example",
        "evil.example#localhost",
        "localhost/evil",
        "",
        "localhost:99999",
        "localhost:x",
        "[::2",
    ),
    *("notmine.example", "xmine.example", "mine.example.evil.example", "localhost evil.example"),
]


def refused(*fields: tuple[str, str], scheme: str = "http", here: str | None = "10.1.2.3") -> str | None:
    request = h11.Request(method="POST", target="/control", headers=list(fields))
    return refusal(request, scheme, here, "relay.home", {"mine.example"})


@pytest.mark.parametrize("host", RIGHT_HOSTS)
def test_a_host_of_this_machine_is_served(host: str) -> None:
    assert refused(("Host", host)) is None


@pytest.mark.parametrize("host", WRONG_HOSTS)
def test_any_other_host_is_refused_with_the_reason(host: str) -> None:
    told = refused(("Host", host))
    assert told is not None and told.startswith("Host: expected localhost") and "--allow-host" in told
    assert refused(("Host", host), here=None) is None  # On a Unix-domain socket.


@pytest.mark.parametrize(
    ("host", "origin", "served"),
    [
        ("127.0.0.1:8770", "http://127.0.0.1:8770", True),
        ("localhost:80", "http://localhost", True),
        ("LOCALHOST:8770", "http://localhost:8770", True),
        ("mine.example:1", "http://mine.example:1", True),
        ("localhost:8770", "https://mine.example:3000", True),
        ("127.0.0.1:8770", "http://127.0.0.1:9999", False),
        ("127.0.0.1:8770", "https://127.0.0.1:8770", False),
        ("127.0.0.1:8770", "http://localhost:8770", False),
        ("127.0.0.1:8770", "http://evil.example", False),
        ("127.0.0.1:8770", "null", False),
        ("127.0.0.1:8770", "file://", False),
        ("127.0.0.1:8770", "", False),
        ("127.0.0.1:8770", "http://mine.example@evil.example", False),
    ],
)
@pytest.mark.parametrize("here", ["127.0.0.1", None])
def test_a_page_of_another_origin_is_refused(host: str, origin: str, served: bool, here: str | None) -> None:
    told = refused(("Host", host), ("Origin", origin), here=here)
    assert (told is None) == served
    assert served or str(told).startswith("Origin: ")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Cross-Site", "none, cross-site"])
def test_a_request_that_a_foreign_page_caused_is_refused(site: str) -> None:
    assert str(refused(("Host", "localhost"), ("Sec-Fetch-Site", site))).startswith("Sec-Fetch-Site: ")
    assert refused(("Host", "localhost"), ("Sec-Fetch-Site", "none")) is None
    assert refused(("Host", "localhost"), ("Sec-Fetch-Site", "same-origin")) is None
    # The page of an allowed host is another site's, by the browser's words.
    assert refused(("Host", "localhost"), ("Origin", "http://mine.example"), ("Sec-Fetch-Site", site)) is None


@pytest.mark.parametrize("text", ["", "http://a", "a/b", "a:80", "a b", "u@a", "[::1]:80", "#"])
def test_what_no_host_can_be_is_not_allowed(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        host_name(text)


def test_allowed_hosts_are_compared_as_hosts() -> None:
    assert [host_name(text) for text in ("A.Example.", "::1", "[::1]", "10.0.0.1")] == [
        *("a.example", "::1", "::1", "10.0.0.1")
    ]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_listener_refuses_and_says_why(scheme: str, connect: Connect, client: RelayClient, slot: Slot) -> None:
    before = client.report()["requests"]
    for field in ("Host: evil.example", "Host: localhost\r\nOrigin: http://evil.example"):
        raw = connect(scheme)
        raw.send(
            f"GET {slot.path}/stream HTTP/1.1\r\n{field}\r\nAuthorization: Bearer {slot.slot_token}\r\n\r\n".encode()
        )
        status, fields = raw.head()
        assert (status, fields["content-type"]) == (403, "text/plain; charset=utf-8")
        assert raw.ended() == "FIN"
        assert b"evil.example; if the" in raw.plain and b"--allow-host NAME" in raw.plain
    assert client.report()["requests"] == before


def test_any_host_is_right_on_a_unix_domain_socket(connect: Connect) -> None:
    raw = connect("uds")
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: anything\r\n\r\n")
    assert raw.head()[0] == 200


def test_a_rebound_page_cannot_use_the_control_call(relay: RelayProcess, client: RelayClient) -> None:
    assert relay.control_url is not None
    call = json.dumps({"do": "misbehave", "faults": [{"action": "refuse"}]}).encode()
    for fields in (
        "Host: evil.example:8770",
        "Host: localhost\r\nOrigin: http://localhost:1",
        "Host: x\r\nOrigin: http://x",
    ):
        with Raw(relay.control_url) as raw:
            raw.send(
                f"POST /control HTTP/1.1\r\n{fields}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(call)}\r\n\r\n".encode()
                + call
            )
            assert raw.head()[0] == 403
    assert client.request("GET", "/healthz").status == 200


def test_more_names_can_be_allowed() -> None:
    with RelayProcess(allow_host=["relay.example"]) as relay:
        for urls in (relay.urls[0], str(relay.control_url)):
            with Raw(urls) as raw:
                raw.send(b"GET /healthz HTTP/1.1\r\nHost: relay.example\r\nOrigin: https://relay.example:3000\r\n\r\n")
                assert raw.head()[0] != 403


# Limits on peers.


@pytest.fixture(scope="module")
def impatient(certified: Certified) -> Iterator[RelayProcess]:
    with RelayProcess(
        bind=["127.0.0.1:0"],
        bind_tls=["127.0.0.1:0"],
        certificate=certified.certificate,
        key=certified.key,
        request_timeout=0.5,
        idle_timeout=1.5,
        max_connections=30,
        allocate_rate=1000,
    ) as relay:
        yield relay


@pytest.mark.parametrize(
    "flight", [b"\x16", b"\x16\x03\x01\x02\x00\x01", b""], ids=["a byte", "half a hello", "nothing"]
)
def test_a_handshake_that_does_not_end_in_time_is_ended(flight: bytes, impatient: RelayProcess) -> None:
    port = int(impatient.urls[1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(flight)
        assert sock.recv(100) == b""


HALVES = {
    "half a head": b"POST /healthz HTTP/1.1\r\nHost: loc",
    "no body": b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n",
    "half a body": b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab",
    "half a chunk": b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "half a second request": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET",
}


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
def test_a_request_that_does_not_end_in_time_is_ended(sent: bytes, impatient: RelayProcess) -> None:
    with Raw(impatient.url) as raw:
        raw.send(sent)
        raw.until(lambda: raw.end is not None, 20)
        assert raw.plain.count(b"HTTP/1.1 408 Request Timeout\r\n") == 1


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"x: y\r\n"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    ],
    ids=["head", "chunks", "chunk extension", "trailer"],
)
def test_nor_does_one_byte_after_another_keep_it(start: bytes, piece: bytes, impatient: RelayProcess) -> None:
    with Raw(impatient.url) as raw:
        raw.send(start)
        raw.socket.settimeout(0.02)
        until = time.monotonic() + 20
        answer = b""
        while not answer:
            assert time.monotonic() < until
            try:
                raw.send(piece)
                answer = raw.socket.recv(100)
            except TimeoutError:
                pass
            except ConnectionError:
                break
        assert answer[:12] in (b"HTTP/1.1 408", b"")


def test_a_connection_without_a_request_is_closed(impatient: RelayProcess) -> None:
    with Raw(impatient.url) as fresh, Raw(impatient.url) as kept:
        kept.ask("GET", "/healthz")
        assert kept.head()[0] == 200
        for raw in (fresh, kept):
            raw.until(lambda raw=raw: raw.end is not None, 20)
            assert raw.end == "FIN" and b"408" not in raw.plain


def test_what_waits_for_the_relay_is_not_timed(impatient: RelayProcess) -> None:
    with impatient.client() as client, Raw(impatient.url) as stream, Raw(impatient.url) as silenced:
        slot = client.allocate()
        stream.subscribe(slot)
        assert stream.head()[0] == 200
        client.misbehave(Fault("silent", at="request", only="all"))
        silenced.ask("GET", "/healthz")
        # Longer than both limits: the control call waits, the request is silenced, the stream has no event.
        assert client.control("await", counter="open", at_least=1000, seconds=2.5) == {"reached": False, "value": 3}
        client.normal()
        assert silenced.head()[0] == 200
        client.post(slot, {"event_id": "late"})
        stream.until(b"late")


def test_one_connection_too_many_is_closed(impatient: RelayProcess) -> None:
    with impatient.client() as client:
        client.wait_until("open", at_most=0)
        opened = [socket.create_connection(("127.0.0.1", int(impatient.url.rpartition(":")[2]))) for _ in range(50)]
        ended = 0
        for one in opened[30:]:
            one.settimeout(20)
            try:
                ended += one.recv(1) == b""
            except ConnectionResetError:
                ended += 1
        assert ended == 20
        assert client.report()["accepted"] >= 50  # The control port has a count of its own.
        for one in opened:
            one.close()
        client.wait_until("open", at_most=0)
        assert client.request("GET", "/healthz").status == 200


def resident(pid: int) -> int:
    """MiB."""
    if sys.platform != "linux":
        missing("needs /proc")
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


TWO_MIB = 2 * 1024 * 1024 - 1
FLOODS: dict[str, Callable[[], bytes]] = {
    "bodies": lambda: b"Content-Length: %d\r\n\r\n" % (TWO_MIB + 1) + b"x" * TWO_MIB,
    "chunks of one byte": lambda: b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30_000,
    "heads": lambda: b"x: " + b"x" * 60_000,
}


def one_was_refused(client: RelayClient) -> bool:
    """Whether a request was refused because of its size, or of what all of them hold."""
    return any(
        what == "refused" and detail in ("503", "413")
        for record in client.report()["connections"]
        for _, what, detail in record["log"]
    )


@pytest.mark.parametrize("kind", FLOODS)
def test_half_sent_requests_hold_little_memory(kind: str) -> None:
    count = 1000 if kind == "heads" else 60
    data = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\n" + FLOODS[kind]()
    with RelayProcess() as relay, relay.client(timeout=60) as client, contextlib.ExitStack() as finish:
        before = resident(relay.pid)
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", int(relay.url.rpartition(":")[2])))
            one.settimeout(20)
            finish.enter_context(one)
            try:
                one.sendall(data)
            except OSError:
                pass  # It was refused in the middle.
        end = time.monotonic() + 60  # The kernel may hold all that was sent, before the relay has read any of it.
        while not one_was_refused(client) and time.monotonic() < end:
            time.sleep(0.05)
        assert one_was_refused(client)
        assert resident(relay.pid) - before < 48
        finish.close()
        client.wait_until("open", at_most=0, seconds=20)
        slot = client.allocate()
        client.post(slot, {"event_id": "x" * 100_000})  # Nothing is counted that is gone.


def test_questions_during_an_answer_wait_unread(relay: RelayProcess) -> None:
    assert relay.control_url is not None
    call = json.dumps({"do": "await", "counter": "open", "at_least": 1000, "seconds": 3}).encode()
    with Raw(relay.control_url) as raw:
        raw.ask("POST", "/control", body=call)
        raw.socket.settimeout(0.3)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += raw.socket.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
        assert sent < 32 << 20
        raw.socket.settimeout(5)
        assert raw.head()[0] == 200
        raw.until(b'"value":')


def test_slots_and_events_are_bounded() -> None:
    store = Store()
    slots = [store.allocate() for _ in range(SLOTS)]
    with pytest.raises(StoreFull):
        store.allocate()
    store.size = STORE_BYTES - OVERHEAD - 1
    assert slots[0].add(1) == (None, True)
    with pytest.raises(StoreFull):
        slots[0].add({"event_id": "a"})
    assert slots[0].positions == {} and len(slots[0].bodies) == 1
    store.adopt(slots[0].slot_id, "t")
    assert store.size == STORE_BYTES - OVERHEAD - 1
