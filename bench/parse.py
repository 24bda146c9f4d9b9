"""`parse`: what an event-stream parser takes for the same bytes, in the shapes in which streams really come.

Parsers are fed bytes, never a connection: each adapter uses the peer's own public way in (an iterator of chunks
where it has one). Each parser meets each input in a process of its own, so that one cannot pay for another's
garbage, and one that takes quadratic time is ended at a limit instead of holding up the rest. The time is the
best of several runs, the garbage collector left as it is; what comes out is checked, in number of events and
characters of data: a parser that gives something else is shown as wrong, with what it gave, and no speed.

The floor is no parser: it counts the line ends of each feed, as nothing that cuts lines can look at fewer bytes.

    python -m bench.parse PARSER INPUT RUNS      one cell, as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report
from bench.sender import event

CELL_SECONDS = 60.0

Parsed = tuple[int, int]
"""Number of events, and characters of data in all of them."""


@dataclass(frozen=True)
class Input:
    """Bytes cut into feeds, and what a right parser makes of them."""

    feeds: list[bytes]
    events: int
    characters: int


def cut(whole: bytes, size: int) -> list[bytes]:
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def relay_events(count: int) -> list[bytes]:
    """What wire's relay sends, without its chunk framing."""
    return [event(n).split(b"\r\n", 1)[1][:-2] for n in range(count)]


def _relay(count: int, size: int | None) -> Input:
    events = relay_events(count)
    characters = sum(len(one) - len(b"data: \n\n") for one in events)
    return Input(events if size is None else cut(b"".join(events), size), count, characters)


def _tokens(count: int) -> Input:
    one = b'event: token\nid: 7\ndata: {"t":"word"}\n\n'
    return Input(cut(one * count, 1400), count, count * len('{"t":"word"}'))


def _lines(count: int) -> Input:
    one = ": comment\r\ndata: first – line\r\ndata: second\r\nretry: 1000\r\n\r\n".encode()
    return Input(cut(one * count, 1400), count, count * len("first – line\nsecond"))


def _large(size: int) -> Input:
    return Input(cut(b"data: " + b"x" * size + b"\n\n", 16384), 1, size)


INPUTS: dict[str, tuple[str, Callable[[], Input]]] = {
    "relay": ("relay events, one a feed", lambda: _relay(20_000, None)),
    "bulk": ("relay events, 64 KiB feeds", lambda: _relay(20_000, 65536)),
    "tokens": ("tiny events with type and id, 1400 B feeds", lambda: _tokens(50_000)),
    "lines": ("CRLF, comments, two data lines, 1400 B feeds", lambda: _lines(30_000)),
    "large": ("one event of 8 MiB, 16 KiB feeds", lambda: _large(8 << 20)),
    "bytewise": ("relay events, 1 B feeds", lambda: _relay(400, 1)),
}


def parse_floor(feeds: list[bytes]) -> Parsed:
    """Counts line ends; there is nothing in its result to check."""
    return sum(feed.count(b"\n") for feed in feeds), 0


def parse_ours(feeds: list[bytes]) -> Parsed:
    from wire_rawsse import Event, EventParser

    parser = EventParser(max_event_bytes=1 << 30)
    events = characters = 0
    for feed in feeds:
        for item in parser.feed(feed):
            if isinstance(item, Event):
                events += 1
                characters += len(item.data)
    return events, characters


def parse_httpx_sse(feeds: list[bytes]) -> Parsed:
    import httpx
    from httpx_sse import EventSource

    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_HttpxStream(feeds))
    return _count(EventSource(response).iter_sse())


def parse_sseclient(feeds: list[bytes]) -> Parsed:
    import sseclient

    return _count(sseclient.SSEClient(iter(feeds)).events())


def parse_launchdarkly(feeds: list[bytes]) -> Parsed:
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ErrorStrategy

    # The end of the feeds is the end of its stream, which it would otherwise report as a fault.
    with SSEClient(_feeds_strategy(feeds), error_strategy=ErrorStrategy.always_fail()) as client:
        return _count(client.events)


def _count(events: Iterable[Any]) -> Parsed:
    number = characters = 0
    for one in events:
        number += 1
        characters += len(one.data)
    return number, characters


def _HttpxStream(feeds: list[bytes]) -> Any:
    import httpx

    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(feeds)

    return Stream()


def _feeds_strategy(feeds: list[bytes]) -> Any:
    from ld_eventsource.config import ConnectionClient, ConnectionResult, ConnectStrategy

    class Connection(ConnectionClient):  # type: ignore[misc]  # the package ships no types
        def connect(self, last_event_id: str | None) -> Any:
            return ConnectionResult(iter(feeds), None)

    class Strategy(ConnectStrategy):  # type: ignore[misc]  # the package ships no types
        def create_client(self, logger: Any) -> Any:
            return Connection()

    return Strategy()


PARSERS: dict[str, tuple[str, Callable[[list[bytes]], Parsed]]] = {
    "floor": ("floor: count line ends", parse_floor),
    "ours": ("wire_rawsse: EventParser", parse_ours),
    "httpx-sse": ("httpx-sse", parse_httpx_sse),
    "sseclient-py": ("sseclient-py", parse_sseclient),
    "launchdarkly": ("launchdarkly-eventsource", parse_launchdarkly),
}


def cell(parser: str, name: str, runs: int) -> dict[str, Any]:
    """Time one parser on one input, here. Gives seconds of each run, or what was wrong or missing."""
    given = INPUTS[name][1]()
    parse = PARSERS[parser][1]
    seconds: list[float] = []
    try:
        for _ in range(runs):
            start = time.perf_counter()
            got = parse(given.feeds)
            seconds.append(time.perf_counter() - start)
    except ImportError as error:
        return {"unavailable": str(error)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:200]}
    size = sum(map(len, given.feeds))
    if got != (given.events, given.characters) and parser != "floor":
        return {"wrong": f"{got[0]:,} of {given.events:,} events, {got[1]:,} of {given.characters:,} characters"}
    return {"seconds": seconds, "bytes": size, "events": given.events}


def measure(runs: int, on: Console, limit: float = CELL_SECONDS) -> dict[str, Any]:
    """Every parser on every input, each in a process of its own that is ended after `limit` seconds."""
    results: dict[str, dict[str, Any]] = {}
    with report.Noise() as noise, report.progress(on) as bar:
        task = bar.add_task("parse", total=len(INPUTS) * len(PARSERS))
        for name in INPUTS:
            results[name] = {}
            for parser in PARSERS:
                results[name][parser] = _in_process(parser, name, runs, limit)
                bar.advance(task)
                bar.refresh()
    return {
        "bench": "parse",
        "runs": runs,
        "environment": report.environment(),
        "noise": noise.facts,
        "inputs": results,
    }


def _in_process(parser: str, name: str, runs: int, limit: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.parse", parser, name, str(runs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"took over {limit:.0f} s"}
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(found: dict[str, Any]) -> Table:
    """MiB/s (best run) per input, with µs per event where there is one event a feed; × is time over the floor's."""
    grid = Table(title="parse", title_justify="left", caption_justify="left")
    grid.add_column("parser")
    for name in found["inputs"]:
        grid.add_column(INPUTS[name][0], justify="right")
    notes: list[str] = []
    for parser, (label, _) in PARSERS.items():
        row: list[str] = []
        for name, column in found["inputs"].items():
            one = column[parser]
            if "seconds" not in one:
                key = next(iter(one))
                row.append({"unavailable": "n/a", "wrong": "wrong"}.get(key, "failed"))
                notes.append(f"{label}, {name}: {key}: {one[key]}")
                continue
            best, floor = min(one["seconds"]), min(column["floor"]["seconds"])
            speed = f"{one['bytes'] / best / (1 << 20):,.1f} MiB/s"
            each = f"\n{best / one['events'] * 1e6:.2f} µs/event" if one["events"] > 1 else ""
            row.append(f"{speed}{each}\n× {best / floor:.1f}")
        grid.add_row(label, *row, style="bold" if parser == "ours" else None, end_section=True)
    grid.caption = "\n".join(
        ["best of the runs; × = time over the floor's, which only counts line ends", *dict.fromkeys(notes)]
    )
    return grid


def run(runs: int, out: Path, on: Console, limit: float = CELL_SECONDS) -> int:
    """Measure, print, save. The exit status: 1 if our parser has no figure somewhere, else 0."""
    found = measure(runs, on, limit)
    on.print(table(found))
    on.print(f"written: {report.save('parse', found, out)}")
    return 1 if any("seconds" not in column["ours"] for column in found["inputs"].values()) else 0


if __name__ == "__main__":
    print(json.dumps(cell(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
