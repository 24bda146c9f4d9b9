"""A server may answer before it has read the whole request (RFC 9112 §9.5): its answer is read and believed at once."""

from __future__ import annotations

import threading

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import event, first, source
from tests.support.server import (
    CHUNKED,
    OPEN,
    QUIET,
    STREAM,
    Peer,
    Script,
    Step,
    answer,
    chunk,
    cut,
    reset,
    send,
    stall,
    tls,
)
from tests.support.trust import Authority
from wire_rawsse import Closed, EventSource, Opened, Timeouts
from wire_rawsse.errors import (
    ConnectionBrokenError,
    MalformedResponseError,
    NotAnEventStreamError,
    ResponseTimeout,
    StatusError,
    TruncatedError,
)

BODY = bytes(range(256)) * (1 << 15)  # 8 MiB: more than the buffers of both kernels hold.
REFUSED = answer("413 Content Too Large", "Connection: close")


def head(peer: Peer) -> None:
    """Read the head of a request and nothing of its body."""
    peer.server.keep(peer.server.asked, peer.receive_until(b"\r\n\r\n"))


def full(peer: Peer) -> None:
    """Wait until the client can send no more: its kernel's buffer and ours are full."""
    pending = -1
    while (now := _unsent(peer)) != pending or not now:
        pending = now
        if peer.server.closing.wait(0.05):
            raise ConnectionError("the test is over")


def _unsent(peer: Peer) -> int:
    """Bytes in our receive buffer (FIONREAD)."""
    import array
    import fcntl
    import termios

    waiting = array.array("i", [0])
    fcntl.ioctl(peer.sock.fileno(), termios.FIONREAD, waiting)
    return waiting[0]


def hang_up(peer: Peer) -> None:
    """Close with the body unread, which sends RST (RFC 9293 §3.10.4)."""
    peer.close()


class Scene:
    """A server over http or https, and a source that posts much to it."""

    def __init__(self, serve: Serve, authority: Authority, secured: bool) -> None:
        self._serve = serve
        self._authority = authority
        self._secured = secured

    def start(self, *scripts: Script, **settings: object) -> EventSource:
        wrapped = [[tls(self._authority.server()), *script] if self._secured else script for script in scripts]
        self.server = self._serve(*wrapped)
        url, trust = self.server.url, None
        if self._secured:
            url = f"https://localhost:{self.server.port}/stream"
            trust = self._authority.file
        return source(url, method="POST", body=BODY, tls=trust, **settings)


@pytest.fixture(params=[False, True], ids=["http", "https"])
def scene(request: pytest.FixtureRequest, serve: Serve, authority: Authority) -> Scene:
    return Scene(serve, authority, request.param)


@pytest.mark.parametrize(
    "steps",
    [
        [head, send(REFUSED), hang_up],
        [head, full, send(REFUSED), hang_up],
        [head, full, send(REFUSED), reset],
        [head, full, send(REFUSED), cut],
        [head, full, send(REFUSED), stall],
        [head, full, send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + REFUSED), hang_up],
    ],
    ids=["at once", "when full", "and resets", "and FIN", "and stays", "after interim responses"],
)
def test_a_refusal_is_read_after_one_post(steps: list[Step], scene: Scene) -> None:
    with scene.start(steps) as listening, pytest.raises(StatusError) as refused:
        listening.next(20)
    assert refused.value.status == 413
    assert len(scene.server.asked) == 1


@pytest.mark.parametrize("opening", [OPEN + b"data: x\n\n", CHUNKED + chunk(b"data: x\n\n")], ids=["plain", "chunked"])
def test_a_stream_is_heard_while_its_server_reads_no_body(opening: bytes, scene: Scene) -> None:
    with scene.start([head, full, send(opening), stall]) as listening:
        assert event(listening).data == "x"
    assert len(scene.server.asked) == 1


def test_a_head_in_pieces_while_the_request_is_stuck(scene: Scene) -> None:
    opening = OPEN + b"data: x\n\n"
    pieces = [send(opening[:9]), send(opening[9:30]), send(opening[30:])]
    with scene.start([head, full, *pieces, stall]) as listening:
        assert event(listening).data == "x"


def test_interim_responses_do_not_end_the_sending(scene: Scene) -> None:
    continued = threading.Event()

    def go_on(peer: Peer) -> None:
        peer.sock.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        continued.set()

    bodies: list[bytes] = []

    def body(peer: Peer) -> None:
        bodies.append(peer.receive_exactly(len(BODY)))

    with scene.start([head, full, go_on, body, send(OPEN + b"data: x\n\n"), stall]) as listening:
        assert event(listening).data == "x"
    assert continued.is_set() and bodies == [BODY]


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([head, full, send(b"SSH-2.0-OpenSSH_9.2\r\n"), stall], MalformedResponseError),
        ([head, full, send(b"HTTP/1.1 200"), cut], TruncatedError),
        ([head, full, reset], ConnectionBrokenError),
        ([head, full, hang_up], ConnectionBrokenError),
        ([head, full, send(b"HTTP/1.1 200"), reset], ConnectionBrokenError),
    ],
    ids=["no HTTP", "half a head and FIN", "RST", "close", "half a head and RST"],
)
def test_what_is_no_answer_is_an_error_at_once(steps: list[Step], error: type[Exception], scene: Scene) -> None:
    with scene.start(steps, STREAM) as listening:
        closed = first(listening, Closed)
        assert isinstance(closed.error, error), closed.error
        assert closed.retry_in is not None
        assert event(listening).data == "x"


def test_a_server_that_takes_nothing_and_says_nothing(scene: Scene) -> None:
    with scene.start([head, stall_unread], timeouts=Timeouts(response=0.5)) as listening:
        closed = first(listening, Closed)
    assert isinstance(closed.error, ResponseTimeout)
    assert "did not take the whole request" in str(closed.error)


def stall_unread(peer: Peer) -> None:
    peer.server.closing.wait(20)


def test_a_redirect_takes_the_post_to_the_other_place(scene: Scene) -> None:
    moved = answer("307 Temporary Redirect", "Location: /other")
    with scene.start([head, full, send(moved), hang_up], STREAM) as listening:
        assert event(listening).data == "x"
    assert scene.server.asked[1].body == BODY


def test_a_web_page_is_for_good(scene: Scene) -> None:
    page = answer("200 OK", "Content-Type: text/html", body=b"<html>")
    with scene.start([head, full, send(page), hang_up]) as listening, pytest.raises(NotAnEventStreamError):
        listening.next(20)
    assert len(scene.server.asked) == 1


def test_a_busy_server_is_asked_again(scene: Scene) -> None:
    busy = answer("503 Service Unavailable")
    with scene.start([head, full, send(busy), hang_up], QUIET) as listening:
        closed = first(listening, Closed)
        assert isinstance(closed.error, StatusError) and closed.error.status == 503
        first(listening, Opened)
