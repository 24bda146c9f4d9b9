"""Every clock of a stream, read to the last digit: the shipped coroutine in a world whose time is a number."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from tests.support.server import CHUNKED, OPEN, answer
from tests.support.virtual import NEVER, Name, Place, VirtualWorld
from wire_rawsse import Backoff, Timeouts
from wire_rawsse.connection import one_stream
from wire_rawsse.errors import (
    ConnectTimeout,
    DeadlineError,
    RateTimeout,
    ReadTimeout,
    ResolveError,
    ResponseTimeout,
    StatusError,
)
from wire_rawsse.event_source import EventSink
from wire_rawsse.phases import PHASES
from wire_rawsse.plan import Plan
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.record import Record
from wire_rawsse.waits import Address
from wire_rawsse.wake_streams import WakeSink

RELAY = Address(socket.AF_INET, socket.SOCK_STREAM, 6, ("10.0.0.1", 80))
PROXY = Address(socket.AF_INET, socket.SOCK_STREAM, 6, ("10.0.0.2", 3128))
TIMEOUTS = Timeouts(connect=10, response=15, read=75, min_rate=100)


class Life:
    """One connection from its begin to its end, and what there was to see of it."""

    def __init__(
        self,
        *answers: Sequence[tuple[float, bytes]],
        name: float = 0.0,
        tcp: float = 0.0,
        url: str = "http://relay.example/x",
        timeouts: Timeouts = TIMEOUTS,
        environ: dict[str, str] | None = None,
        wakes: bool = False,
    ) -> None:
        place = Place(after=tcp, answers=answers)
        names = {"relay.example": Name(name, [RELAY]), "proxy.example": Name(name, [PROXY])}
        self.world = VirtualWorld({str(RELAY): place, str(PROXY): place}, names)
        self.began = self.world.clock
        self.sink = WakeSink() if wakes else EventSink("", 1 << 20)
        self.record = Record("http://relay.example/x", Backoff())
        plan = Plan(url=parse_url(url), timeouts=timeouts, environ=environ or {})
        self.error: Exception | None = None
        try:
            self.world.run(lambda services: one_stream(services, plan, self.record, self.sink))
        except Exception as error:
            self.error = error
        self.lasted = round(self.world.clock - self.began, 6)
        assert self.world.held() == [], "it kept a socket"

    def ran_out(self, kind: type[DeadlineError], clock: str, phase: str) -> float:
        """Seconds after which this clock ran out, in this phase."""
        assert type(self.error) is kind, repr(self.error)
        assert isinstance(self.error, DeadlineError) and isinstance(self.error, TimeoutError)
        assert (self.error.clock, self.error.phase) == (clock, phase)
        assert self.error.seconds == getattr(TIMEOUTS, clock)
        assert ("relay.example" in str(self.error) and f"{clock}=" in str(self.error)) or clock == "min_rate"
        assert not self.error.permanent
        assert phase == self.record.phase
        return self.lasted


def each(seconds: float, data: bytes, count: int, start: float = 0.0) -> list[tuple[float, bytes]]:
    """`data` so many times, one each so many seconds."""
    return [(start + seconds * number, data) for number in range(1, count + 1)]


class TestConnect:
    def test_a_name_that_is_never_answered(self) -> None:
        assert Life(name=NEVER).ran_out(ConnectTimeout, "connect", "resolving") == 10

    def test_an_address_that_is_never_answered(self) -> None:
        assert Life(tcp=NEVER).ran_out(ConnectTimeout, "connect", "connecting") == 10

    def test_a_proxy_that_never_answers(self) -> None:
        life = Life(url="https://relay.example/x", environ={"ALL_PROXY": "http://proxy.example:3128"})
        assert life.ran_out(ConnectTimeout, "connect", "tunnel") == 10
        assert "through the proxy proxy.example:3128" in str(life.error)

    def test_name_and_address_share_one_budget(self) -> None:
        assert Life(name=6, tcp=6).ran_out(ConnectTimeout, "connect", "connecting") == 10

    def test_name_address_and_proxy_share_it(self) -> None:
        life = Life(
            [(4, b"HTTP/1.1 200 OK\r\n\r\n")],
            name=4,
            tcp=4,
            url="https://relay.example/x",
            environ={"ALL_PROXY": "http://proxy.example:3128"},
        )
        assert life.ran_out(ConnectTimeout, "connect", "tunnel") == 10

    def test_a_proxy_that_drips_does_not_restart_it(self) -> None:
        drip = each(1, b"X", 100)
        life = Life(
            [(0, b"HTTP/1.1 200 OK\r\n"), *drip],
            url="https://relay.example/x",
            environ={"ALL_PROXY": "http://proxy.example:3128"},
        )
        assert life.ran_out(ConnectTimeout, "connect", "tunnel") == 10

    def test_just_in_time(self) -> None:
        life = Life([(0, answer("500 x"))], name=5, tcp=4.999)
        assert life.lasted == 9.999
        assert "500" in str(life.error)

    def test_a_name_that_does_not_exist(self) -> None:
        services = VirtualWorld({}, {"relay.example": Name(3, socket.gaierror(socket.EAI_NONAME, "unknown"))})
        plan = Plan(url=parse_url("http://relay.example/x"), timeouts=TIMEOUTS, environ={})
        record = Record("x", Backoff())
        with pytest.raises(ResolveError, match=r"the name relay\.example cannot be resolved: unknown") as failed:
            services.run(lambda services: one_stream(services, plan, record, EventSink("", 100)))
        assert services.clock == 1003
        assert isinstance(failed.value.__cause__, socket.gaierror)


class TestResponse:
    def test_no_answer_at_all(self) -> None:
        assert Life().ran_out(ResponseTimeout, "response", "head") == 15

    def test_it_counts_from_the_request(self) -> None:
        assert Life(name=5, tcp=4).ran_out(ResponseTimeout, "response", "head") == 24

    def test_a_head_that_drips_does_not_restart_it(self) -> None:
        drip = each(1, b"X: y\r\n", 100)
        assert Life([(0, b"HTTP/1.1 200 OK\r\n"), *drip]).ran_out(ResponseTimeout, "response", "head") == 15

    def test_interim_responses_do_not_restart_it(self) -> None:
        drip = each(1, b"HTTP/1.1 102 \r\n\r\n", 100)
        assert Life(drip).ran_out(ResponseTimeout, "response", "head") == 15

    def test_just_in_time(self) -> None:
        life = Life([(14.999, answer("500 x"))])
        assert life.lasted == 14.999 and "500" in str(life.error)


def test_each_hop_of_a_redirect_has_budgets_of_its_own() -> None:
    """Nine seconds for the name, fourteen for the head: twice, under clocks of ten and fifteen."""
    there = answer("302 x", "Location: http://proxy.example:3128/")
    places = {
        str(RELAY): Place(answers=[[(14, there)]]),
        str(PROXY): Place(answers=[[(14, answer("500 x"))]]),
    }
    services = VirtualWorld(places, {"relay.example": Name(9, [RELAY]), "proxy.example": Name(9, [PROXY])})
    plan = Plan(url=parse_url("http://relay.example/x"), timeouts=TIMEOUTS, environ={})
    with pytest.raises(StatusError, match=r"proxy\.example:3128/ answered 500"):
        services.run(lambda services: one_stream(services, plan, Record("x", Backoff()), EventSink("", 100)))
    assert services.clock == 1000 + 2 * (9 + 14)
    assert services.held() == []


class TestRead:
    def test_silence_from_the_head_on(self) -> None:
        assert Life([(10, OPEN)]).ran_out(ReadTimeout, "read", "streaming") == 85

    @pytest.mark.parametrize("wakes", [False, True])
    def test_silence_after_the_last_body_byte(self, wakes: bool) -> None:
        life = Life([(0, OPEN), *each(70, b": hi\n", 10)], wakes=wakes)
        assert life.ran_out(ReadTimeout, "read", "streaming") == 700 + 75

    def test_body_bytes_that_came_with_the_head_count(self) -> None:
        assert Life([(1, OPEN + b"data: x\n\n")]).ran_out(ReadTimeout, "read", "streaming") == 76

    def test_a_chunk_extension_that_drips_is_no_life(self) -> None:
        drip = each(1, b"x", 1000)
        assert Life([(0, CHUNKED + b"5;"), *drip]).ran_out(ReadTimeout, "read", "streaming") == 75

    def test_a_chunk_extension_that_drips_behind_body_bytes(self) -> None:
        drip = each(1, b"x", 1000, start=10)
        life = Life([(0, CHUNKED), (10, b"5\r\n: hi\n\r\n5;"), *drip])
        assert life.ran_out(ReadTimeout, "read", "streaming") == 85

    def test_a_trailer_that_drips_is_no_life(self) -> None:
        drip = each(1, b"X: y\r\n", 1000)
        life = Life([(0, CHUNKED + b"5\r\n: hi\n\r\n0\r\n"), *drip])
        assert life.ran_out(ReadTimeout, "read", "streaming") == 75

    def test_chunk_sizes_are_no_life(self) -> None:
        drip = each(10, b"0", 16)
        assert Life([(0, CHUNKED), *drip]).ran_out(ReadTimeout, "read", "streaming") == 75

    def test_an_idle_stream_with_heartbeats_lives(self) -> None:
        life = Life([(0, OPEN), *each(30, b": phyllis: still on the line\n\n", 2880), (30 * 2880, b"")])
        assert life.error is None
        assert life.lasted == 86400

    def test_empty_lines_are_life(self) -> None:
        life = Life([(0, OPEN), *each(74, b"\n", 50), (74 * 50, b"")])
        assert life.error is None


class TestMinRate:
    """100 bytes a second for 75 s are 7500 bytes."""

    def test_a_line_that_drips(self) -> None:
        life = Life([(0, OPEN), *each(1, b"x", 1000)])
        assert life.ran_out(RateTimeout, "min_rate", "streaming") == 1 + 75
        assert "75 s" in str(life.error) and "100 bytes a second" in str(life.error)

    @pytest.mark.parametrize("wakes", [False, True])
    def test_a_drip_shorter_than_read_is_found_all_the_same(self, wakes: bool) -> None:
        life = Life([(0, OPEN + b"data: "), *each(60, b"x", 100)], wakes=wakes)
        assert life.ran_out(RateTimeout, "min_rate", "streaming") == 75

    def test_a_slow_line_that_is_fast_enough(self) -> None:
        """7500 bytes in each window; then it stops in the middle of the line, and both clocks run out together."""
        life = Life([(0, OPEN + b"data: "), *each(1, b"x" * 100, 300)])
        assert type(life.error) is ReadTimeout
        assert life.lasted == 300 + 75

    def test_one_byte_too_few(self) -> None:
        enough = [(0, OPEN + b"data: "), (74, b"x" * 7500), (148, b"x" * 7500)]
        assert Life(enough).lasted == 148 + 75
        short = [(0, OPEN + b"data: "), (74, b"x" * 7499), (148, b"x" * 7500)]
        assert Life(short).ran_out(RateTimeout, "min_rate", "streaming") == 75

    def test_each_window_is_judged_by_itself(self) -> None:
        """A megabyte in the first buys nothing in the second."""
        life = Life([(0, OPEN + b"data: "), (1, b"x" * 1_000_000), *each(1, b"x", 1000, start=1)])
        assert life.ran_out(RateTimeout, "min_rate", "streaming") == 150

    def test_idleness_between_lines_never_trips_it(self) -> None:
        life = Life([(0, OPEN), *each(70, b"data: x\n\n", 20), (1400, b"")])
        assert life.error is None

    def test_a_line_end_starts_it_anew(self) -> None:
        """Short lines, each slow to come and each in two halves, are no drip."""
        halves = [(70 * n + half * 30, b"data: " if not half else b"x\n\n") for n in range(20) for half in (0, 1)]
        life = Life([(0, OPEN), *halves, (1400, b"")])
        assert life.error is None

    def test_an_end_and_a_begin_in_one_read_start_it_anew(self) -> None:
        life = Life([(0, OPEN + b"data: a"), *each(70, b"b\ndata: a", 20), (1400, b"")])
        assert life.error is None

    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
    def test_every_line_end_counts(self, end: bytes) -> None:
        life = Life([(0, OPEN + b"data: a"), *each(70, b"b" + end + b"data: a", 20), (1400, b"")])
        assert life.error is None

    def test_bytes_of_chunk_framing_do_not_count(self) -> None:
        drip = each(1, b"1;" + b"x" * 500 + b"\r\nx\r\n", 1000)
        life = Life([(0, CHUNKED), *drip])
        assert life.ran_out(RateTimeout, "min_rate", "streaming") == 76

    def test_zero_turns_it_off(self) -> None:
        off = Timeouts(connect=10, response=15, read=75, min_rate=0)
        life = Life([(0, OPEN), *each(74, b"x", 1000)], timeouts=off)
        assert type(life.error) is ReadTimeout
        assert life.lasted == 74_000 + 75

    def test_silence_in_a_line_is_silence(self) -> None:
        assert Life([(0, OPEN + b"data: x")]).ran_out(ReadTimeout, "read", "streaming") == 75


def test_healthy_time_runs_from_the_head_to_the_last_body_byte() -> None:
    life = Life([(5, CHUNKED), (25, b"5\r\n: hi\n\r\n"), *each(1, b";", 40, start=25)])
    assert life.record.healthy_for == 20


def test_phases_are_walked_as_the_table_says() -> None:
    seen: list[str] = []
    services = VirtualWorld(
        {str(RELAY): Place(after=1, answers=[[(1, OPEN), (2, b"")]])}, {"relay.example": Name(1, [RELAY])}
    )
    record = Record("x", Backoff(), lambda: seen.append(record.phase))
    plan = Plan(url=parse_url("http://relay.example/x"), environ={})
    services.run(lambda services: one_stream(services, plan, record, EventSink("", 100)))
    assert seen == ["resolving", "connecting", "head", "streaming"]
    for before, after in zip(["idle", *seen], seen, strict=False):
        assert after in PHASES[before].then
