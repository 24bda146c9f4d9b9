"""Requests: sent in full even if a socket takes little at a time; with the last id; no token to another origin."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.simulation.answers import raw, redirects, status, well
from tests.simulation.network import Connection
from tests.simulation.relay import CHUNKED, CLOSE, Answer, Relay, Visit
from tests.simulation.scene import Stream
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single, elsewhere
from wire_rawsse.errors import ProxyError, StatusError
from wire_rawsse.event_source import EventSink, Opened
from wire_rawsse.sink import OwnedSink
from wire_rawsse.wake_streams import WakeSink

TOKEN = "one-of-a-kind"
SINKS: list[Callable[[], OwnedSink]] = [lambda: WakeSink("0"), lambda: EventSink("0", 1 << 20)]


def overhear(relay: Relay) -> list[bytes]:
    """Every request to this relay, from now on."""
    asked: list[bytes] = []
    answer = relay.answer

    def overheard(visit: Visit, request: bytes) -> None:
        asked.append(request)
        answer(visit, request)

    relay.answer = overheard
    return asked


def hear_all(relay: Relay) -> bytearray:
    """Every byte that it receives, from now on."""
    came = bytearray()
    received = relay.received

    def heard(connection: Connection, data: bytes) -> None:
        came.extend(data)
        received(connection, data)

    relay.received = heard  # type: ignore[method-assign]
    return came


def for_whom_it_knows(answer: Answer) -> Answer:
    """401 without the token."""
    refuse = status("401 Unauthorized")
    return lambda visit, asked: (answer if TOKEN.encode() in asked else refuse)(visit, asked)


def test_a_request_is_sent_whole_however_little_a_socket_takes_at_once() -> None:
    body = b"x" * 1000 + b"the end"
    for url in ("http://relay.test/", HTTPS):
        for takes in (1, 60, 1000):
            scene = Single(url=url, method="POST", body=body)
            scene.network.takes = takes
            came = hear_all(scene.relay)
            scene.run(5)
            assert scene.phase == "streaming" and scene.only.ends == []
            assert came.endswith(b"\r\n\r\n" + body)
            scene.close()


def test_a_request_that_is_larger_than_a_sockets_buffer_is_sent_whole() -> None:
    body = b"x" * 300_000 + b"the end"
    scene = Single(method="POST", body=body)
    came = hear_all(scene.relay)
    scene.run(5)
    assert scene.phase == "streaming" and came.endswith(b"\r\n\r\n" + body)
    scene.close()


def test_an_answer_ends_the_sending_of_its_request() -> None:
    """RFC 9112 §9.5: the server needs no more of it. A refusal is believed; a stream is read."""
    body = b"x" * 3_000_000
    for answer in (status("413 Content Too Large"), well()):
        scene = Single(answer, method="POST", body=body)
        scene.relay.hasty = True
        scene.network.takes = 10_000
        came = hear_all(scene.relay)
        scene.run(5)
        assert 0 < len(came) < len(body) / 2
        if scene.only.ends:
            _, error, _ = scene.end
            assert isinstance(error, StatusError) and error.status == 413
        else:
            assert scene.phase == "streaming"
        scene.close()


def test_a_refusal_is_read_where_a_reset_follows_it() -> None:
    """A reset does not discard what was received before it."""
    for url in (HTTP, HTTPS):
        refusal = raw(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n", Visit.reset)
        scene = Single(refusal, url=url, method="POST", body=b"x" * 3_000_000)
        scene.relay.hasty = True
        scene.network.gives = 10  # A part of the head is read, and the next attempt to send meets the reset.
        scene.run(0.4375)
        scene.kernel.advance(2)
        scene.run(5)
        _, error, _ = scene.end
        assert isinstance(error, StatusError) and error.status == 413
        scene.close()


def test_a_407_is_the_proxys_own_answer() -> None:
    """To CONNECT and to a request that it forwards (RFC 9110 §15.5.8)."""
    head = b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest realm="x"\r\n\r\n'
    for url in (HTTP, HTTPS):
        scene = Single()
        scene.proxy.answer = head
        proxied = scene.stream(url, environ={"ALL_PROXY": "http://proxy.test:3128"})
        proxied.keep_journal()
        scene.run(5)
        _, error, _ = proxied.ends[0]
        assert isinstance(error, ProxyError) and "Digest" in str(error)
        scene.close()


# Last-Event-ID.


ID = "17 \N{BLACK TELEPHONE}"
"""The standard (WHATWG HTML, 9.2.4) wants it in UTF-8."""


def asked_after(sink: OwnedSink, framing: int, *pieces: bytes) -> bytes | None:
    """The Last-Event-ID that is asked with behind a connection that brought these, each for itself, and was cut."""
    scene = Single(well(framing), sink=sink)
    asked = overhear(scene.relay)
    for number, piece in enumerate(pieces):
        scene.at(10 + number, lambda piece=piece: scene.visit.write(piece))
    scene.at(20, lambda: scene.visit.cut())
    scene.run(25)
    assert len(asked) == 2
    scene.close()
    fields = [line.partition(b":") for line in asked[1].split(b"\r\n")]
    return next((value.strip() for name, _, value in fields if name.lower() == b"last-event-id"), None)


def test_a_reconnect_asks_for_what_came_after_the_last_event_that_was_whole() -> None:
    """However its bytes were cut into receptions. An id counts from the blank line on."""
    for end in (b"\n", b"\r\n"):
        event = f"id: {ID}\ndata: x\n\n".encode().replace(b"\n", end)
        whole = len(event) - len(end) + 1  # Behind a CR, the blank line is there.
        for cut, framing, sink in itertools.product(range(1, len(event)), (CHUNKED, CLOSE), SINKS):
            assert asked_after(sink(), framing, event[:cut], event[cut:]) == ID.encode(), cut
            if end == b"\n":
                assert asked_after(sink(), framing, event[:cut]) == (ID.encode() if cut >= whole else b"0"), cut


def refusing(*lines: str) -> Answer:
    """Each request with an id gets the next of these answers, and then always the last; one without it a stream."""
    left = list(lines)

    def answer(visit: Visit, asked: bytes) -> None:
        if b"Last-Event-ID" in asked:
            status(left.pop(0) if len(left) > 1 else left[0])(visit, asked)
        else:
            visit.relay.open(visit, asked)

    return answer


def ids_sent(asked: list[bytes]) -> list[bytes | None]:
    fields = [[line.partition(b": ") for line in one.split(b"\r\n")] for one in asked]
    return [next((value for name, _, value in lines if name == b"Last-Event-ID"), None) for lines in fields]


def test_an_id_that_is_refused_is_left_out_and_told_and_not_sent_again() -> None:
    for code in ("400 Bad Request", "404 Not Found", "409 Conflict", "410 Gone", "412 Precondition Failed"):
        for make in SINKS:
            sink = make()
            scene = Single(refusing(code), sink=sink, persistent=True)
            asked = overhear(scene.relay)
            scene.at(100, lambda scene=scene: scene.visit.cut())
            scene.run(150)
            assert scene.phase == "streaming" and ids_sent(asked) == [b"0", None, None]
            assert sink.last_event_id == ""
            if isinstance(sink, EventSink):
                assert [item.id_left_out for item in sink.items if isinstance(item, Opened)] == [True, False]
            scene.close()


def test_a_refusal_for_another_reason_does_not_lose_the_place() -> None:
    """If the request without the id is refused as well, the next one sends it again."""
    sink = EventSink("7", 1 << 20)
    scene = Single(status("404 Not Found"), sink=sink, persistent=True)
    asked = overhear(scene.relay)
    scene.run(80)
    assert ids_sent(asked)[:3] == [b"7", None, b"7"]
    scene.close()


def test_what_is_not_about_the_id_leaves_it_alone() -> None:
    for code in ("401 Unauthorized", "408 Request Timeout", "425 Too Early", "429 Too Many Requests", "503 No"):
        scene = Single(status(code), sink=EventSink("7", 1 << 20), persistent=True)
        asked = overhear(scene.relay)
        scene.run(100)
        assert set(ids_sent(asked)) == {b"7"} and len(asked) > 2
        scene.close()


def test_a_stream_of_wakes_sends_no_id_that_no_caller_gave() -> None:
    sink = WakeSink()
    scene = Single(well(CLOSE), sink=sink)
    asked = overhear(scene.relay)
    scene.at(10, lambda: scene.visit.write(b"id: 5\ndata: x\n\n"))
    scene.at(20, lambda: scene.visit.cut())
    scene.run(30)
    assert ids_sent(asked) == [None, None]
    scene.close()


def test_a_wish_for_a_pause_that_comes_alone_is_kept() -> None:
    for sink in SINKS:
        scene = Single(well(CLOSE), sink=sink())
        scene.at(10, lambda scene=scene: scene.visit.write(b"retry: 45000\n"))
        scene.at(20, lambda scene=scene: scene.visit.cut())
        scene.run(25)
        (delay,) = scene.delays
        assert delay is not None and delay >= 45
        scene.close()


# The origins that receive the token.


def test_a_stranger_never_gets_the_token_however_often_it_redirects() -> None:
    way = ["http://other.test/one", "http://other.test/two", "http://other.test/three"]
    scene = Single(redirects(way, well()), bearer_token=TOKEN)
    stranger = elsewhere(scene, "other.test", "192.0.2.3", redirects(way, well()))
    ours, strangers = overhear(scene.relay), overhear(stranger)
    scene.run(20)
    assert scene.phase == "streaming" and len(strangers) == 3
    assert TOKEN.encode() in ours[0] and not any(TOKEN.encode() in one for one in strangers)
    scene.close()


def test_a_stranger_gets_no_field_that_may_hold_a_token() -> None:
    way = ["http://other.test/one", "http://other.test/two"]
    fields = {
        "X-Api-Key": TOKEN,
        "Private-Token": TOKEN,
        "Last-Event-ID": TOKEN,
        "Cookie": TOKEN,
        "Accept-Language": "de",
    }
    scene = Single(redirects(way, well()), headers=fields)
    stranger = elsewhere(scene, "other.test", "192.0.2.3", redirects(way, well()))
    ours, strangers = overhear(scene.relay), overhear(stranger)
    scene.run(20)
    assert scene.phase == "streaming" and len(strangers) == 2
    assert ours[0].count(TOKEN.encode()) == len(fields) - 1
    assert not any(TOKEN.encode() in one for one in strangers)
    assert all(b"Accept-Language: de" in one for one in strangers)
    scene.close()


def test_a_redirect_to_the_same_host_in_other_letters_keeps_the_token() -> None:
    """Host names are the same in either case (RFC 9110, 4.2.3)."""
    answer = for_whom_it_knows(redirects(["http://relay.TEST/live"], well()))
    scene = Single(answer, url="http://Relay.test/v1/stream", bearer_token=TOKEN)
    scene.run(20)
    assert scene.phase == "streaming" and scene.only.ends == []
    scene.close()


# NO_PROXY.


def test_what_no_proxy_names_is_reached_without_one() -> None:
    for exceptions in ("localhost,10.0.0.0/8", "10.0.0.0/8,localhost", "relay.test, 10.1.2.3", "*"):
        scene = Single()
        scene.place("10.1.2.3", 80, scene.relay.gate, LATENCY)
        environ = {"HTTP_PROXY": "http://proxy.test:3128", "NO_PROXY": exceptions}
        second: Stream = scene.stream("http://10.1.2.3/v1/stream", environ=environ)
        scene.run(5)
        assert second.phase == "streaming"
        assert sorted(host for _, host in scene.network.dialled) == ["10.1.2.3", "192.0.2.1"]
        scene.close()
