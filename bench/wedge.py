"""`wedge`: how long until a client notices that its stream is dead, and whether it comes back by itself.

The server answers, greets with one event, and then misbehaves while its kernel goes on acknowledging, so that no TCP
keepalive can find out:

- silent: nothing more is sent.
- drip: one byte every quarter of the read timeout, inside a line that never ends; each `recv` succeeds.
- quiet: the control. A whole comment line every half of the read timeout: a live stream, which nobody may drop.

At first every stream is quiet but alive, until all clients have connected and the machine has come to rest: dozens of
interpreters that start at once are a fault of their own. Then the faults begin, for all in one moment.

All clients are connected at once, each in its own process, in each of the three; they sleep, so they do not
disturb each other. What counts is seen from the server's side alone: the moment the client's end of the first
connection is closed, and the moment the next connection of the same client arrives. A client that has done
neither when the window closes has not noticed. Packets are not dropped here: that is the business of the
fault-injection tests.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report, roster
from bench.sender import HEAD, event
from bench.wedge_clients import REQWEST, SUBJECTS

FAULTS = ("silent", "drip", "quiet")
CONNECT_SECONDS = 30.0
STEP_SECONDS = 0.05
REST_SECONDS = 2.0


@dataclass(frozen=True)
class Settings:
    """`read` is the setting given to each client that has one, `window` how long it is watched; seconds."""

    read: float = 5.0
    window: float = 90.0
    faults: tuple[str, ...] = FAULTS
    quick: bool = False


QUICK = Settings(read=1.0, window=4.0, quick=True)


@dataclass
class Seen:
    """One client under one fault. Seconds since the last whole line that it was sent while all was well (for
    the control: since the faults began for the others); None where it did not happen within the window.
    `early`: it dropped the live stream before any fault.
    """

    noticed: float | None = None
    back: float | None = None
    connections: int = 0
    said: str = ""
    early: bool = False
    since: float = field(default=0.0, repr=False)


@dataclass
class Stream:
    fault: str
    client: str
    before: bool
    due: float


class Server:
    """All faults on one port; the path is `/fault/client`. One thread, the caller's, inside `watch`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.setblocking(False)
        self.port = int(self.listener.getsockname()[1])
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.seen = {(fault, client): Seen() for fault in settings.faults for client in SUBJECTS}
        self.streams: dict[socket.socket, Stream] = {}
        self.opening: dict[socket.socket, bytes] = {}
        self.begun = False

    def close(self) -> None:
        for sock in [*self.streams, *self.opening, self.listener]:
            sock.close()
        self.selector.close()

    def turn(self, wait: float = STEP_SECONDS) -> None:
        """Wait at most `wait` seconds for anything to come, then send what is due."""
        for key, _ in self.selector.select(wait):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is self.listener:
                connection, _ = self.listener.accept()
                connection.setblocking(False)
                self.opening[connection] = b""
                self.selector.register(connection, selectors.EVENT_READ)
            elif sock in self.opening:
                self._open(sock)
            else:
                self._hear(sock)
        now = time.monotonic()
        for sock, stream in list(self.streams.items()):
            if now >= stream.due:
                self._misbehave(sock, stream, now)

    def _open(self, sock: socket.socket) -> None:
        try:
            received = sock.recv(65536)
        except OSError:
            received = b""
        self.opening[sock] += received
        if not received:
            self._forget(sock)
            return
        if b"\r\n\r\n" not in self.opening[sock]:
            return
        _, fault, client = self.opening.pop(sock).split(b" ", 2)[1].decode().split("/")
        seen = self.seen[fault, client]
        now = time.monotonic()
        seen.connections += 1
        if self.begun and seen.noticed is not None and seen.back is None:
            seen.back = now - seen.since
        seen.since = seen.since if self.begun else now
        with contextlib.suppress(OSError):
            sock.sendall(HEAD + event(0))
        self.streams[sock] = Stream(fault, client, not self.begun, now + self._pause(fault))

    def begin(self) -> None:
        """From now on each stream has its fault."""
        self.begun = True
        for stream in self.streams.values():
            stream.due = time.monotonic() + self._pause(stream.fault)

    def _pause(self, fault: str) -> float:
        if not self.begun:
            return self.settings.read / 4
        return {"silent": float("inf"), "drip": self.settings.read / 4, "quiet": self.settings.read / 2}[fault]

    def _misbehave(self, sock: socket.socket, stream: Stream, now: float) -> None:
        stream.due = now + self._pause(stream.fault)
        dripping = self.begun and stream.fault == "drip"
        if not self.begun:
            self.seen[stream.fault, stream.client].since = now
        with contextlib.suppress(OSError):
            sock.send(b"1\r\n:\r\n" if dripping else b"8\r\n: alive\n\r\n")

    def _hear(self, sock: socket.socket) -> None:
        try:
            if sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        stream = self.streams[sock]
        seen = self.seen[stream.fault, stream.client]
        if not self.begun:
            seen.early = True
        elif stream.before and seen.noticed is None:
            seen.noticed = time.monotonic() - seen.since
        self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        self.selector.unregister(sock)
        self.opening.pop(sock, None)
        self.streams.pop(sock, None)
        sock.close()


def measure(settings: Settings, on: Console) -> dict[str, Any]:
    """Start every client under every fault, watch for the window, end them; gives what the JSON file holds."""
    server = Server(settings)
    children: dict[tuple[str, str], subprocess.Popen[str]] = {}
    try:
        with report.Noise() as noise, report.progress(on) as bar:
            task = bar.add_task("wedge", total=settings.window)
            left_out = roster.left_out_of_quick() if settings.quick else {}
            try:
                if REQWEST in left_out:
                    raise roster.Unavailable(left_out[REQWEST])
                rust: str | roster.Unavailable = str(roster.build_rust())
            except roster.Unavailable as error:
                rust = error
            for fault, client in server.seen:
                url = f"http://127.0.0.1:{server.port}/{fault}/{client}"
                command = [sys.executable, "-m", "bench.wedge_clients", client, url, str(settings.read)]
                if client == REQWEST:
                    if isinstance(rust, roster.Unavailable):
                        server.seen[fault, client].said = f"unavailable: {rust}"
                        continue
                    command = [rust, url]
                # Standard input stays open: for the Rust peer its end would be the order to stop.
                children[fault, client] = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                )  # fmt: skip
                # Whoever is here already must not wait for its answer until the last one has been started.
                server.turn(0)
            limit = time.monotonic() + CONNECT_SECONDS
            while time.monotonic() < limit and any(
                not server.seen[key].connections and child.poll() is None for key, child in children.items()
            ):
                server.turn()
            rest = time.monotonic() + REST_SECONDS
            while time.monotonic() < rest:
                server.turn()
            server.begin()
            start = drawn = time.monotonic()
            while (now := time.monotonic()) < start + settings.window:
                server.turn()
                if now > drawn + 1:
                    drawn = now
                    bar.update(task, completed=now - start, refresh=True)
            bar.update(task, completed=settings.window, refresh=True)
    finally:
        # The verdict is what was seen up to here: closing is ours from now on.
        for key, child in children.items():
            child.kill()
            out, _ = child.communicate()
            server.seen[key].said = out.strip()
        server.close()
    results = {fault: {client: asdict(server.seen[fault, client]) for client in SUBJECTS} for fault in settings.faults}
    return {
        "bench": "wedge",
        "settings": asdict(settings),
        "environment": report.environment(),
        "noise": noise.facts,
        "faults": results,
    }


def table(found: dict[str, Any]) -> Table:
    """Seconds until the dead connection was let go of, and until the next one; the control must never be dropped."""
    read, window = found["settings"]["read"], found["settings"]["window"]
    grid = Table(title="wedge", title_justify="left", caption_justify="left")
    grid.add_column("client")
    for fault in found["faults"]:
        grid.add_column("quiet but alive" if fault == "quiet" else f"{fault}: noticed", justify="right")
        if fault != "quiet":
            grid.add_column("back by itself", justify="right")
    notes = [
        f"seconds; where a client has a setting against silence and its row names it, that is {read:g} s; "
        f"watched for {window:g} s; the kernel acknowledges all the time"
    ]
    for client, (label, _) in SUBJECTS.items():
        row: list[str] = []
        for fault, column in found["faults"].items():
            seen = column[client]
            if seen["early"]:
                row.extend(["[red]dropped alive", "-"][: 1 if fault == "quiet" else 2])
                continue
            if seen["connections"] == 0:
                row.extend(["n/a"] * (1 if fault == "quiet" else 2))
                if fault == next(iter(found["faults"])):
                    notes.append(f"not available: {label}: {seen['said'].partition(': ')[2] or 'it never connected'}")
                continue
            if fault == "quiet":
                row.append("kept" if seen["noticed"] is None else f"[red]dropped after {seen['noticed']:.1f}")
                continue
            noticed, back = seen["noticed"], seen["back"]
            row.append(f"[red]not in {window:g}" if noticed is None else f"{noticed:.2f}")
            row.append("-" if noticed is None else "no" if back is None else f"{back:.2f}")
        grid.add_row(label, *row, style="bold" if client.startswith("ours") else None)
    grid.caption = "\n".join(notes)
    return grid


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save. The exit status: 1 if one of ours never connected or dropped the live stream, else 0."""
    found = measure(settings, on)
    on.print(table(found))
    on.print(f"written: {report.save('wedge', found, out)}")
    ours = [(fault, name) for fault in found["faults"] for name in SUBJECTS if name.startswith("ours")]
    seen = found["faults"]
    bad = [
        (fault, name)
        for fault, name in ours
        if not seen[fault][name]["connections"]
        or seen[fault][name]["early"]
        or (fault == "quiet" and seen[fault][name]["noticed"] is not None)
    ]
    return 1 if bad else 0
