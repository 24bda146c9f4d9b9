"""The bench's readings of other programs: strace, callgrind, /proc, a relay's framing."""

from __future__ import annotations

import os
import socket
import time

import pytest

from bench import held, proc, roster
from bench.instruments import instructions, summary
from bench.sender import HEARTBEAT, chunk, event, stream_name
from bench.wedge_scene import connections
from wire_rawsse import Event, EventParser

STRACE = """syscall      calls
---------------- ---------
epoll_wait             20
recvfrom               40
---------------- ---------
total                  60
"""


def test_a_summary_of_strace() -> None:
    assert summary(STRACE) == {"epoll_wait": 20, "recvfrom": 40}
    assert summary("") == {}


def test_a_dump_of_callgrind() -> None:
    assert instructions("version: 1\nsummary: 12\n1 2\ntotals: 34\n") == 34
    with pytest.raises(ValueError):
        instructions("nothing")


@pytest.mark.skipif(bool(proc.unavailable()), reason="needs Linux's /proc")
def test_who_is_held_hears_a_heartbeat_when_one_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[list[str], str]] = []
    with held.Stage(tls=False) as stage:
        send = stage.send

        def note(steps: list[str], gap_ms: tuple[float, float], what: str = "event") -> None:
            sent.append((steps, what))
            send(steps, gap_ms, what)

        monkeypatch.setattr(stage, "send", note)
        stage.start("several", roster.BY_NAME["ours_select"], streams=2)
        stage.settle(1.0)
        stage.beat()
        assert sent == [], "none is due yet"
        before = proc.ran(stage.held["several"].pid).turns
        monkeypatch.setattr(held, "BEAT_SECONDS", 0.0)
        stage.beat()
        assert sent == [(["several.0", "several.1"], "heartbeat")]
        deadline = time.monotonic() + 20
        while proc.ran(stage.held["several"].pid).turns == before:
            assert time.monotonic() < deadline, "nobody heard it"
            time.sleep(0.05)


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="needs Linux's /proc/net/tcp")
def test_the_kernel_says_who_is_connected_and_who_has_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            ours = client.getsockname()[1]
            with open("/proc/self/net/tcp") as table:
                assert (ours, port) in set(connections(table.read()))
        with open("/proc/self/net/tcp") as table:
            assert (ours, port) not in set(connections(table.read()))


@pytest.mark.skipif(bool(proc.unavailable()), reason="needs Linux's /proc")
def test_a_process_is_read_as_it_is() -> None:
    memory = proc.memory(os.getpid())
    assert 0 < memory.own <= memory.uss <= memory.rss
    before = proc.ran(os.getpid())
    until = time.monotonic() + 10
    while (proc.ran(os.getpid()) - before).ns == 0:  # The kernel adds up at each tick, some milliseconds apart.
        assert time.monotonic() < until
    assert proc.threads(os.getpid()) >= 1
    count = proc.descriptors(os.getpid())
    with open(os.devnull):
        assert proc.descriptors(os.getpid()) == count + 1


def test_what_the_sender_sends() -> None:
    size, _, rest = event(3).partition(b"\r\n")
    body = rest[:-2]
    assert int(size, 16) == len(body)
    [found] = EventParser().feed(body)
    assert isinstance(found, Event) and f"{3:064x}" in found.data
    assert EventParser().feed(HEARTBEAT) == []
    assert chunk(b"abc") == b"3\r\nabc\r\n"


def test_a_stream_is_named_by_its_path() -> None:
    assert stream_name("/ours_inline") == "ours_inline"
    assert stream_name("/v1/events/ours.3/stream") == "ours.3"
