"""Our `daemon` in the place of wire's own: wire's relay, wire's files, and `wire status` for a reader.

The safety net, a run every few seconds, is put off for an hour: what arrives here arrives because of a wake. The two
runs that no event asks for, at the start and on the connect, can fetch two events at the most; so more are posted, each
after the one before it has arrived.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Command, wait_until
from tests.interop.support import Agent, WiresRelay
from wire_rawsse.testing.client import RelayClient

pytestmark = pytest.mark.interop


class Daemon:
    """`wire-rawsse daemon` as the agent's, and the inbox that its command fills."""

    def __init__(self, agent: Agent, inbox: Path) -> None:
        self._agent = agent
        self.inbox = inbox
        pull = shlex.join([sys.executable, "-m", "tests.interop.pull", str(inbox)])
        self._options = ("--exec", pull, "--interval", "3600", "--verbose")

    def start(self) -> Command:
        return Command("daemon", *self._options, home=self._agent.home)

    def has(self, *ids: str) -> None:
        """Wait until exactly these events have come, in this order."""
        wait_until(lambda: self.inbox.exists() and self.inbox.read_text().split() == list(ids))

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._agent.stream_state.read_text())
        return found

    def is_(self, word: str) -> dict[str, Any]:
        """Wait until stream_state.json says so."""
        wait_until(lambda: self._agent.stream_state.exists() and self.state()["state"] == word)
        return self.state()


@pytest.fixture
def daemon(agent: Agent, tmp_path: Path) -> Daemon:
    return Daemon(agent, tmp_path / "inbox")


def test_what_is_posted_wakes_and_is_pulled(agent: Agent, client: RelayClient, daemon: Daemon) -> None:
    client.post(agent.slot, {"event_id": "before"})
    with daemon.start() as command:
        daemon.has("before")
        daemon.is_("connected")
        posted = ["before"]
        for number in range(5):
            posted.append(f"e{number}")
            client.post(agent.slot, {"event_id": posted[-1]})
            daemon.has(*posted)
        assert command.end(signal.SIGTERM)[0] == 0
        told = command.rest("stderr")
        assert told.count("because of a wake") >= 3
        assert agent.slot.slot_token not in told + agent.stream_state.read_text()


def test_wire_status_reads_what_the_daemon_writes(
    agent: Agent, wires: WiresRelay, client: RelayClient, daemon: Daemon
) -> None:
    with daemon.start():
        daemon.is_("connected")
        assert agent.stream_line() == "stream: connected (last event never, reconnects 0)"
        client.post(agent.slot, {"event_id": "e1"})
        daemon.has("e1")
        # An event alone is no reason to write the file; the following is.
        wires.kill()
        wires.start()
        state = wait_until(lambda: (now := daemon.state())["state"] == "connected" and now["reconnect_count"] and now)
        assert state["last_event_at"] is not None
        told = f"last event {state['last_event_at']}, reconnects {state['reconnect_count']}"
        assert agent.stream_line() == f"stream: connected ({told})"
        given = json.loads(agent.run("status", "--json"))["daemon"]["stream_state"]
        assert given == state
        assert [one["state"] for one in given["endpoints"]] == ["connected"]


def test_a_relay_killed_and_started_again(agent: Agent, wires: WiresRelay, client: RelayClient, daemon: Daemon) -> None:
    with daemon.start():
        client.post(agent.slot, {"event_id": "e1"})
        daemon.has("e1")
        daemon.is_("connected")
        wires.kill()
        wait_until(lambda: daemon.state()["state"] != "connected")
        # wire shows whatever the word is by now: it is on its way from one to the next.
        assert "reconnects 0)" not in agent.stream_line()
        assert "refused" in wait_until(lambda: "refused" in (told := daemon.state()["last_error"]) and told)
        wires.start()
        # The stream is not there yet, so nothing will carry this one: only the wake of the reconnect can fetch it.
        client.post(agent.slot, {"event_id": "e2"})
        daemon.has("e1", "e2")
        assert daemon.is_("connected")["reconnect_count"] >= 1
        client.post(agent.slot, {"event_id": "e3"})
        daemon.has("e1", "e2", "e3")


def test_wires_own_pull_is_what_it_runs(agent: Agent, client: RelayClient, tmp_path: Path) -> None:
    """As in the example of --help. These events are unsigned: wire refuses and names each, at every pull."""
    told = tmp_path / "told"
    pull = shlex.join(["sh", "-c", f"{shlex.quote(agent.program)} pull --json >> {shlex.quote(str(told))}"])
    with Command("daemon", "--exec", pull, "--interval", "3600", home=agent.home):
        wait_until(lambda: agent.stream_state.exists() and '"connected"' in agent.stream_state.read_text())
        for name in ("event-1", "event-2", "event-3", "event-4"):
            client.post(agent.slot, {"event_id": name})
            wait_until(partial(holds, told, name))


def holds(file: Path, text: str) -> bool:
    return file.exists() and text in file.read_text()
