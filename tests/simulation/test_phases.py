"""The phase table against life: every step that a stream ever takes is in the table, and the table has no other.

Each short life below is a list of failures and successes. Together they must walk every edge of the table, and must not
leave it. (The simulated years check their steps against the same table.)
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from tests.simulation.answers import redirects, short_lived, silence, status, well
from tests.simulation.relay import Visit
from tests.simulation.scene import Journal
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single
from wire_rawsse.errors import RedirectError
from wire_rawsse.gate import Gate
from wire_rawsse.phases import PHASES, PhaseName
from wire_rawsse.policy import Backoff
from wire_rawsse.protocol.sse import WakeParser
from wire_rawsse.reconnect import Restart
from wire_rawsse.record import Record

UNIX = "unix:///run/relay.sock?path=/v1/stream"
Edge = tuple[str, str]


def at_unix(answer: Callable[[Visit, bytes], None] | None = None, persistent: bool = True) -> Single:
    scene = Single(answer, url=UNIX, persistent=persistent)
    scene.network.places["/run/relay.sock"] = scene.there
    return scene


def fails_at_once() -> str:
    raise OSError("no token")


def lives() -> Iterator[tuple[str, Single]]:
    """Scenes with their faults in place, to be run for a while and then closed."""
    yield "all is well", Single()
    yield "https", Single(url=HTTPS)
    yield "a tunnel", Single(url=HTTPS, proxy=True)
    yield "a socket path", at_unix()
    yield "a socket path, again and again", at_unix(short_lived(1, Visit.cut))
    yield "a redirect", Single(redirects(["/elsewhere"], well()))
    yield "a redirect on a socket path", at_unix(redirects([UNIX.replace("stream", "other")], silence))
    yield "it ends", Single(short_lived(1, Visit.finish))
    yield "no such name", without(Single(), "name")
    yield "nobody listens", without(Single(), "listener")
    yield "a proxy that refuses", without(Single(url=HTTPS, proxy=True), "tunnel")
    yield "a proxy behind which nobody is", without(Single(url=HTTPS, proxy=True), "handshake")
    yield "no handshake", without(Single(url=HTTPS), "handshake")
    yield "no head", Single(status("500 Oops"))
    yield "no token", Single(bearer_token=fails_at_once)
    yield "an answer for good", Single(status("404 Not Found"), persistent=False)
    yield "no token, a socket path", at_unix()
    yield "in line", in_line(Single())
    yield "in line, a socket path, again and again", in_line(at_unix(short_lived(1, Visit.cut)))
    yield "in line, no token", in_line(Single(bearer_token=fails_at_once))


def in_line(scene: Single, until: float = 2.0) -> Single:
    """Another stream connects until then, and once more after half a second: this one waits for its turn."""
    call, random = (lambda task: scene.loop.interrupt(task, Restart())), (lambda: 0.5)
    gate = scene.only.record.gate = Gate(1, call, scene.kernel.monotonic, random)

    def another() -> None:
        gate.enter("another", "its origin", None)

    another()
    scene.kernel.after(until, gate.leave, "another", "its origin")
    scene.kernel.after(until + 0.5, another)
    scene.kernel.after(until + 15, gate.leave, "another", "its origin")
    return scene


def without(scene: Single, what: str) -> Single:
    if what == "name":
        scene.found.unknown = 1
    elif what == "listener":
        scene.there.refuses = 1
    elif what == "tunnel":
        scene.proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
    else:
        scene.endpoint.flights = [b"certificate of another"]
    return scene


def stuck() -> Iterator[tuple[str, Single]]:
    """Scenes that stay in a phase, to be closed there."""
    yield "waiting", in_line(Single(), until=20)
    scene = Single()
    scene.found.silent = 1
    yield "resolving", scene
    scene = Single()
    scene.there.path.block(0)
    yield "connecting", scene
    scene = Single(url=HTTPS, proxy=True)
    scene.proxy.answer = b""
    yield "tunnel", scene
    scene = Single(url=HTTPS)
    scene.endpoint.stalls_at = 0
    yield "handshake", scene
    yield "head", Single(silence)
    yield "streaming", Single()
    scene = Single()
    scene.there.refuses = 1
    yield "backing off", scene


def edges(scene: Single) -> set[Edge]:
    names = ["idle", *(phase for _, phase in scene.phases)]
    return set(pairwise(names))


ALL: set[Edge] = {(phase.name, then) for phase in PHASES.values() for then in phase.then}


@pytest.mark.parametrize("life", [name for name, _ in lives()])
def test_no_life_leaves_the_table(life: str) -> None:
    scene = dict(lives())[life]
    scene.run(30)
    scene.close()
    assert edges(scene) <= ALL


@pytest.mark.parametrize("phase", [name for name, _ in stuck()])
def test_every_phase_can_be_closed(phase: str) -> None:
    scene = dict(stuck())[phase]
    scene.run(3)
    assert scene.phase == phase
    scene.close()
    assert (phase, "closed") in edges(scene) <= ALL


def struck_in(scene: Single, feed: Callable[[object, bytes], None]) -> set[Edge]:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WakeParser, "_read", feed)
        scene.run(60)
    scene.run(70)
    scene.close()
    return edges(scene)


def strike(parser: object, piece: bytes) -> None:
    raise KeyboardInterrupt


def strike_again(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_the_table_has_no_step_that_never_happens() -> None:
    walked: set[Edge] = set()
    for _, scene in [*lives(), *stuck()]:
        scene.run(25)
        scene.close()
        walked |= edges(scene)
    walked |= struck_in(Single(), strike)  # "closed" to "idle".
    # A stream that is begun again so often that the pace holds it back, and closed before it may begin.
    scene = Single()
    for _ in range(9):
        scene.only.record.pace.delay(scene.kernel.now)
        scene.only.record.pace.started()
    scene.run(3)
    scene.close()
    walked |= edges(scene)
    assert walked == ALL


@pytest.mark.parametrize("phase", PHASES)
def test_a_step_that_is_not_in_the_table_is_refused(phase: PhaseName) -> None:
    record = Record("http://relay.example/", Backoff())
    for then in typing.get_args(PhaseName):
        record.phase = phase
        if then in PHASES[phase].then:
            record.enter(then, 0.0)
        else:
            with pytest.raises(AssertionError, match=f"{then} after {phase}"):
                record.enter(then, 0.0)
            assert record.phase == phase
    record.start_over(5.0)
    assert record.phase == "idle"


def test_a_stream_starts_over_where_its_end_was_interrupted() -> None:
    """A second signal handler raises while the first one's exception ends the stream: the phase stays as it was."""
    scene = Single()
    ended = Journal.ended
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WakeParser, "_read", strike)
        patch.setattr(Journal, "ended", strike_again)
        scene.run(60)
    assert Journal.ended is ended and scene.phase == "streaming"
    scene.run(62)
    assert scene.phase == "streaming" and scene.only.record.last_error is None
    scene.close()
    assert ("streaming", "idle") in edges(scene)


def test_the_table_says_which_clock_bounds_each_phase() -> None:
    known = {"connect", "response", "read", "min_rate", "backoff"}
    for phase in PHASES.values():
        assert set(filter(None, phase.clock.split(", "))) <= known


def test_a_redirect_off_a_socket_path_is_refused() -> None:
    scene = at_unix(redirects([HTTP], silence))
    scene.run(LATENCY * 4)
    assert isinstance(scene.end[1], RedirectError) and scene.end[1].permanent
    scene.close()
