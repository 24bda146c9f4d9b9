"""The demo's output: its texts and its table, in 80 columns, for a reader who does not know this package.

Every line says the same without colours and bars: on a dumb terminal, in a file, in an ASCII locale.
"""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from wire_rawsse.cli import stdio

WAKES: Final = (
    "The sender posts an event. The relay stamps it and writes it to the stream;\n"
    "the daemon, asleep in one system call, stamps its first instruction."
)
WEDGE: Final = (
    "From now on the relay's program sends nothing on the open stream, while its\n"
    "kernel goes on acknowledging. No connection breaks: TCP, and a client without\n"
    "a time-out on each read, notice nothing, ever."
)
_BAR_UNIT: Final = 20e-6
_LONGEST_BAR: Final = 19


class WakeTimes(NamedTuple):
    """The latencies of one event in seconds: from the relay's write, and from the sender's post, to the daemon."""

    event_id: str
    from_relay: float
    from_post: float


class Promise(NamedTuple):
    """A row of the table. `kept` is None for a figure without a promise."""

    what: str
    bound: str
    measured: str
    kept: bool | None


class Output:
    """Writes to standard output, each line as it happens."""

    def __init__(self) -> None:
        self._colours = stdio.has_colours(sys.stdout)

    def title(self) -> None:
        self._say(self._bold("wire-rawsse demo") + ": an event stream that cannot wedge, and wakes a daemon at once")
        self._say("")

    def opening(
        self, relay: int, url: str, sender: int, daemon: int, read: float, heartbeat: float, initial: float
    ) -> None:
        for name, pid, what in (
            ("relay", relay, f"serves {url}"),
            ("sender", sender, "posts events to the relay"),
            ("daemon", daemon, "sleeps on its event stream, pulls when it wakes"),
        ):
            self._say(f"  {self._bold(f'{name:<8}')}process {pid:<8}{what}")
        self._say("")
        self._say(
            self._faint(
                f"  The times are scaled down: a stream is dead after {read:g} s of silence (by\n"
                f"  default 75), the heartbeat comes every {heartbeat:g} s (30), and the first pause\n"
                f"  before a reconnect is at most {initial:g} s (1)."
            )
        )

    def section(self, title: str, text: str) -> None:
        self._say("")
        self._say(self._bold(title))
        for line in text.splitlines():
            self._say(self._faint(line))

    def wake(self, wake: WakeTimes) -> None:
        bar = "█" * min(_LONGEST_BAR, max(1, round(wake.from_relay / _BAR_UNIT)))
        post = self._faint(f"since its post {duration(wake.from_post):>8}")
        self._say(f"  {wake.event_id}  woke after {duration(wake.from_relay):>8}   {post}   {self._green(bar)}")

    def posted(self, events: int) -> None:
        self._say(f"  {events} events are posted meanwhile; they wake no one")

    def kernel(self, tcp: str | None) -> None:
        if tcp is not None:
            self._say(f"  a second later the kernel says of the daemon's connection: {self._yellow(tcp)}")

    def found(self, silence: float, why: str) -> None:
        self._say(f"  {self._green('noticed')} after {silence:.2f} s of silence; the daemon's log says:")
        reason, _, then = why.partition("; ")
        self._say(f"    {reason};")
        self._say(f"    {then}")

    def reconnected(self, seconds: float, events: int) -> None:
        self._say(
            f"  {self._green('reconnected')} {seconds:.2f} s later, which wakes the daemon; "
            f"it pulls the {events} events"
        )

    def table(self, promises: list[Promise]) -> None:
        self._say("")
        self._say(self._bold(f"{'Promise':<40}{'bound':<18}{'measured':<14}kept"))
        for what, bound, measured, kept in promises:
            mark = "" if kept is None else self._green("yes") if kept else self._red("NO")
            row = f"{what:<40}{bound:<18}{measured:<14}"
            self._say(self._faint(row.rstrip()) if kept is None else row + mark)
        self._say("")
        broken = sum(promise.kept is False for promise in promises)
        if broken:
            self._say(
                self._red(
                    f"{broken} {'promise was' if broken == 1 else 'promises were'} not kept on this machine, this time."
                )
            )
        else:
            self._say("All promises kept. For your own daemon: wire-rawsse daemon --help, or README.")

    def _say(self, line: str) -> None:
        stdio.write(stdio.plain(line, sys.stdout) + "\n")

    def _bold(self, text: str) -> str:
        return self._styled(text, "1")

    def _faint(self, text: str) -> str:
        return self._styled(text, "2")

    def _green(self, text: str) -> str:
        return self._styled(text, "32")

    def _yellow(self, text: str) -> str:
        return self._styled(text, "33")

    def _red(self, text: str) -> str:
        return self._styled(text, "1;31")

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


def duration(seconds: float) -> str:
    """With its unit: µs, ms or s."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
