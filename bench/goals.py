"""The goals of the library, and how far they are met: ratios out of the results of one run of `wake`, `cost`, `many`
and `parse`.

Pure: takes what the result files hold, gives rows. A ratio of wakes is the median of the rounds' ratios, each of two
medians of the same round; the tail is p99 over all rounds, and must not be worse than that of a peer which is beaten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench import many_table, roster
from bench.cost_table import colder
from bench.stats import Summary, ratio, ratio_of_percentiles, revive, spread

MIB = 1 / 1024
MET, MISSED, TAIL_MISSED = "met", "missed", "missed: p99 is worse"
NOT_MET = (MISSED, TAIL_MISSED)


@dataclass(frozen=True)
class Row:
    """One promise. `value` is (middle, smallest, largest), None where it was not measured; `bound` is None for what is
    only told. `at_least` turns the comparison round; `tail` is the ratio of p99, `tail_counts` whether it is a promise.
    """

    what: str
    value: tuple[float, float, float] | None
    bound: float | None
    at_least: bool = False
    tail: float | None = None
    tail_counts: bool = False

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        if self.bound is None:
            return "-"
        met = self.value[0] >= self.bound if self.at_least else self.value[0] <= self.bound
        if not met:
            return MISSED
        return TAIL_MISSED if self.tail_counts and self.tail is not None and self.tail > 1 else MET


def rows(results: dict[str, dict[str, Any]]) -> list[Row]:
    """All of them, from results by name; a missing one is reported as not measured."""
    return [
        *_wakes(results.get("wake", {})),
        *_costs(results.get("cost", {})),
        *_many(results.get("many")),
        _parser(results.get("parse", {})),
    ]


EVERY_PEER = tuple(client.name for client in (*roster.PEERS, *roster.BOUNDS) if client.name not in roster.PYCURL[2:])
HANDING_OVER = tuple(
    client.name
    for client in roster.PEERS
    if client not in roster.IN_ASYNCIO
    and not client.name.startswith("aiohttp")
    and client.name not in roster.PYCURL[2:]
)
# of, to, bound for http and https (None: only told), whether `to` is a peer
_WAKES: tuple[tuple[str, str, Sequence[str], float | None, float | None, bool], ...] = (
    ("inline ÷ CPython poll + recv", "ours_inline", ("floor_poll",), 1.12, 1.15, False),
    ("inline ÷ CPython threaded recv", "ours_inline", roster.THREAD_FLOORS, 0.82, 0.92, False),
    ("thread ÷ CPython threaded recv", "ours_thread", roster.THREAD_FLOORS, 1.08, 1.10, False),
    ("inline ÷ pycurl", "ours_inline", roster.PYCURL[:2], 0.75, 0.80, True),
    ("thread ÷ pycurl", "ours_thread", roster.PYCURL[:2], 1.00, 0.98, True),
    # libcurl without its own loop: no peer as its documentation shows it, so it is told without a bound.
    ("inline ÷ pycurl multi, own epoll", "ours_inline", roster.PYCURL[2:], None, None, True),
    ("thread ÷ pycurl multi, own epoll", "ours_thread", roster.PYCURL[2:], None, None, True),
    ("inline ÷ fastest pure-Python peer", "ours_inline", roster.PURE, 0.60, None, True),
    ("thread ÷ fastest pure-Python peer", "ours_thread", roster.PURE, 0.80, None, True),
    # Both once more, with the hand-over that suits a peer best; the promises speak of the one that suits the floors.
    ("inline ÷ pycurl, eventfd", "ours_inline", ("pycurl_easy_eventfd",), None, None, True),
    ("thread ÷ pycurl, eventfd", "ours_thread", ("pycurl_easy_eventfd",), None, None, True),
    ("inline ÷ launchdarkly, eventfd", "ours_inline", ("launchdarkly_eventfd",), None, None, True),
    ("thread ÷ launchdarkly, eventfd", "ours_thread", ("launchdarkly_eventfd",), None, None, True),
    ("EventSource ÷ launchdarkly, eventfd", "ours_source", ("launchdarkly_eventfd",), None, None, True),
    ("inline ÷ Rust reqwest + channel", "ours_inline", ("reqwest",), 1.00, None, True),
    ("EventSource ÷ fastest pure-Python peer", "ours_source", roster.PURE, 0.75, None, True),
    ("inline ÷ fastest peer, main thread or not", "ours_inline", EVERY_PEER, 0.93, 0.90, True),
    ("thread ÷ fastest peer that hands over", "ours_thread", HANDING_OVER, None, 0.93, True),
    ("asyncio, await wait() ÷ aiohttp's raw content", "ours_asyncio", ("aiohttp_raw",), 0.70, 0.70, True),
    ("asyncio, await wait() ÷ httpx-sse", "ours_asyncio", ("httpx_sse_asyncio",), 0.50, 0.50, True),
    ("asyncio, on_wake ÷ inline", "ours_asyncio_on_wake", ("ours_inline",), 1.35, 1.35, False),
    # How much of that asyncio itself takes.
    ("asyncio, add_reader + recv ÷ inline", "floor_asyncio", ("ours_inline",), None, None, False),
    ("asyncio, on_wake ÷ add_reader + recv", "ours_asyncio_on_wake", ("floor_asyncio",), None, None, False),
    ("uvloop, await wait() ÷ aiohttp's raw content", "ours_uvloop", ("aiohttp_raw_uvloop",), 0.80, 0.80, True),
)


def _wakes(found: dict[str, Any]) -> Iterator[Row]:
    for scenario in ("http over loopback", "https over loopback"):
        part = found.get("scenarios", {}).get(scenario, {"clients": {}})
        known = {name: summary for name, fields in part["clients"].items() if (summary := revive(fields))}
        for what, of, among, http, https, peer in _WAKES:
            to = _fastest(known, among)
            scheme = scenario.split()[0]
            bound = http if scheme == "http" else https
            named = f"{what}, {scheme}" + (f" ({roster.BY_NAME[to].label})" if to and len(among) > 1 else "")
            mine, its = known.get(of), known.get(to or "")
            if bound is None and its is None:
                continue
            yield Row(named, ratio(mine, its), bound, tail=ratio_of_percentiles(mine, its, 99), tail_counts=peer)


def _fastest(known: dict[str, Summary], among: Sequence[str]) -> str | None:
    there = [name for name in among if name in known]
    return min(there, key=lambda name: known[name].percentiles[50]) if there else None


def _costs(found: dict[str, Any]) -> Iterator[Row]:
    for scheme, trust in (("http", ""), ("https", ""), ("https", "default trust, ")):
        clients = found.get("alone", {}).get(scheme, {"clients": {}})["clients"]
        base = [run["uss"] * MIB for run in clients.get("base_socket", {}).get("idle", [])]
        name = "ours_default_trust" if trust else "ours_inline"
        mine = [run["uss"] * MIB for run in clients.get(name, {}).get("idle", [])]
        above = None
        if base and mine:
            middle, low, high = spread(mine)
            above = middle - spread(base)[0], low - spread(base)[0], high - spread(base)[0]
        yield Row(f"memory over the baseline, {trust}{scheme}, MiB", above, 1.5)
    imports = found.get("imports", {})
    pairs = zip(imports.get("ours", {}).get("cpu_us", []), imports.get("floor", {}).get("cpu_us", []), strict=False)
    yield Row("import and a StreamSubscriber ÷ import socket, h11", _spread([a / b for a, b in pairs]), 1.4)
    clients = found.get("alone", {}).get("http", {"clients": {}})["clients"]
    ours, counted = clients.get("ours_inline", {}), found.get("instructions", {}).get("http", {})
    # httpx-sse as its documentation shows it is what the promise names; beside the rest it is told without a bound.
    for name in ("httpx_sse_stock", "httpx_sse_tuned", *_others(clients)):
        peer, bound = clients.get(name, {}), 0.5 if name == "httpx_sse_stock" else None
        to, hands_over = roster.BY_NAME[name].label, name in roster.PYCURL[:2]
        value = _spread(_divided(ours.get("event_us"), peer.get("event_us")))
        yield Row(f"CPU per wake ÷ {to}", value, 1.0 if hands_over else bound)
        yield Row(f"CPU per wake at 1 a second ÷ {to}", _spread(_divided(_cold(ours), _cold(peer))), bound)
        both = [counted.get(one, {}).get("event") for one in ("ours_inline", name)]
        yield Row(f"instructions per wake ÷ {to}", _spread([both[0] / both[1]] if all(both) else []), None)
    for of, to in (("ours_asyncio", "aiohttp_raw"), ("ours_uvloop", "aiohttp_raw_uvloop")):
        mine, its = clients.get(of, {}), clients.get(to, {})
        what = roster.BY_NAME[to].label
        yield Row(
            f"CPU per wake, await wait() ÷ {what}", _spread(_divided(mine.get("event_us"), its.get("event_us"))), 1.0
        )
        less = [run["rss"] * MIB for run in mine.get("idle", [])], [run["rss"] * MIB for run in its.get("idle", [])]
        below = _spread([spread(less[1])[0] - one for one in less[0]]) if all(less) else None
        yield Row(f"RSS, await wait() below {what}, MiB", below, 8.0, at_least=True)
    calls = ours.get("heartbeat_calls")
    yield Row("system calls per heartbeat, inline, http", _spread([sum(calls.values())] if calls else []), 4.0)


def _many(found: dict[str, Any] | None) -> Iterator[Row]:
    """The goals of many streams. In brackets: the same of a bare loop, which only polls and receives."""
    for goal in many_table.goals(found or {"programs": {}, "opening": {}, "instructions": {}, "late_ms": []}):
        value = None if goal.value is None else (goal.value, goal.value, goal.value)
        yield Row(goal.what if goal.bare is None else f"{goal.what} (bare loop: {goal.bare:.2f})", value, goal.bound)


def _others(clients: dict[str, Any]) -> list[str]:
    """The cheapest of the other pure-Python peers, and of pycurl's ways, by CPU time for each wake."""
    found: list[str] = []
    for among in ([name for name in roster.PURE if not name.startswith("httpx")], roster.PYCURL[:2], roster.PYCURL[2:]):
        there = [name for name in among if clients.get(name, {}).get("event_us")]
        found += [min(there, key=lambda name: spread(clients[name]["event_us"])[0])] if there else []
    return found


def _cold(row: dict[str, Any]) -> list[float]:
    """CPU µs of each wake at one a second, the idle time subtracted."""
    idle = [run["cpu_us_per_s"] for run in row.get("idle", [])]
    return colder(row.get("busy", []), spread(idle)[0]) if idle else []


def _divided(mine: Sequence[float] | None, its: Sequence[float] | None) -> list[float]:
    """Each of mine over the middle of theirs."""
    return [value / spread(its)[0] for value in mine] if mine and its and spread(its)[0] > 0 else []


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    return spread(values) if values else None


def _parser(found: dict[str, Any]) -> Row:
    """Throughput on relay events in 64 KiB feeds over that of the fastest peer of the same round."""
    cells = found.get("cells", {}).get("relay, 64 KiB", {})
    speeds = {
        name: [one["bytes"] / one["seconds"] if "seconds" in one else None for one in rounds]
        for name, rounds in cells.items()
    }
    ours = speeds.pop("ours", [])
    each: list[float] = []
    for number, speed in enumerate(ours):
        others = [peer[number] for peer in speeds.values() if number < len(peer) and peer[number]]
        if speed and others:
            each.append(speed / max(other for other in others if other))
    return Row("parser ÷ fastest peer, relay events, 64 KiB feeds", _spread(each), 3.0, at_least=True)
