"""Attempts, to the last bit: the race of addresses, redirects, and the pauses between one connection and the next."""

from __future__ import annotations

import pytest

from tests.simulation.answers import Proxy, raw, redirects, short_lived, silence, status, stay, well, with_body
from tests.simulation.relay import Answer, Relay, Visit
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single, elsewhere, stop
from tests.simulation.tls import Endpoint
from wire_rawsse import Backoff, Timeouts
from wire_rawsse.errors import ConnectTimeout, DialError, RedirectError, StatusError
from wire_rawsse.event_source import Closed, EventSink

ROUND_TRIP = 2 * LATENCY


# Happy Eyeballs (RFC 8305).


def race(*hosts: str, dead: tuple[str, ...] = (), refused: tuple[str, ...] = (), latency: float = LATENCY) -> Single:
    """relay.test has these addresses; `dead` ones swallow what is sent to them."""
    scene = Single()
    scene.found.hosts = list(hosts)
    for host in hosts:
        if host not in dead:
            place = scene.place(host, 80, scene.relay.gate, latency)
            place.refuses = host in refused
    return scene


def tried(scene: Single, until: float) -> list[tuple[float, str]]:
    scene.run(until)
    return [(when - scene.kernel.start, host) for when, host in scene.network.dialled]


def test_the_first_address_that_answers_within_the_delay_is_the_only_one_tried() -> None:
    scene = race("2001:db8::1", "192.0.2.2", latency=0.0625)
    assert tried(scene, 5) == [(0.0, "2001:db8::1")]
    assert scene.phase == "streaming"
    scene.close()


def test_attempts_begin_a_quarter_of_a_second_apart_and_families_alternate() -> None:
    dead = ("2001:db8::1", "2001:db8::2", "192.0.2.2")
    scene = race("2001:db8::1", "2001:db8::2", "192.0.2.2", "192.0.2.3", dead=dead)
    assert tried(scene, 5) == [(0.0, "2001:db8::1"), (0.25, "192.0.2.2"), (0.5, "2001:db8::2"), (0.75, "192.0.2.3")]
    assert scene.phases[2] == (0.75 + ROUND_TRIP, "head")
    assert len(scene.network.open_sockets) == 1, "the losers are closed"
    scene.close()


def test_a_refusal_lets_the_next_address_begin_at_once() -> None:
    scene = race("192.0.2.2", "192.0.2.3", refused=("192.0.2.2",), latency=0.0625)
    assert tried(scene, 5) == [(0.0, "192.0.2.2"), (0.125, "192.0.2.3")]
    scene.close()


def test_a_late_first_address_can_still_win() -> None:
    scene = race("192.0.2.2", "192.0.2.3", dead=("192.0.2.3",), latency=0.25)
    assert tried(scene, 5) == [(0.0, "192.0.2.2"), (0.25, "192.0.2.3")]
    assert scene.phases[2] == (0.5, "head")
    scene.close()


def test_every_address_is_tried_however_unequal_the_families_are() -> None:
    dead = ("2001:db8::1", "192.0.2.2", "192.0.2.3")
    scene = race("2001:db8::1", "192.0.2.2", "192.0.2.3", "192.0.2.4", dead=dead)
    assert [host for _, host in tried(scene, 5)] == [*dead, "192.0.2.4"]
    assert scene.phases[-1] == (0.75 + 2 * ROUND_TRIP, "streaming")
    scene.close()


# An address that accepts TCP and is dead after that.

DEAD_AFTER_TCP: dict[str, Answer] = {
    "silence": silence,
    "503": status("503 Service Unavailable"),
    "reset": raw(b"", Visit.reset),
    "half a head": raw(b"HTTP/1.1 200", Visit.cut),
    "no HTTP": raw(b"SSH-2.0-OpenSSH\r\n"),
    "a head and silence": raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", stay),
    "a head and an end": raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n"),
    "an event and a reset": with_body(b"data: x\n\n"),
}


@pytest.mark.parametrize("name", DEAD_AFTER_TCP)
def test_an_address_that_failed_after_tcp_is_tried_last_the_next_time(name: str) -> None:
    scene = Single()
    scene.found.hosts = ["2001:db8::1", "192.0.2.1"]
    dead = Relay(scene.kernel, DEAD_AFTER_TCP[name])
    dead.heartbeat = 10_000
    dead.gate.program = dead
    scene.place("2001:db8::1", 80, dead.gate, LATENCY)
    if name == "an event and a reset":
        scene.at(1, lambda: next(iter(dead.visits.values())).reset())
    scene.run(120)
    assert [host for _, host in scene.network.dialled] == ["2001:db8::1", "192.0.2.1"]
    assert scene.phase == "streaming"
    _, error, _ = scene.end
    if error is not None:
        assert error.address == "[2001:db8::1]:80" and "(connected to [2001:db8::1]:80)" in str(error)
    state = scene.only.record.snapshot(0)
    assert state.address == "192.0.2.1:80"
    assert error is None or "[2001:db8::1]:80" in (state.last_error or "")
    scene.close()


def test_an_address_that_stalls_tls_is_tried_last_the_next_time() -> None:
    scene = Single(url=HTTPS)
    scene.found.hosts = ["2001:db8::1", "192.0.2.1"]
    endpoint = Endpoint(scene.relay)
    endpoint.stalls_at = 0
    scene.place("2001:db8::1", 443, endpoint, LATENCY)
    scene.run(30)
    assert [host for _, host in scene.network.dialled] == ["2001:db8::1", "192.0.2.1"]
    assert scene.phase == "streaming"
    assert isinstance(scene.end[1], ConnectTimeout) and scene.end[1].address == "[2001:db8::1]:443"
    scene.close()


def test_an_address_of_a_proxy_that_opens_no_tunnel_is_tried_last_the_next_time() -> None:
    scene = Single(url=HTTPS, proxy=True)
    scene.names.known["proxy.test"].hosts = ["2001:db8::9", "192.0.2.9"]
    mute = Proxy(scene.relay.gate)
    mute.answer = b""
    scene.place("2001:db8::9", 3128, mute, LATENCY)
    scene.run(30)
    assert [host for _, host in scene.network.dialled] == ["2001:db8::9", "192.0.2.9"]
    assert scene.phase == "streaming"
    scene.close()


def test_a_redirect_that_leads_to_nothing_speaks_against_the_address_that_gave_it() -> None:
    scene = Single()
    scene.found.hosts = ["2001:db8::1", "192.0.2.1"]
    astray = Relay(scene.kernel, status("302 Found", "Location: http://nowhere.test/"))
    astray.gate.program = astray
    scene.place("2001:db8::1", 80, astray.gate, LATENCY)
    elsewhere(scene, "nowhere.test", "192.0.2.7", status("404 Not Found"))
    scene.run(60)
    assert [host for _, host in scene.network.dialled] == ["2001:db8::1", "192.0.2.7", "192.0.2.1"]
    assert scene.phase == "streaming"
    scene.close()


def test_an_address_that_a_caller_has_restarted_out_of_silence_is_tried_last() -> None:
    scene = Single(silence)
    scene.found.hosts = ["192.0.2.1", "192.0.2.2"]
    healthy = elsewhere(scene, "other.test", "192.0.2.2")
    scene.at(5, scene.only.restart)
    scene.run(6)
    assert [host for _, host in scene.network.dialled] == ["192.0.2.1", "192.0.2.2"]
    assert len(healthy.visits) == 1 and scene.phase == "streaming"
    scene.close()


def test_a_healthy_address_stays_the_first() -> None:
    """However its streams end."""
    for end in (Visit.end, Visit.cut, Visit.reset):
        scene = Single(short_lived(60, end))
        scene.found.hosts = ["192.0.2.1", "192.0.2.2"]
        scene.run(400)
        assert len(scene.only.ends) > 3
        assert {host for _, host in scene.network.dialled} == {"192.0.2.1"}
        scene.close()


def test_a_moment_without_a_thread_for_a_look_up_is_only_a_moment() -> None:
    scene = Single()
    scene.names.no_threads = 1
    scene.at(5, setattr, scene.names, "no_threads", 0)
    scene.run(12)
    assert all(error is not None and "cannot be resolved" in str(error) for _, error, _ in scene.only.ends)
    assert scene.phase == "streaming"
    scene.close()


def test_one_budget_covers_all_addresses() -> None:
    hosts = tuple(f"192.0.2.{number}" for number in range(20, 80))
    scene = race(*hosts, dead=hosts)
    begun = tried(scene, 10.5)
    assert [when for when, _ in begun] == [0.25 * number for number in range(32)]
    ended, error, _ = scene.end
    assert isinstance(error, ConnectTimeout)
    assert ended == 10
    scene.close()


def test_all_refused_is_told_with_every_attempt() -> None:
    scene = race("192.0.2.2", "2001:db8::1", refused=("192.0.2.2", "2001:db8::1"))
    scene.run(0.7)
    ended, error, delay = scene.end
    assert isinstance(error, DialError)
    assert [place for place, _ in error.attempts] == ["192.0.2.2:80", "[2001:db8::1]:80"]
    assert (ended, delay) == (2 * ROUND_TRIP, 0.75)
    scene.close()


def test_a_link_that_is_down_is_told_at_once() -> None:
    scene = race("192.0.2.2", "192.0.2.3")
    scene.network.down = 1
    scene.run(0.5)
    assert scene.end[0] == 0
    assert isinstance(scene.end[1], DialError)
    scene.close()


def test_wrong_addresses_and_then_right_ones() -> None:
    scene = Single()
    scene.found.wrong = ["198.51.100.1"]
    scene.at(5, setattr, scene.found, "wrong", [])
    scene.run(30)
    assert scene.phases[-1] == (10.75 + 2 * ROUND_TRIP, "streaming")
    scene.close()


# Redirects.


def test_ten_redirects_are_followed() -> None:
    scene = Single(redirects([f"/v{number}" for number in range(10)], well()))
    scene.run(20)
    assert scene.phases[-1] == (11 * 2 * ROUND_TRIP, "streaming")
    scene.close()


def test_one_redirect_more_is_an_error_that_is_retried_from_the_original_url() -> None:
    scene = Single(redirects([f"/v{number}" for number in range(11)], well()))
    asked: list[bytes] = []
    answer = scene.relay.answer

    def overheard(visit: Visit, request: bytes) -> None:
        asked.append(request.split(b" ")[1])
        answer(visit, request)

    scene.relay.answer = overheard
    scene.run(100)
    ended, error, delay = scene.end
    assert isinstance(error, RedirectError) and not error.permanent
    assert ended == 11 * 2 * ROUND_TRIP
    assert delay == pytest.approx(4 * 22.5 - ended), "of eleven connections and the next, eight are paid for"
    assert asked[0] == asked[11] == b"/v1/events/slot/stream"
    scene.close()


def test_a_redirect_costs_no_attempt() -> None:
    scene = Single(redirects(["/a", "/b"], short_lived(1.0, Visit.cut)))
    scene.run(100)
    assert scene.only.record.reconnect_count == len(scene.only.ends)
    assert len(scene.begun) == 3 * (len(scene.only.ends) + (scene.phase != "backing off"))
    scene.close()


# Pauses.


def test_a_relay_that_refuses_is_asked_ever_more_seldom() -> None:
    scene = Single()
    scene.there.refuses = 1
    scene.run(100)
    assert scene.delays == [0.75, 1.5, 3, 6, 12, 22.5, 22.5, 22.5, 22.5]
    scene.close()


@pytest.mark.parametrize(
    "dice, delays", [(0.0, [1, 2, 4, 8, 16, 30, 30]), (0.75, [0.625, 1.25, 2.5, 5, 10, 18.75, 18.75])]
)
def test_every_pause_is_jittered_downwards_by_up_to_half(dice: float, delays: list[float]) -> None:
    scene = Single(dice=dice)
    scene.there.refuses = 1
    scene.run(95)
    assert scene.delays[: len(delays)] == delays
    scene.close()


def ends_after(scene: Single, seconds: float, last_byte: float, end: str) -> None:
    """The next stream says its last word so long after its head, and ends so long after it."""
    scene.relay.heartbeat = 1e9

    def answer(visit: Visit, asked: bytes) -> None:
        scene.relay.open(visit, asked)
        scene.kernel.after(last_byte, visit.write, b":\n")
        scene.kernel.after(seconds, getattr(Visit, end), visit)

    scene.relay.answer = answer


@pytest.mark.parametrize(
    "last_byte, life, end, delay",
    [
        (10.0, 10.0, "cut", 0.75),
        (9.0, 9.9375, "cut", 6.0),
        (1.0, 10.0, "cut", 0.75),  # It had nothing to say, and was there until its peer ended it.
        (1.0, 60.0, "reset", 0.75),
        (9.9375, 1000.0, "cut", 0.75),  # Silent for `read`: the wait counts towards the delay.
        (10.0, 1000.0, "cut", 0.75),
    ],
)
def test_the_backoff_begins_again_after_ten_healthy_seconds(
    last_byte: float, life: float, end: str, delay: float
) -> None:
    """Health runs from the accepted head to the last sign of life: a byte of the body, or the peer's FIN or RST."""
    scene = Single()
    scene.there.refuses = 1
    scene.at(5, setattr, scene.there, "refuses", 0)
    ends_after(scene, life, last_byte, end)
    scene.run(100)
    assert scene.delays[:4] == [0.75, 1.5, 3, delay]
    scene.close()


def test_a_connection_that_is_made_and_broken_is_no_health() -> None:
    scene = Single(short_lived(1.0, Visit.cut))
    scene.run(100)
    assert scene.delays[:6] == [0.75, 1.5, 3, 6, 12, 22.5]
    scene.close()


def test_a_clean_close_of_a_healthy_stream_is_followed_within_a_second() -> None:
    scene = Single(dice=0.25)
    ends_after(scene, 20.0, 15.0, "finish")
    scene.run(22)
    assert scene.end[1:] == (None, 0.25)
    scene.close()


def test_a_clean_close_of_a_stream_that_was_not_healthy_is_followed_by_the_backoff() -> None:
    scene = Single(short_lived(1.0, Visit.finish))
    scene.run(10)
    assert scene.delays[:3] == [0.75, 1.5, 3]
    scene.close()


@pytest.mark.parametrize("retry, delay", [(5000, 6.25), (10, 0.125), (10**9, 3600.0)])
def test_a_streams_own_retry_is_the_least_that_is_waited_after_a_clean_close_too(retry: int, delay: float) -> None:
    scene = Single(with_body(b"retry: %d\n\n" % retry), dice=0.5)
    scene.at(20, lambda: scene.visit.write(b":\n"))
    scene.at(21, lambda: scene.visit.finish())
    scene.run(22)
    assert scene.end[1:] == (None, max(delay, 0.5))
    scene.close()


def test_a_server_that_is_polled_is_asked_again_after_its_retry() -> None:
    """It ends each response after an event: no failure, so the delay does not grow."""

    def answer(visit: Visit, asked: bytes) -> None:
        with_body(b"retry: 500\ndata: x\n\n")(visit, asked)
        visit.finish()

    for sink in (None, EventSink("", 1 << 20)):
        scene = Single(answer, sink=sink)
        scene.run(60)
        assert len(scene.delays) > 50 and set(scene.delays) == {0.5625}
        scene.close()


@pytest.mark.parametrize("code", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("value, delay", [("120", 150), ("99999", 3600), ("soon", 0.75)])
def test_retry_after_is_the_least_that_is_waited(code: str, value: str, delay: float) -> None:
    scene = Single(status(code, f"Retry-After: {value}"))
    scene.run(1)
    ended, error, waited = scene.end
    assert isinstance(error, StatusError)
    assert (ended, waited) == (2 * ROUND_TRIP, delay)
    scene.close()


@pytest.mark.parametrize(
    "answer", [status("401 Unauthorized"), status("404 Not Found"), raw(b"HTTP/1.1 200 OK\r\n\r\n")]
)
def test_what_would_be_for_good_is_tried_again_at_the_slowest_pace(answer: Answer) -> None:
    scene = Single(answer)
    scene.run(80)
    assert scene.delays == [22.5, 22.5, 22.5, 22.5]
    scene.close()


@pytest.mark.parametrize("answer", [status("401 Unauthorized"), status("204 No Content"), status("404 Not Found")])
def test_what_is_for_good_ends_a_source(answer: Answer) -> None:
    sink = EventSink("", 1 << 20)
    scene = Single(answer, sink=sink, persistent=False)
    scene.run(80)
    assert scene.phases[-1] == (2 * ROUND_TRIP, "closed")
    (closed,) = sink.items
    assert isinstance(closed, Closed) and closed.retry_in is None
    scene.close()


def test_a_stream_that_breaks_and_heals_for_ever_stays_below_the_pace() -> None:
    scene = Single(dice=0.999)
    ends_after(scene, 10.0, 10.0, "finish")
    scene.run(4 * 3600)
    begun = scene.begun
    assert max(sum(1 for when in begun if start <= when <= start + 3600) for start in begun) <= 360
    scene.close()


def test_an_hour_of_each_refusal_is_below_the_pace() -> None:
    for answer in (silence, status("500 Oops"), raw(b"", Visit.cut), short_lived(0.0, Visit.reset)):
        scene = Single(answer, dice=0.999, backoff=Backoff(initial=0.01), timeouts=Timeouts(response=0.5))
        scene.run(3 * 3600)
        begun = scene.begun
        assert max(sum(1 for when in begun if start <= when <= start + 3600) for start in begun) <= 180
        scene.close()


def test_two_relays_do_not_wait_for_each_other() -> None:
    scene = Single()
    other = elsewhere(scene, "other.test", "192.0.2.3")
    second = scene.stream("http://other.test/")
    second.keep_journal()
    scene.run(10)
    stop(scene.relay)
    scene.at(30, other.post)
    woken = scene.run(300)
    assert woken == [30 + LATENCY]
    assert len(scene.ends) > 1
    assert second.ends == []
    scene.close()


def test_a_url_is_asked_for_as_it_was_given() -> None:
    assert Single().only.record.url == HTTP
