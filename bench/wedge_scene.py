"""The scene of `wedge`: four relays, all clients under all faults at once, and an observer. Its own process, so that
it can be started in a network namespace of its own.

    python -m bench.wedge_scene '{"read": 75, "window": 310, …}'

In namespaces the relays are in one and the clients, with us, in another; the wire between them is cut by dropping
packets both ways (nft). The streams of `address` have addresses of their own at both ends, so that only they lose
theirs. Without namespaces all are on loopback, without these two faults.

The measure is the state of the client's first connection in its own kernel: as long as it is ESTABLISHED the client has
not noticed (/proc/net/tcp, read 20 times a second). This is the same for all clients, and unlike the relay's view it is
available when the wire is cut. The relay says whether a client has reconnected. Standard output: lines `progress
SECONDS OF`, then one JSON line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import roster, scenario, space
from bench.limits import limit
from bench.wedge_clients import REQWEST

LOOK_SECONDS = 0.05
CONNECT_SECONDS = 60.0
REST_SECONDS = 2.0
HEARTBEATS = 4
"""So many before the fault: the first follows an event and teaches nothing."""
AFTER_HEARTBEAT = 0.1
"""Seconds from a heartbeat to the fault: it has reached all clients."""
OWN_INSIDE, OWN_OUTSIDE = "10.99.1.1", "10.99.1.2"
"""The client's address that is removed under `address`, and the relay's address that is reached from it."""
AT_ONCE = 6
ESTABLISHED = "01"


@dataclass(frozen=True)
class Plan:
    """Seconds: `read` is the setting given to each client that has one, `beat` and `drip` the relay's, `window` how
    long is watched, `heal` how long after everything is well again. `clients` are names of `wedge_clients`.
    """

    read: float
    beat: float
    drip: float
    window: float
    heal: float
    namespaces: bool
    faults: list[str]
    clients: list[str]
    rust: str


@dataclass
class Seen:
    """One client under one fault. Seconds since the last sign of life; `back` since it noticed (drip), or since all was
    well again (the others). None where it did not happen. `early`: it dropped its stream before any fault."""

    noticed: float | None = None
    back: float | None = None
    early: bool = False
    connections: int = 0
    said: str = ""
    first: tuple[int, int] = field(default=(0, 0), repr=False)
    """The ports of its first connection, ours and the relay's: a local port alone may be in use towards two relays."""


class RelayProcess:
    """One relay, what it says read by a thread into `scene`."""

    def __init__(self, scene: Scene, process: subprocess.Popen[str]) -> None:
        self.scene, self.process = scene, process
        assert process.stdout is not None
        with limit(process, CONNECT_SECONDS):
            self.port = int(process.stdout.readline().split()[1])
        self.begun = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "begun\n":
                self.begun.set()
            elif line.startswith("connected "):
                _, path, port = line.split()
                self.scene.connected(path, (int(port), self.port))

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("begin\n")
        self.process.stdin.flush()
        self.begun.wait(CONNECT_SECONDS)


class Scene:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.address = space.OUTSIDE if plan.namespaces else scenario.LOOPBACK
        self.seen = {f"{fault}/{client}": Seen() for fault in plan.faults for client in plan.clients}
        self.children: dict[str, subprocess.Popen[str]] = {}
        self.relays: dict[str, RelayProcess] = {}
        self.began = self.healed = float("inf")

    def run(self) -> None:
        try:
            self._start_relays()
            self._start_clients()
            time.sleep(REST_SECONDS)
            self._await_heartbeat(HEARTBEATS)
            established = self._established()
            for seen in self.seen.values():
                seen.early = seen.connections > 0 and seen.first not in established
            self._break()
            self._watch(self.began + self.plan.window)
            self._heal()
            self._watch(self.healed + self.plan.heal)
        finally:
            for path, child in self.children.items():
                child.kill()
                out, _ = child.communicate()
                self.seen[path].said = out.strip().splitlines()[-1] if out.strip() else ""
            for relay in self.relays.values():
                relay.process.kill()
                relay.process.wait()

    def _start_relays(self) -> None:
        times = [str(self.plan.beat), str(self.plan.drip)]
        kinds = ("live", "stopped", "blackhole", "address") if self.plan.namespaces else ("live", "stopped")
        for kind in kinds:
            command = [sys.executable, "-m", "bench.wedge_relay", self._address(kind), *times]
            if not self.plan.namespaces:
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            elif not self.relays:
                process = space.beside(command)
            else:
                inside = [*space.within(self.relays["live"].process.pid), *command]
                process = subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.relays[kind] = RelayProcess(self, process)
            if kind == "live" and self.plan.namespaces:
                self._ip("add", OWN_INSIDE)
                within = space.within(process.pid)
                subprocess.run([*within, "ip", "address", "add", f"{OWN_OUTSIDE}/24", "dev", "bench1"], check=True)

    def _address(self, fault: str) -> str:
        return OWN_OUTSIDE if fault == "address" else self.address

    def _ip(self, verb: str, address: str) -> None:
        subprocess.run(["ip", "address", verb, f"{address}/24", "dev", "bench0"], check=True, timeout=CONNECT_SECONDS)

    def _relay(self, fault: str) -> RelayProcess:
        return self.relays.get(fault, self.relays["live"])

    def _start_clients(self) -> None:
        started: list[str] = []
        for path in self.seen:
            fault, _, client = path.partition("/")
            url = f"http://{self._address(fault)}:{self._relay(fault).port}/{path}"
            command = [roster.interpreter(client), "-m", "bench.wedge_clients", client, url, str(self.plan.read)]
            if client == REQWEST:
                command = [self.plan.rust, url]
            # Standard input stays open: for the Rust peer its end would be the order to stop.
            self.children[path] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            started.append(path)
            self._wait_for(started, AT_ONCE)
        self._wait_for(started, 0)

    def _wait_for(self, started: list[str], allowed: int) -> None:
        """Until no more than so many of those that were started are still on their way."""
        deadline = time.monotonic() + CONNECT_SECONDS
        while time.monotonic() < deadline:
            waiting = [p for p in started if not self.seen[p].connections and self.children[p].poll() is None]
            if len(waiting) <= allowed:
                return
            time.sleep(0.02)

    def _break(self) -> None:
        """All faults in one moment, just after the last sign of life."""
        self.began = self._await_heartbeat(1)
        for relay in self.relays.values():
            relay.begin()
        os.kill(self.relays["stopped"].process.pid, signal.SIGSTOP)
        if self.plan.namespaces:
            port = self.relays["blackhole"].port
            rules = (
                "table ip wedge {\n"
                f"chain input {{ type filter hook input priority 0; tcp dport {port} drop; }}\n"
                f"chain output {{ type filter hook output priority 0; tcp sport {port} drop; }}\n"
                "}\n"
            )
            self._nft(rules)
            self._ip("del", OWN_INSIDE)

    def _await_heartbeat(self, count: int) -> float:
        """Sleep until just after the relays' next heartbeats, so many of them; when the last one was."""
        beat = self.plan.beat
        last = (time.monotonic() // beat + count) * beat
        time.sleep(max(0.0, last + AFTER_HEARTBEAT - time.monotonic()))
        return last

    def _heal(self) -> None:
        self.healed = time.monotonic()
        os.kill(self.relays["stopped"].process.pid, signal.SIGCONT)
        if self.plan.namespaces:
            self._nft("delete table ip wedge")
            self._ip("add", OWN_INSIDE)

    def _nft(self, rules: str) -> None:
        inside = space.within(self.relays["live"].process.pid)
        subprocess.run([*inside, "nft", "-f", "-"], input=rules, text=True, check=True, timeout=CONNECT_SECONDS)

    def _watch(self, until: float) -> None:
        said = 0.0
        while (now := time.monotonic()) < until:
            established = self._established()
            for seen in self.seen.values():
                if seen.noticed is None and seen.connections and seen.first not in established:
                    seen.noticed = max(0.0, now - self.began)
            if now > said + 1:
                said = now
                total = self.plan.window + self.plan.heal
                print(f"progress {min(total, now - self.began):.0f} {total:.0f}", flush=True)
            time.sleep(LOOK_SECONDS)

    def _established(self) -> set[tuple[int, int]]:
        """The ports, ours and the other end's, of all connections that this side's kernel takes for alive."""
        return set(connections(Path("/proc/self/net/tcp").read_text()))

    def connected(self, path: str, ports: tuple[int, int]) -> None:
        """A relay says that a client has connected. Called by the relays' threads."""
        seen = self.seen.get(path)
        if seen is None:
            return
        seen.connections += 1
        now = time.monotonic()
        if seen.connections == 1:
            seen.first = ports
        elif self.began < now and seen.back is None and ports != seen.first:
            if path.startswith(("stopped", "blackhole", "address")):
                seen.back = max(0.0, now - self.healed) if now >= self.healed else None
            elif seen.noticed is not None:
                seen.back = max(0.0, now - self.began - seen.noticed)


def connections(table: str) -> Iterator[tuple[int, int]]:
    """(local port, remote port) of each established connection in /proc/net/tcp's text (proc(5))."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == ESTABLISHED:
            yield int(fields[1].partition(":")[2], 16), int(fields[2].partition(":")[2], 16)


def main() -> None:
    scene = Scene(Plan(**json.loads(sys.argv[1])))
    scene.run()
    print(json.dumps({path: asdict(seen) for path, seen in scene.seen.items()}))


if __name__ == "__main__":
    main()
