"""Redirects: which are followed and how far, what is sent on and what is not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import LENIENT, end, event, first, source, subscriber
from tests.support.server import PATIENCE, STREAM, Script, answer, event_stream, pause, request, send, stall, tls
from tests.support.trust import Authority
from wire_rawsse import Closed, Opened, Timeouts
from wire_rawsse.errors import NotAnEventStreamError, RedirectError, ResponseTimeout, StatusError


def to(location: str, status: int = 302) -> Script:
    return [request, send(answer(f"{status} There", f"Location: {location}", body=b"data: not this\n\n")), stall]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_kind_is_followed(status: int, serve: Serve) -> None:
    there = serve(STREAM)
    here = serve(to(there.url + "?x=1", status))
    with source(here.url) as listening:
        assert event(listening).data == "x"
    assert [asked.target for asked in there.asked] == ["/stream?x=1"]
    assert there.asked[0].get("Host") == there.place


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_others_are_not(status: int, serve: Serve) -> None:
    there = serve(STREAM)
    closed = end(serve(to(there.url, status)).url)
    assert isinstance(closed.error, StatusError) and closed.error.status == status
    assert closed.retry_in is None
    assert there.peers == []


@pytest.mark.parametrize(
    ("location", "target"),
    [("/a/b?c", "/a/b?c"), ("d", "/dir/d"), ("../d", "/d"), ("?q", "/dir/stream?q"), ("/é#fragment", "/%C3%A9")],
)
def test_a_relative_location(location: str, target: str, serve: Serve) -> None:
    server = serve(to(location.encode().decode("latin-1")), STREAM)
    with source(f"http://{server.place}/dir/stream") as listening:
        event(listening)
    assert server.asked[1].target == target


@pytest.mark.parametrize(
    ("status", "method", "kept"),
    [
        *((301, "POST", False), (302, "POST", False), (303, "POST", False), (307, "POST", True), (308, "POST", True)),
        *((301, "REPORT", True), (302, "REPORT", True), (303, "REPORT", False), (308, "REPORT", True)),
    ],
)
def test_methods_and_bodies(status: int, method: str, kept: bool, serve: Serve) -> None:
    server = serve(to("/there", status), STREAM)
    given = {"Content-Type": "a/b", "X-A": "1"}
    with source(server.url, method=method, body=b"the body", headers=given) as listening:
        event(listening)
    one, two = server.asked
    assert (one.method, one.body, one.get("Content-Type")) == (method, b"the body", "a/b")
    if kept:
        assert (two.method, two.body, two.get("Content-Type")) == (method, b"the body", "a/b")
    else:
        assert (two.method, two.body, two.get("Content-Type"), two.get("Content-Length")) == ("GET", b"", None, None)
    assert two.get("X-A") == "1"


GIVEN = {"Cookie": "c00kie", "X-A": "1", "Proxy-Authorization": "pr0xy", "Host": "its.own.name"}
ALL = ("Authorization", "Cookie", "Proxy-Authorization", "X-A")


class TestCredentials:
    def test_are_kept_within_the_origin(self, serve: Serve) -> None:
        server = serve(to("/there"), STREAM)
        with source(server.url, bearer_token="t0ken", headers=GIVEN) as listening:
            event(listening)
        for asked in server.asked:
            assert [asked.get(name) for name in ALL] == ["Bearer t0ken", "c00kie", "pr0xy", "1"]
            assert asked.get("Host") == "its.own.name"

    def test_are_dropped_when_the_origin_changes(self, serve: Serve) -> None:
        """Another port is another origin."""
        there = serve(STREAM)
        here = serve(to(there.url))
        with source(here.url, bearer_token="t0ken", headers=GIVEN) as listening:
            event(listening)
        asked = there.asked[0]
        assert [asked.get(name) for name in ALL] == [None] * 4
        assert asked.get("Host") == there.place
        assert b"t0ken" not in asked.raw and b"c00kie" not in asked.raw and b"pr0xy" not in asked.raw

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_nor_does_anything_cross_that_was_given(self, status: int, serve: Serve) -> None:
        """Whatever its name is, but for four fields that are meant for no server in particular."""
        crosses = {"Accept": "a/b", "accept-language": "en", "User-Agent": "mine", "Cache-Control": "no-store"}
        names = ("X-Api-Key", "Private-Token", "X-Amz-Security-Token", "Api-Key", "X-Auth", "Origin", "Referer", "X-A")
        stays = {**dict.fromkeys(names, "s3cret"), "Last-Event-ID": "s3cret", "If-None-Match": "s3cret"}
        there = serve(to("/next"), STREAM)
        here = serve(to(there.url, status))
        with source(here.url + "?s3cret", headers=crosses | stays) as listening:
            event(listening)
        assert b"s3cret" in here.asked[0].raw
        for asked in there.asked:
            assert b"s3cret" not in asked.raw
            assert [asked.get(name) for name in crosses] == list(crosses.values())

    @pytest.mark.parametrize("status", [307, 308])
    @pytest.mark.parametrize("body", [b"the body", b""])
    def test_a_body_does_not_cross_either(self, status: int, body: bytes, serve: Serve) -> None:
        """Without it the request would be another one, so there is none."""
        there = serve(STREAM)
        closed = end_for_good(serve(to(there.url, status)).url, method="POST", body=body)
        assert isinstance(closed.error, RedirectError) and "body" in str(closed.error)
        assert there.peers == []

    @pytest.mark.parametrize("status", [301, 302, 303])
    def test_a_get_without_it_does(self, status: int, serve: Serve) -> None:
        there = serve(STREAM)
        with source(serve(to(there.url, status)).url, method="POST", body=b"the body") as listening:
            event(listening)
        assert (there.asked[0].method, there.asked[0].body) == ("GET", b"")

    @pytest.mark.parametrize("status", [401, 403])
    @pytest.mark.parametrize("given", [{"bearer_token": "t0ken"}, {"headers": {"X-Api-Key": "t0ken"}}])
    def test_a_refusal_after_that_says_so(self, status: int, given: dict[str, Any], serve: Serve) -> None:
        there = serve([request, send(answer(f"{status} x")), stall])
        here = serve(to(there.url))
        error = end(here.url, **given).error
        assert f"{here.url} redirected to another origin" in str(error) and there.place in str(error)
        assert "redirected" not in str(end(here.url).error), "there was nothing to leave behind"
        assert "redirected" not in str(end(there.url, **given).error)

    def test_do_not_come_back_with_the_origin(self, serve: Serve) -> None:
        here = serve(to(""), STREAM)
        there = serve(to(here.url))
        here.scripts = (to(there.url), STREAM)
        with source(here.url, bearer_token="t0ken") as listening:
            event(listening)
        assert [asked.get("Authorization") for asked in here.asked] == ["Bearer t0ken", None]

    def test_in_the_url_likewise(self, serve: Serve) -> None:
        there = serve(STREAM)
        here = serve(to("/next"), to(there.url))
        with source(f"http://user:pass@{here.place}/") as listening:
            event(listening)
        assert [asked.get("Authorization") for asked in here.asked] == ["Basic dXNlcjpwYXNz"] * 2
        assert there.asked[0].get("Authorization") is None

    def test_are_there_again_after_a_reconnect(self, serve: Serve) -> None:
        """Which starts at the original URL."""
        there = serve([request, send(event_stream(b"data: x\n\n"))])
        here = serve(to(there.url))
        with source(here.url, bearer_token="t0ken") as listening:
            for _ in range(2):
                event(listening)
        assert [asked.get("Authorization") for asked in here.asked] == ["Bearer t0ken"] * 2
        assert [asked.get("Authorization") for asked in there.asked] == [None] * 2

    def test_the_last_event_id_stays_within_the_origin(self, serve: Serve) -> None:
        there = serve(STREAM)
        here = serve(to("/next"), to(there.url))
        with source(here.url, last_event_id="7") as listening:
            opened = first(listening, Opened)
        assert [asked.get("Last-Event-ID") for asked in here.asked] == ["7", "7"]
        assert there.asked[0].get("Last-Event-ID") is None
        assert opened.id_left_out, "the program must be able to know of the gap"


class TestHowFar:
    def test_ten_are_followed(self, serve: Serve) -> None:
        server = serve(*[to(f"/{number}") for number in range(10)], STREAM)
        with source(server.url) as listening:
            assert event(listening).data == "x"
        assert [asked.target for asked in server.asked] == ["/stream", *(f"/{number}" for number in range(10))]

    def test_eleven_are_an_error_that_is_retried(self, serve: Serve) -> None:
        server = serve(*[to(f"/{number}") for number in range(11)], STREAM)
        with source(server.url) as listening:
            closed = first(listening, Closed)
            assert isinstance(closed.error, RedirectError)
            assert "more than 10 times" in str(closed.error)
            assert closed.retry_in is not None
            assert len(server.asked) == 11
            assert event(listening).data == "x"

    def test_a_loop_that_sets_cookies_says_so(self, serve: Serve) -> None:
        login = [request, send(answer("302 x", "Location: /login", "Set-Cookie: s=1")), stall]
        assert "cookies" in str(end(serve(login).url).error)
        assert "cookies" not in str(end(serve(to("/login")).url).error)

    def test_a_circle(self, serve: Serve) -> None:
        closed = end(serve(to("/stream")).url)
        assert isinstance(closed.error, RedirectError) and closed.retry_in is not None

    def test_each_hop_has_its_own_budgets(self, serve: Serve) -> None:
        server = serve(*[[request, pause(0.25), *to(f"/{number}")[1:]] for number in range(6)], STREAM)
        settings = Timeouts(connect=1.2, response=1.2, read=PATIENCE)
        began = time.monotonic()
        with source(server.url, timeouts=settings) as listening:
            assert event(listening).data == "x"
        assert time.monotonic() - began >= 1.5, "the six together take longer than one may"

    def test_a_hop_that_stalls(self, serve: Serve) -> None:
        server = serve(to("/there"), [request, stall])
        closed = end(server.url, timeouts=Timeouts(connect=PATIENCE, response=1.5))
        assert isinstance(closed.error, ResponseTimeout)
        assert "/there" in str(closed.error), "it does not say which hop it was"


class TestWhereTo:
    @pytest.mark.parametrize(
        "fields", [(), ("Location: http://",), ("Location: ftp://x/",), ("Location: http://x:0/",)]
    )
    def test_nowhere_is_an_error_for_good(self, fields: tuple[str, ...], serve: Serve) -> None:
        closed = end(serve([request, send(answer("302 x", *fields)), stall]).url)
        assert isinstance(closed.error, RedirectError) and closed.retry_in is None

    @pytest.mark.parametrize("fields", [(), ("Location:",), ("Location: #there",), ("Location: /a", "Location: /b")])
    def test_a_post_is_sent_once(self, fields: tuple[str, ...], serve: Serve) -> None:
        server = serve([request, send(answer("307 x", *fields)), stall])
        closed = end(server.url, method="POST", body=b"{}")
        assert isinstance(closed.error, RedirectError) and closed.retry_in is None
        assert len(server.asked) == 1

    def test_http_to_https(self, serve: Serve, authority: Authority) -> None:
        secure = serve([tls(authority.server()), *STREAM])
        plain = serve(to(secure.url.replace("http", "https")))
        with source(plain.url, tls=authority.file, bearer_token="t0ken") as listening:
            assert event(listening).data == "x"
        assert secure.asked[0].get("Authorization") is None

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_https_to_http_is_refused(self, status: int, serve: Serve, authority: Authority) -> None:
        plain = serve(STREAM)
        secure = serve([tls(authority.server()), *to(plain.url, status)])
        closed = end_for_good(secure.url.replace("http", "https"), tls=authority.file)
        assert isinstance(closed.error, RedirectError) and closed.error.permanent
        assert plain.place in str(closed.error)
        assert plain.peers == []

    def test_to_a_unix_socket_is_refused(self, serve: Serve, socket_path: str) -> None:
        there = serve(STREAM, path=socket_path)
        closed = end_for_good(serve(to(f"unix://{socket_path}")).url)
        assert isinstance(closed.error, RedirectError)
        assert there.peers == []

    def test_what_ends_a_source_ends_it_behind_a_redirect_as_well(self, serve: Serve) -> None:
        there = serve([request, send(answer("200 OK", "Content-Type: text/html")), stall])
        closed = end_for_good(serve(to(there.url)).url)
        assert isinstance(closed.error, NotAnEventStreamError)
        assert there.place in str(closed.error)

    def test_its_body_wakes_nobody(self, serve: Serve) -> None:
        """Only the stream behind it does, once."""
        server = serve([request, send(answer("302 x", "Location: /there", body=b"data: x\n\n" * 1000)), stall], STREAM)
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            assert len(server.asked) == 2
            assert listening.state.state == "connected"


def end_for_good(url: str, **settings: object) -> Closed:
    closed = end(url, **{"timeouts": LENIENT, **settings})
    assert closed.retry_in is None
    return closed
