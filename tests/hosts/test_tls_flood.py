"""A TLS 1.3 server floods: KeyUpdates, session tickets, records of one byte. No step is long, and every clock is true.

KeyUpdates and tickets (RFC 8446 §4.6) are no data. One `SSL_read` on a socket consumes them for as long as they come:
deadlines, `close` and `stop` would wait for the peer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.support import NEVER, PATIENCE, InThread, error_of, poll_until
from tests.support.openssl import Flood, OpenSSL
from tests.support.trust import Authority
from wire_rawsse import StreamSubscriber, Timeouts, WakeChannel, spawn_stream_subscriber
from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.handle import Handle
from wire_rawsse.hosts.interfaces import Poller

try:
    OpenSSL()
except LookupError as error:
    pytest.skip(f"{error}; use a Python that is linked with the system's libssl", allow_module_level=True)

KINDS = ["key updates", "key updates with answers", "tickets", "one-byte records"]
MANY = 40_000
"""KeyUpdates take their receiver more than a second of processor time."""
LONGEST_STEP = 0.2
"""Seconds of processor time. The promise is 0.02; instrumented and slow machines take longer."""
SLACK = 5.0

Start = Callable[..., Flood]


@pytest.fixture(scope="session")
def chain_file(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("flood") / "server.pem"
    authority.ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.fixture
def flood(chain_file: Path) -> Iterator[Start]:
    made: list[Flood] = []

    def start(kind: str, *, endless: bool = True) -> Flood:
        made.append(Flood(chain_file, kind, MANY, endless=endless))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of processor time from the return of each poll to the beginning of the next."""
    taken: list[float] = []
    open_ = Handle.open

    def open_timed(self: Handle) -> Poller:
        opened = self.watch.poller
        if opened is not None:
            return opened
        poller: Any = open_(self)
        poll = poller.poll
        returned: list[float] = []

        def timed(timeout: float | None, room: int) -> Any:
            if returned:
                taken.append(time.thread_time() - returned.pop())
            events = poll(timeout, room)
            returned.append(time.thread_time())
            return events

        poller.poll = timed
        return poller  # type: ignore[no-any-return]

    monkeypatch.setattr(Handle, "open", open_timed)
    return taken


def subscribe(server: Flood, ca_file: str, read: float = 60.0) -> StreamSubscriber:
    return StreamSubscriber(server.url, tls=ca_file, timeouts=Timeouts(read=read, min_rate=0), backoff=NEVER)


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_is_long_and_waits_return_in_time(kind: str, flood: Start, ca_file: str, steps: list[float]) -> None:
    """To the end of the flood, and the event after it is heard of."""
    server = flood(kind, endless=False)
    with subscribe(server, ca_file) as subscriber:
        assert subscriber.wait(PATIENCE)
        longest = 0.0
        woken = False
        while not (server.sent.is_set() and woken):
            began = time.monotonic()
            woken = subscriber.wait(0.05) and server.sent.is_set()
            longest = max(longest, time.monotonic() - began)
            assert subscriber.state.reconnect_count == 0 and not error_of(subscriber)
        assert not subscriber.wait(0)  # The last step, too, is followed by a poll.
        print(f"{kind}: {len(steps)} steps, the longest {max(steps) * 1000:.1f} ms; longest wait {longest:.2f} s")
    assert longest < 0.05 + SLACK
    assert max(steps[1:]) < LONGEST_STEP


@pytest.mark.parametrize("kind", KINDS)
def test_close_takes_effect_at_once(kind: str, flood: Start, ca_file: str) -> None:
    server = flood(kind)
    subscriber = subscribe(server, ca_file)

    def wait_for_ever() -> None:
        with pytest.raises(ClosedError):
            while True:
                subscriber.wait(PATIENCE)

    host = InThread(wait_for_ever)
    assert server.begun.wait(PATIENCE)
    subscriber.close()
    host.result()


@pytest.mark.parametrize("kind", KINDS[:3])
def test_stop_takes_effect_at_once(kind: str, flood: Start, ca_file: str) -> None:
    server = flood(kind)
    thread = spawn_stream_subscriber(WakeChannel(), subscribe(server, ca_file))
    assert server.begun.wait(PATIENCE)
    thread.stop(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("kind", KINDS[:3])
def test_what_is_no_data_is_no_life(kind: str, flood: Start, ca_file: str) -> None:
    """The clock of `read` fires in the middle of the flood."""
    server = flood(kind)
    with subscribe(server, ca_file, read=0.1) as subscriber:
        poll_until(subscriber, lambda: error_of(subscriber))
        assert "silent for read=0.1 s" in error_of(subscriber)
