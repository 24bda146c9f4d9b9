"""wire's own daemon, its relay stopped with SIGSTOP: how long does its stream_state.json go on saying `connected`?

`python -m tests.interop.original_under_sigstop [QUIET [STOPPED]]` (seconds, default 70 and 120), with wire on PATH or
in `WIRE_BIN`. It starts wire's relay and wire's daemon on loopback with an identity of their own, and beside them our
`python -m tests.interop.original_under_sigstop [QUIET [STOPPED]]` (seconds, default 70 and 120), with wire on PATH or
nothing wrong, because what happens then anyway is no sign of having noticed; then with the relay stopped; then with it
continued. No part of the tests' run: what it shows is another program's behaviour.

Our read timeout is the default, 75 s: the two are compared as they come.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.cli.command import Command, wait_until
from tests.interop.support import Agent, Program, WiresRelay
from tests.wire import needs


class WiresDaemon(Program):
    def __init__(self, agent: Agent, folder: Path) -> None:
        folder.mkdir()
        super().__init__([agent.program, "daemon"], agent.environ, folder)
        self._agent = agent

    def reachable(self) -> bool:
        """Nobody reaches a daemon; it is there once its stream is."""
        return state_of(self._agent).get("state") == "connected"

    def __enter__(self) -> WiresDaemon:
        self.start()
        return self


def state_of(agent: Agent) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(agent.stream_state.read_text())
    except (OSError, ValueError):  # Not there yet; or half-written, which the original's can be seen to be.
        return {}
    return found


def told(state: dict[str, Any]) -> str:
    text = f"{state.get('state')}, reconnects {state.get('reconnect_count')}"
    return text + (f" ({state['last_error']})" if state.get("last_error") else "")


def watch(agents: dict[str, Agent], seconds: float, began: float) -> None:
    """Print each change of a state until so many seconds after `began`."""
    last: dict[str, str] = {}
    while time.monotonic() < began + seconds:
        for name, agent in agents.items():
            now = told(state_of(agent))
            if now != last.get(name):
                last[name] = now
                say(began, f"{name}: {now}")
        time.sleep(0.1)


def say(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)


def sockets(port: int) -> list[str]:
    """The kernel's view of the daemons' connections, as seen from the clients' side."""
    shown = subprocess.run(["ss", "-Htno", f"dport = :{port}"], capture_output=True, text=True).stdout
    return [" ".join(line.split()) for line in shown.splitlines()]


def main(quiet: float, stopped: float) -> None:
    print(subprocess.run([needs.wire(), "--version"], capture_output=True, text=True).stdout.strip())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("original", "ours"):
            (folder / part).mkdir()
        with WiresRelay(folder / "relay") as relay:
            agents = {part: Agent(folder / part, relay.url) for part in ("original", "ours")}
            options = ("--exec", "true", "--interval", "3600")
            with (
                WiresDaemon(agents["original"], folder / "log"),
                Command("daemon", *options, home=agents["ours"].home, stderr=subprocess.DEVNULL),
            ):
                wait_until(lambda: state_of(agents["ours"]).get("state") == "connected")
                began = time.monotonic()
                say(began, "both are connected, and nothing is wrong")
                watch(agents, quiet, began)
                began = time.monotonic()
                relay.suspend()
                say(began, "the relay is stopped (SIGSTOP); its kernel goes on answering")
                watch(agents, stopped, began)
                for line in sockets(int(relay.url.rpartition(":")[2])):
                    say(began, f"the kernel: {line}")
                for part, agent in agents.items():
                    say(began, f"at the end {part}: {told(state_of(agent))}")
                relay.resume()
                say(began, "the relay is continued")
                watch(agents, stopped + 35, began)


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:3]]
    main(*given, *(70.0, 120.0)[len(given) :])
