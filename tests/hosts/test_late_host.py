"""A host may come back late, and must not take its own absence for the peer's silence.

A stream's clock never runs past the wait that it is in. If a late host finds the answer there, the clock resumes at
the moment the host last looked; if it finds nothing, it stands at the deadline. So a host that was busy for three
read time-outs keeps a healthy stream and drops a dead one at once (see `conformance`), and none is
too slow to connect.
"""

from __future__ import annotations

import os
import select
import signal
import ssl
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import (
    BEAT,
    EVENT,
    HEAD,
    NEVER,
    PATIENCE,
    QUICK,
    HungResolver,
    InThread,
    Stage,
    add_streams,
    child_environ,
    chunk,
    error_of,
    phase_of,
    poll_until,
)
from wire_rawsse import StreamSubscriber, Timeouts

READ = 0.15


def busy(seconds: float) -> None:
    """The host does something else: this is what the tests are about, so a sleep it is."""
    time.sleep(seconds)


def test_silence_counts_from_the_last_bytes_found(serve: Serve) -> None:
    """Nobody knows when they came, so a host that finds them late gives the stream a whole `read` from then on."""
    server = serve()
    with StreamSubscriber(server.url, timeouts=Timeouts(read=READ), backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        server.peer().say(BEAT)
        busy(3 * READ)
        found = time.monotonic()
        assert not subscriber.wait(0)
        # The clock resumes where the host last looked, so a good deal of `read` is left, and never more than all.
        assert found < subscriber.deadline() <= time.monotonic() + READ
        poll_until(subscriber, lambda: phase_of(subscriber) == "backing off")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_host_slower_than_the_budget_connects(
    serve: Serve, ca_file: str, tls: bool, host: str, hung_resolver: HungResolver
) -> None:
    """The budget for the connection is a third less than the time between two looks at it."""
    server = serve(tls=tls)
    url = server.url.replace("127.0.0.1", host)
    timeouts = Timeouts(connect=0.1, response=0.1)
    with StreamSubscriber(url, tls=ca_file, timeouts=timeouts, backoff=QUICK) as subscriber:
        for _ in range(10):
            if subscriber.wait(0):
                break
            busy(0.15)
            hung_resolver.release(server.port)  # So the name too is found late.
            busy(0.01)
        assert phase_of(subscriber) == "streaming"
        assert (subscriber.state.reconnect_count, subscriber.state.last_error) == (0, None)


def test_what_is_found_late_leaves_the_rest_of_the_budget(
    serve: Serve, ca_file: str, server_context: ssl.SSLContext, hung_resolver: HungResolver
) -> None:
    """The name is found late, and the handshake has begun: a clock that had run on meanwhile would give up at once."""
    server = serve(tls=True, stage="accepted")
    url = server.url.replace("127.0.0.1", "localhost")
    with StreamSubscriber(url, tls=ca_file, timeouts=Timeouts(connect=0.6), backoff=NEVER) as subscriber:
        assert not subscriber.wait(0)
        assert phase_of(subscriber) == "resolving"
        hung_resolver.release(server.port)
        busy(0.7)
        poll_until(subscriber, lambda: phase_of(subscriber) == "handshake", turn=0)
        for _ in range(3):
            assert not subscriber.wait(0)
            assert phase_of(subscriber) == "handshake"
        secured = InThread(lambda: server_context.wrap_socket(server.peer().sock, server_side=True))
        busy(0.7)
        poll_until(subscriber, lambda: phase_of(subscriber) == "head", turn=0)
        secured.result().close()


@pytest.mark.parametrize(
    ("stage", "told"),
    [("accepted", "TLS handshake"), ("secured", "response=0.1"), ("asked", "response=0.1")],
)
def test_a_slow_host_still_gives_up_on_a_dead_server(serve: Serve, ca_file: str, stage: Stage, told: str) -> None:
    server = serve(tls=True, stage=stage)
    timeouts = Timeouts(connect=0.1, response=0.1)
    with StreamSubscriber(server.url, tls=ca_file, timeouts=timeouts, backoff=NEVER) as subscriber:
        for _ in range(10):
            assert not subscriber.wait(0)
            if phase_of(subscriber) == "backing off":
                break
            busy(0.15)
        assert told in error_of(subscriber)


def test_only_a_poll_that_began_after_the_deadline_judges_it(
    serve: Serve, ca_file: str, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll finds nothing, and by the time it says so the deadline has passed and a heartbeat has come."""
    server = serve(tls=tls)
    overslept: list[float] = []

    def oversleep(timeout: float | None, room: int) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = poll(timeout, room)
        if timeout and not seen and not overslept:
            overslept.append(time.monotonic())
            busy(max(0.0, subscriber.deadline() - time.monotonic()) + 0.01)
            peer.say(BEAT)
            assert select.select([poller], [], [], PATIENCE)[0]
        return seen

    with StreamSubscriber(server.url, tls=ca_file, timeouts=Timeouts(read=READ), backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        peer = server.peer()
        assert not subscriber.wait(0)
        poller: Any = subscriber._loop._handle.watch.poller
        poll = poller.poll
        monkeypatch.setattr(poller, "poll", oversleep)
        assert not subscriber.wait(READ * 0.9)
        assert overslept
        assert not subscriber.wait(0)
        assert phase_of(subscriber) == "streaming"


def test_more_ready_streams_than_one_poll_reports(serve: Serve) -> None:
    """A deadline is judged by what a `recv` found, so no stream may be overlooked because others were ready too."""
    count = 20
    servers = [serve() for _ in range(count)]
    timeouts = Timeouts(read=3)  # All are streaming, and have said something, before the first is given up.
    with StreamSubscriber(servers[0].url, timeouts=timeouts, backoff=NEVER) as subscriber:
        add_streams(subscriber, [server.url for server in servers[1:]], timeouts=timeouts, backoff=NEVER)
        poll_until(subscriber, lambda: [one.phase for one in subscriber.state.endpoints] == ["streaming"] * count)
        poll_until(subscriber, lambda: subscriber.deadline() > time.monotonic())
        for server in servers:
            server.peer().say(BEAT)
        busy(3.2)
        assert not subscriber.wait(0)
        assert not subscriber.wait(0.1)
        assert [one.phase for one in subscriber.state.endpoints] == ["streaming"] * count


HOST = """
import sys
from wire_rawsse import StreamSubscriber, Timeouts, Backoff, WakeChannel, spawn_stream_subscriber
url, ca, how = sys.argv[1:]
timeouts = Timeouts(connect=2, response=2, read=2)
subscriber = StreamSubscriber(url, tls=ca or None, timeouts=timeouts, backoff=Backoff(initial=60, maximum=60))
wait = subscriber.wait
if how == "thread":
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake, subscriber)
    wait = wake.wait
for _ in range(2):
    assert wait(20)
    print("wake", flush=True)
assert subscriber.state.reconnect_count == 0, subscriber.state
subscriber.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
@pytest.mark.parametrize(
    ("tls", "how", "when"),
    [
        (False, "inline", "streaming"),
        (True, "thread", "streaming"),
        (True, "inline", "head"),
        (False, "thread", "head"),
    ],
)
def test_a_stopped_process_keeps_its_stream(serve: Serve, ca_file: str, tls: bool, how: str, when: str) -> None:
    """SIGSTOP for longer than every deadline, and the server does its part meanwhile."""
    server = serve(tls=tls, stage="asked")
    command = [sys.executable, "-W", "error", "-c", HOST, server.url, ca_file, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environ()) as child:
        assert child.stdout is not None
        try:
            peer = server.peer()
            if when == "streaming":
                peer.send(HEAD)
                assert child.stdout.readline() == b"wake\n"
            os.kill(child.pid, signal.SIGSTOP)
            os.waitpid(child.pid, os.WUNTRACED)
            peer.send(HEAD if when == "head" else chunk(BEAT))
            busy(2.3)
            os.kill(child.pid, signal.SIGCONT)
            if when == "head":
                assert child.stdout.readline() == b"wake\n"
            peer.say(EVENT)
            assert child.stdout.readline() == b"wake\n"
            assert child.wait(PATIENCE) == 0
        finally:
            child.kill()
