"""`daemon` where `select` has neither epoll nor kqueue: on Windows, or once gevent or eventlet has patched it."""

from __future__ import annotations

import importlib.util
import re
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, Command, write_relay_json
from tests.cli.test_daemon import NEVER, Runs, settle
from tests.conftest import missing
from wire_rawsse import StreamSubscriber, SubscriberThread, WakeChannel, spawn_stream_subscriber
from wire_rawsse.cli import attention
from wire_rawsse.testing import RelayClient, RelayProcess, Slot
from wire_rawsse.wire.lock import held

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and signals are used to hold the command")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    made = Runs(tmp_path)
    yield made
    made.close()


def test_the_thread_host_stands_in_where_there_is_no_descriptor(
    relay: RelayProcess, client: RelayClient, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has neither epoll nor kqueue, nor has a Python that gevent or eventlet has patched."""
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.delattr(select, "kqueue", raising=False)
    subscriber = StreamSubscriber(f"{relay.url}{slot.path}/stream", bearer_token=slot.slot_token)
    attended = attention.attend(subscriber)
    try:
        assert select.select([attended.fileno()], [], [], PATIENCE)[0]
        assert attended.woken()  # The connection.
        client.post(slot, {"event_id": "1"})
        assert select.select([attended.fileno()], [], [], PATIENCE)[0]
        assert attended.woken() and not attended.woken()
    finally:
        attended.close()


GREEN = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent, but for threads": "from gevent import monkey; monkey.patch_all(thread=False)",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}


def patch(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in an interpreter that `library` has patched."""
    name = library.partition(",")[0]
    if importlib.util.find_spec(name) is None:
        missing(f"{name} (pip install -e '.[test]')")
    program = f"{GREEN[library]}; import sys; from wire_rawsse.cli import main; sys.exit(main())"
    monkeypatch.setattr("tests.cli.command.WORDS", [sys.executable, "-W", "ignore", "-c", program])


def test_the_lock_is_taken_before_the_thread_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread would take it in its first turn, and the daemon would hold itself for another subscriber."""
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.delattr(select, "kqueue", raising=False)
    path = str(tmp_path / "state.json")
    was_held = []

    def spawn(wake: WakeChannel, subscriber: StreamSubscriber) -> SubscriberThread:
        was_held.append(held(path))
        return spawn_stream_subscriber(wake, subscriber)

    monkeypatch.setattr(attention, "spawn_stream_subscriber", spawn)
    attended = attention.attend(StreamSubscriber("http://127.0.0.1:1/"), path)
    try:
        assert was_held == [True]
        with pytest.raises(attention.TakenError, match=re.escape(path)):
            attention.attend(StreamSubscriber("http://127.0.0.1:1/"), path)
    finally:
        attended.close()


@pytest.mark.parametrize("library", GREEN)
def test_it_runs_in_a_patched_interpreter(
    library: str,
    home: Path,
    relay: RelayProcess,
    slot: Slot,
    client: RelayClient,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """gevent and eventlet replace the modules that it waits with, and `subprocess`."""
    patch(library, monkeypatch)
    write_relay_json(home, (relay.url, slot))
    with Command("daemon", "--exec", runs.command(), *NEVER, home=home) as command:
        client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        settle(runs)
        for number in range(3):
            client.post(slot, {"event_id": str(number)})
            runs.hear("began")
            runs.hear("ended")
        status, _ = command.end(signal.SIGTERM)
        assert status == 0
        assert "Traceback" not in command.rest("stderr")


@pytest.mark.parametrize("library", GREEN)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_listen_in_a_patched_interpreter(
    library: str,
    number: signal.Signals,
    status: int,
    home: Path,
    relay: RelayProcess,
    slot: Slot,
    client: RelayClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patch(library, monkeypatch)
    token = tmp_path / "token"
    token.write_text(slot.slot_token)
    token.chmod(0o600)
    with Command("listen", "--token-file", str(token), f"{relay.url}{slot.path}/stream", home=home) as command:
        client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        assert command.end(number)[0] == status
        assert "Traceback" not in command.rest("stderr")
