"""Streams over Unix-domain sockets."""

from __future__ import annotations

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import end, event, source, subscriber
from tests.support.server import PATIENCE, QUIET, STREAM, answer, request, send, stall
from wire_rawsse.errors import DialError, RedirectError


@pytest.mark.parametrize(
    ("query", "target"),
    [("", "/"), ("?path=/v1/events/7/stream", "/v1/events/7/stream"), ("?path=/v1%3Fsince%3D7", "/v1?since=7")],
)
def test_the_target_is_in_path(query: str, target: str, serve: Serve, socket_path: str) -> None:
    server = serve(STREAM, path=socket_path)
    with source(f"unix://{socket_path}{query}", bearer_token="t0ken") as listening:
        assert event(listening).data == "x"
    asked = server.asked[0]
    assert (asked.target, asked.get("Host"), asked.get("Authorization")) == (target, "localhost", "Bearer t0ken")


def test_no_proxy_is_asked(serve: Serve, socket_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve([request])
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{proxy.place}")
    serve(STREAM, path=socket_path)
    with source(f"unix://{socket_path}") as listening:
        event(listening)
    assert proxy.peers == []


def test_redirects_within_it_are_followed(serve: Serve, socket_path: str) -> None:
    server = serve([request, send(answer("307 x", "Location: /there?y")), stall], STREAM, path=socket_path)
    with source(f"unix://{socket_path}?path=/here", bearer_token="t0ken") as listening:
        event(listening)
    assert [asked.target for asked in server.asked] == ["/here", "/there?y"]
    assert server.asked[1].get("Authorization") == "Bearer t0ken"


@pytest.mark.parametrize(
    "location", ["http://localhost/", "https://localhost/", "unix:///run/other.sock", "//localhost/"]
)
def test_redirects_off_it_are_refused(location: str, serve: Serve, socket_path: str) -> None:
    serve([request, send(answer("302 x", f"Location: {location}")), stall], path=socket_path)
    closed = end(f"unix://{socket_path}")
    assert isinstance(closed.error, RedirectError)
    assert "Unix-domain socket" in str(closed.error)
    if location != "//localhost/":  # That one has no meaning there at all.
        assert closed.retry_in is None


def test_nobody_there_is_retried(socket_path: str) -> None:
    closed = end(f"unix://{socket_path}")
    assert isinstance(closed.error, DialError) and closed.retry_in is not None
    assert socket_path in str(closed.error)


def test_a_subscriber(serve: Serve, socket_path: str) -> None:
    serve(QUIET, path=socket_path)
    with subscriber(f"unix://{socket_path}?path=/v1") as listening:
        assert listening.wait(PATIENCE)
        assert listening.state.endpoints[0].url == f"unix://{socket_path}?path=/v1"
