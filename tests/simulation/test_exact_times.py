"""Each clock of `Timeouts`, to the last bit: when it starts, what restarts it, what does not, and what it is called."""

from __future__ import annotations

import pytest

from tests.simulation.answers import (
    drip,
    dripping_head,
    garbage_behind,
    raw,
    redirects,
    short_lived,
    silence,
    status,
    stay,
    well,
    with_body,
)
from tests.simulation.names import GIVES_UP
from tests.simulation.relay import CHUNKED, CLOSE, LENGTH, Answer, Visit, opening
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single, stop
from tests.simulation.tls import TICKET, record
from wire_rawsse import Timeouts
from wire_rawsse.errors import (
    CertificateError,
    ConnectionBrokenError,
    ConnectTimeout,
    DeadlineError,
    HandshakeError,
    MalformedResponseError,
    RateTimeout,
    ReadTimeout,
    RedirectError,
    ResponseTimeout,
    TruncatedError,
)

ROUND_TRIP = 2 * LATENCY


def check(scene: Single, when: float, kind: type[DeadlineError], phase: str) -> None:
    """The first end is this clock's, at this moment."""
    ended, error, _ = scene.end
    assert isinstance(error, kind)
    assert (ended, error.phase) == (when, phase)
    scene.close()


# The life of a connection, when all is well.


@pytest.mark.parametrize("framing", [CHUNKED, CLOSE, LENGTH])
def test_a_connection_takes_its_round_trips_and_nothing_more(framing: int) -> None:
    scene = Single(well(framing))
    scene.found.delay = 0.5
    assert scene.run(60) == [0.5 + 2 * ROUND_TRIP]
    assert scene.phases == [
        (0.0, "resolving"),
        (0.5, "connecting"),
        (0.5 + ROUND_TRIP, "head"),
        (0.5 + 2 * ROUND_TRIP, "streaming"),
    ]
    scene.close()


def test_a_connection_through_a_proxy_over_tls_takes_four_round_trips() -> None:
    scene = Single(url=HTTPS, proxy=True)
    assert scene.run(60) == [4 * ROUND_TRIP]
    assert scene.phases == [
        (0.0, "resolving"),
        (0.0, "connecting"),
        (ROUND_TRIP, "tunnel"),
        (2 * ROUND_TRIP, "handshake"),
        (3 * ROUND_TRIP, "head"),
        (4 * ROUND_TRIP, "streaming"),
    ]
    scene.close()


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_a_wake_comes_when_the_bytes_do(url: str) -> None:
    scene = Single(url=url)
    scene.at(20, scene.relay.post)
    scene.at(40, scene.relay.post)
    assert scene.run(60)[1:] == [20 + LATENCY, 40 + LATENCY]
    scene.close()


# `connect`: one budget for name, TCP, proxy and TLS.


def test_connect_covers_the_name() -> None:
    scene = Single()
    scene.found.silent = 1
    scene.run(12)
    check(scene, 10, ConnectTimeout, "resolving")


def test_connect_is_one_budget_over_name_and_tcp() -> None:
    scene = Single()
    scene.found.delay = 4.0
    scene.there.path.block(1)
    scene.run(12)
    assert scene.phases[1] == (4.0, "connecting")
    check(scene, 10, ConnectTimeout, "connecting")


def test_connect_covers_the_proxys_answer() -> None:
    scene = Single(url=HTTPS, proxy=True)
    scene.proxy.answer = b""
    scene.run(12)
    check(scene, 10, ConnectTimeout, "tunnel")


def test_connect_is_not_restarted_by_a_proxy_that_drips() -> None:
    scene = Single(url=HTTPS, proxy=True)
    scene.proxy.answer = b"HTTP/1.1 200 OK\r\nX: "
    scene.proxy.hangs_up = False

    def more() -> None:
        for connection in scene.proxy.asked:
            connection.send(b"x")
        scene.kernel.after(1, more)

    scene.at(1, more)
    scene.run(12)
    check(scene, 10, ConnectTimeout, "tunnel")


@pytest.mark.parametrize("flight", [0, 1])
def test_connect_covers_each_flight_of_the_handshake(flight: int) -> None:
    scene = Single(url=HTTPS)
    scene.endpoint.flights = [b"more", b"done"]
    scene.endpoint.stalls_at = flight
    scene.run(12)
    check(scene, 10, ConnectTimeout, "handshake")


def test_each_hop_of_a_redirect_has_clocks_of_its_own() -> None:
    there = "http://other.test/v1/stream"
    scene = Single()
    scene.relay.answer = redirects([there], well())
    scene.found.delay = 9.0
    scene.name("other.test", "192.0.2.1", delay=9.0)
    assert scene.run(60) == [2 * (9.0 + 2 * ROUND_TRIP)]
    assert scene.only.ends == []
    scene.close()


def test_a_name_that_stays_silent_has_one_thread_however_often_it_is_asked() -> None:
    scene = Single()
    scene.found.silent = 1
    for second in range(0, 120, 5):
        scene.at(second, lambda: threads.append(scene.kernel.threads))
    threads: list[int] = []
    scene.run(120)
    assert len(scene.ends) > 5
    assert max(threads) == 1
    scene.close()


def test_a_name_that_is_known_again_is_used_when_the_look_up_under_way_ends() -> None:
    scene = Single()
    scene.found.silent = 1
    scene.at(1, setattr, scene.found, "silent", 0)
    scene.run(GIVES_UP + 1)
    assert scene.phases[-1] == (GIVES_UP + 2 * ROUND_TRIP, "streaming")
    scene.close()


# `response`: from the request to the end of the head.


def test_response_runs_from_the_request() -> None:
    scene = Single(silence)
    scene.found.delay = 4.0
    scene.run(30)
    check(scene, 4.0 + ROUND_TRIP + 15, ResponseTimeout, "head")


def test_response_is_not_restarted_by_a_head_that_drips() -> None:
    scene = Single(dripping_head(1.0))
    scene.run(30)
    check(scene, ROUND_TRIP + 15, ResponseTimeout, "head")


def test_response_is_not_restarted_by_interim_responses() -> None:
    def answer(visit: Visit, asked: bytes) -> None:
        drip(visit, b"HTTP/1.1 102 Processing\r\n\r\n", 1.0)

    scene = Single(answer)
    scene.run(30)
    check(scene, ROUND_TRIP + 15, ResponseTimeout, "head")


# `read`: silence.


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_read_runs_from_the_accepted_head(url: str) -> None:
    scene = Single(url=url)
    scene.relay.heartbeat = 1e9
    scene.run(100)
    accepted = next(when for when, phase in scene.phases if phase == "streaming")
    check(scene, accepted + 75, ReadTimeout, "streaming")


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_read_is_restarted_by_every_byte_of_the_body(url: str) -> None:
    scene = Single(url=url, timeouts=Timeouts(learn=False))
    scene.run(610)
    last = scene.visit.last_sent - scene.kernel.start
    assert last > 570
    stop(scene.relay)
    scene.run(800)
    check(scene, last + LATENCY + 75, ReadTimeout, "streaming")


@pytest.mark.parametrize("seconds", [1.0, 30.0])
def test_read_is_not_restarted_by_a_chunk_extension_that_drips(seconds: float) -> None:
    scene = Single(garbage_behind(b"5;x="))
    scene.at(1, lambda: drip(scene.visit, b"x", seconds))
    scene.run(100)
    check(scene, 2 * ROUND_TRIP + 75, ReadTimeout, "streaming")


def test_read_is_not_restarted_by_a_trailer_that_drips() -> None:
    scene = Single(garbage_behind(b"3\r\n:x\n\r\n0\r\nX: "))
    scene.at(1, lambda: drip(scene.visit, b"x", 1.0))
    scene.run(100)
    check(scene, 2 * ROUND_TRIP + 75, ReadTimeout, "streaming")


def test_read_is_not_restarted_by_session_tickets() -> None:
    scene = Single(url=HTTPS)
    scene.relay.heartbeat = 1e9
    for second in range(1, 75, 5):
        scene.at(second, lambda: scene.visit.connection.send(record(TICKET, b"another")))
    scene.run(78)
    check(scene, 3 * ROUND_TRIP + 75, ReadTimeout, "streaming")


def test_read_is_not_restarted_by_a_kernel_that_answers_probes() -> None:
    scene = Single()
    scene.at(1, stop, scene.relay)
    scene.run(100)
    check(scene, 2 * ROUND_TRIP + 75, ReadTimeout, "streaming")


def test_a_peer_that_vanishes_is_gone_after_keepalives_minute() -> None:
    scene = Single()
    scene.at(1, scene.there.path.block, 0)
    scene.at(1, scene.there.path.block, 1)
    scene.run(100)
    ended, error, _ = scene.end
    assert isinstance(error, ConnectionBrokenError)
    assert ended == 2 * ROUND_TRIP + 60
    scene.close()


# `min_rate`: a line that does not end.


def dripping(scene: Single, start: float, interval: float, data: bytes = b"x") -> None:
    """Body bytes of one line, from then on."""

    def more() -> None:
        for visit in scene.relay.visits.values():
            visit.write(data)
        scene.kernel.after(interval, more)

    scene.at(start, more)


def test_a_line_that_drips_is_dropped_after_one_window() -> None:
    scene = Single()
    dripping(scene, 20, 1.0)
    scene.run(200)
    check(scene, 20 + LATENCY + 75, RateTimeout, "streaming")


@pytest.mark.parametrize("before, ends_after", [(7499, 75), (7500, 150)])
def test_each_window_must_bring_its_bytes(before: int, ends_after: float) -> None:
    """75 s × 100 bytes a second; the byte that opens the line is not counted."""
    scene = Single()
    scene.relay.heartbeat = 1e9
    scene.at(20, lambda: scene.visit.write(b"d"))
    scene.at(30, lambda: scene.visit.write(b"x" * before))
    dripping(scene, 20 + 75 + 1, 1.0)
    scene.run(200)
    check(scene, 20 + LATENCY + ends_after, RateTimeout, "streaming")


def test_a_new_line_has_a_window_of_its_own() -> None:
    scene = Single()
    scene.at(20, lambda: scene.visit.write(b"data: a"))
    scene.at(60, lambda: scene.visit.write(b"b\ndata: c"))
    dripping(scene, 61, 1.0)
    scene.run(200)
    check(scene, 60 + LATENCY + 75, RateTimeout, "streaming")


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_idleness_between_lines_is_judged_by_read_alone(end: bytes) -> None:
    scene = Single()
    scene.relay.heartbeat = 1e9
    dripping(scene, 20, 70.0, b":" + end)
    scene.run(2000)
    assert scene.only.ends == []
    scene.close()


def test_no_rate_is_asked_for_where_it_is_zero() -> None:
    scene = Single(timeouts=Timeouts(min_rate=0))
    dripping(scene, 20, 70.0)
    scene.run(2000)
    assert scene.only.ends == []
    scene.close()


def test_silence_inside_a_line_is_silence() -> None:
    scene = Single()
    scene.at(20, lambda: scene.visit.write(b"data: a"))
    scene.at(40, lambda: scene.visit.write(b"b"))
    scene.run(200)
    check(scene, 20 + LATENCY + 75, RateTimeout, "streaming")


# Ends that no clock brings: at once, each by its name.


@pytest.mark.parametrize(
    "answer, kind",
    [
        (raw(b"", Visit.cut), TruncatedError),
        (raw(opening(CLOSE)[:40], Visit.cut), TruncatedError),
        (raw(opening(CLOSE)[:40], Visit.reset), ConnectionBrokenError),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n", stay), MalformedResponseError),
        (garbage_behind(b"this is no chunk\r\n"), MalformedResponseError),
        (redirects([HTTP] * 20, silence), RedirectError),
        (status("302 Found"), RedirectError),
        (short_lived(0.0, Visit.cut), TruncatedError),
        (short_lived(0.0, Visit.reset), ConnectionBrokenError),
    ],
)
def test_an_end_that_is_seen_is_told_when_it_is_seen(answer: Answer, kind: type[Exception]) -> None:
    scene = Single(answer)
    scene.run(6)
    ended, error, _ = scene.end
    assert isinstance(error, kind)
    assert ended == ROUND_TRIP * (22 if "than 10" in str(error) else 2)
    scene.close()


def test_a_certificate_that_does_not_verify_is_told_in_the_handshake() -> None:
    scene = Single(url=HTTPS)
    scene.endpoint.flights = [b"certificate of another"]
    scene.run(5)
    ended, error, _ = scene.end
    assert isinstance(error, CertificateError)
    assert ended == 2 * ROUND_TRIP
    scene.close()


def test_plain_http_where_tls_was_meant_is_told_in_the_handshake() -> None:
    scene = Single(url=HTTPS)
    scene.there.program = scene.relay
    scene.relay.tls = False
    scene.relay.answer = status("400 Bad Request")
    scene.relay.greets = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    scene.run(5)
    _, error, _ = scene.end
    assert isinstance(error, HandshakeError)
    assert "does not speak TLS" in str(error)
    scene.close()


def test_a_stream_that_ends_cleanly_ends_without_an_error() -> None:
    scene = Single(short_lived(1.0, Visit.finish))
    scene.run(3)
    assert scene.end == (2 * ROUND_TRIP + 1.0, None, 0.75)
    scene.close()


def test_a_body_of_known_length_ends_where_it_says() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\n"
    scene = Single(raw(head + b"data: x\n\n", stay))
    scene.run(1)
    assert scene.end == (2 * ROUND_TRIP, None, 0.75)
    scene.close()


def test_an_event_that_came_with_the_head_is_in_the_same_wake() -> None:
    scene = Single(with_body(b"data: x\n\n"))
    assert scene.run(20) == [2 * ROUND_TRIP]
    assert scene.only.record.last_event_at is not None
    scene.close()


# A head that comes with the first event.


def test_a_server_whose_head_comes_with_its_first_heartbeat_is_reached_each_time() -> None:
    """At 15.125 s: after one timeout, and never again after one."""

    def late(visit: Visit, asked: bytes) -> None:
        visit.relay.kernel.after(15.125, visit.relay.open, visit, asked)

    scene = Single(late)
    for moment in (100, 200, 300):
        scene.at(moment, lambda: scene.visit.cut())
    scene.run(360)
    assert [type(error) for _, error, _ in scene.only.ends] == [
        ResponseTimeout,
        TruncatedError,
        TruncatedError,
        TruncatedError,
    ]
    assert "the next attempt waits 30 s" in str(scene.end[1])
    assert scene.phase == "streaming"
    scene.close()


def test_so_is_one_that_is_reached_through_a_prompt_redirect() -> None:
    def late(visit: Visit, asked: bytes) -> None:
        visit.relay.kernel.after(15.125, visit.relay.open, visit, asked)

    scene = Single(redirects(["/elsewhere"], late))
    scene.run(60)
    assert [type(error) for _, error, _ in scene.only.ends] == [ResponseTimeout]
    assert scene.phase == "streaming"
    scene.close()


def test_a_server_that_never_answers_is_waited_for_up_to_read_and_no_longer() -> None:
    scene = Single(silence)
    scene.run(600)
    errors = [error for _, error, _ in scene.only.ends]
    assert [error.seconds for error in errors if isinstance(error, ResponseTimeout)][:5] == [15, 30, 60, 75, 75]
    assert "Timeouts(response=…, read=…)" in str(errors[-1])
    scene.relay.answer = well()
    scene.run(900)
    assert scene.phase == "streaming" and scene.only.record.patience.seconds(scene.only.plan.timeouts) == 15
    scene.close()
