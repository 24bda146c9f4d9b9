"""The learned heartbeat with real sockets: the servers that it serves, and the healthy ones that it must not drop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.hosts.feed import is_open
from tests.support.fixtures import Serve
from tests.support.listen import SOON, subscriber
from tests.support.server import CHUNKED, PATIENCE, Peer, Step, request, send, stall
from wire_rawsse import Streams, StreamSubscriber, Timeouts
from wire_rawsse.heartbeat import SHORTEST
from wire_rawsse.state import EndpointState

BEAT = b": hb\n\n"
EVERY = 1.2 * SHORTEST


def plays(*steps: tuple[float, bytes]) -> Step:
    """Say each text after its pause."""

    def step(peer: Peer) -> None:
        for seconds, text in steps:
            peer.server.closing.wait(seconds)
            peer.say(text)

    return step


def until(listening: StreamSubscriber, condition: Callable[[EndpointState], bool]) -> EndpointState:
    began = time.monotonic()
    while not condition(state := listening.state.endpoints[0]):
        assert time.monotonic() - began < PATIENCE, state
        listening.wait(0.05)
    return state


def test_a_connection_that_is_silent_for_longer_than_its_heartbeat_is_renewed(serve: Serve) -> None:
    learned = False
    overlaps: list[bool] = []

    def beats(peer: Peer) -> None:
        while not learned and not peer.server.closing.wait(EVERY):
            peer.say(BEAT)

    def looks(peer: Peer) -> None:
        overlaps.append(is_open(peer.server.peers[0]))

    server = serve([request, send(CHUNKED), beats, stall], [request, looks, send(CHUNKED), stall])
    with subscriber(server.url) as listening:
        state = until(listening, lambda state: state.heartbeat is not None)
        learned = True
        assert state.read_limit is not None and state.read_limit < 5 < PATIENCE
        state = until(listening, lambda state: bool(state.ends) or state.phase != "streaming")
        assert (state.phase, state.reconnect_count, overlaps) == ("streaming", 1, [True])
        assert "it has sent a heartbeat every" in (state.last_error or "")
        assert dict(state.ends) == {"HeartbeatTimeout": 1}


def test_a_heartbeat_that_came_while_the_caller_was_late_counts(serve: Serve) -> None:
    """The learned limit has passed when the caller looks, in vain for this stream and with a wake of another."""
    speak, spoken, beat_once, beaten, learned, silent = (threading.Event() for _ in range(6))

    def beats(peer: Peer) -> None:
        while not learned.is_set() and not peer.server.closing.wait(EVERY):
            peer.say(BEAT)
        silent.set()
        beat_once.wait(PATIENCE)
        peer.say(BEAT)
        beaten.set()

    def speaks(peer: Peer) -> None:
        speak.wait(PATIENCE)
        peer.say(b"data: 1\n\n")
        spoken.set()

    quiet, lively = serve([request, send(CHUNKED), beats, stall]), serve([request, send(CHUNKED), speaks, stall])
    with Streams() as streams:
        one, other = streams.add(quiet.url), streams.add(lively.url)
        end = time.monotonic() + PATIENCE
        while one.state.heartbeat is None or other.state.phase != "streaming":
            assert time.monotonic() < end
            streams.wait(0.05)
        learned.set()
        assert silent.wait(PATIENCE)
        streams.wait(0.1)
        time.sleep(2 * (one.state.read_limit or PATIENCE))
        speak.set()
        assert spoken.wait(PATIENCE)
        assert streams.wait(PATIENCE) == (other,)
        beat_once.set()
        assert beaten.wait(PATIENCE)
        time.sleep(0.2)  # The caller is busy with the wake.
        streams.wait(0)
        streams.wait(0.1)
        assert (one.state.phase, one.state.ends) == ("streaming", ())


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([*[(EVERY, BEAT)] * 4, (EVERY, b"data: 1\n\n"), (4.5, b"data: end\n\n")], id="until the answer"),
        pytest.param(
            [*[(EVERY * part, BEAT) for part in (1.2, 1, 1, 1.2, 1.1, 2, 1, 2, 1.2)], (0.1, b"data: end\n\n")],
            id="jittered, with doubled gaps",
        ),
        pytest.param([*[(EVERY, b"data: 1\n\n")] * 4, (4.5, b"data: end\n\n")], id="events only"),
        pytest.param([(4.5, b"data: end\n\n")], id="none"),
    ],
)
def test_a_healthy_server_is_not_dropped(serve: Serve, steps: list[tuple[float, bytes]]) -> None:
    server = serve([request, send(CHUNKED), plays(*steps), stall])
    events = 1 + sum(text == b"data: 1\n\n" for _, text in steps)
    with subscriber(server.url, timeouts=Timeouts(read=PATIENCE), backoff=SOON) as listening:
        state = until(listening, lambda state: state.event_count >= events)
        assert (state.reconnect_count, state.ends) == (0, ())
