"""Invariant: whatever bytes stand in stream_state.json, anyone who reads it gets an exit status from 0 to 2, one
printable line and plain JSON, and 0 from exactly those documents that say, by a slow reading, that all of it is
connected, that were written now and whose process is there.

Layout: after a first byte of 0 the file itself; after any other a recipe for a document.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any, Final

from tests.fuzz.pieces import Recipe
from wire_rawsse import foreign
from wire_rawsse.wire import status

LONGEST: Final = 512
WORDS: Final = (
    *(
        b'"schema":"wire-daemon-stream-state-v1"',
        b'"ts":"2026-11-25T12:00:00Z"',
        b'"state":"connected"',
        b'"endpoints":[',
    ),
    *(
        b'"reconnect_count":0',
        b'"last_event_at":null',
        b'"pid":1',
        b'"relay":"http://h"',
        b'"reconnect_in":',
        b'"phase":"',
    ),
    *(
        b"+00:00",
        b"-23:59",
        b".5Z",
        b"1e999",
        b"NaN",
        b"-0.0",
        b"\\ud800",
        b"\\u001b[31m",
        b"true",
        b"9" * 40,
        b"\xef\xbb\xbf",
    ),
)
_WHOLE: Final = (
    b'{"schema":"wire-daemon-stream-state-v1","ts":"2026-11-25T12:00:00Z","state":"connected","last_event_at":null,'
    b'"reconnect_count":0'
)
SEEDS: Final = (
    b"\x00" + _WHOLE + b"}",
    b"\x00" + _WHOLE + b',"pid":1,"phase":"streaming","last_byte_at":"2026-11-25T11:59:00.25+00:00"}',
    b"\x00" + _WHOLE + b',"endpoints":[{"relay":"http://h","state":"error","reconnect_count":3,"reconnect_in":2.5}]}',
    b"\x00null",
    b"\x00" + _WHOLE,
    b"\x01" + bytes(range(60)),
    b"\x02" + bytes(range(0, 250, 5)),
)

_NOW: Final = datetime.fromisoformat("2026-11-25T12:00:00+00:00").timestamp()
_STAMPS: Final = (
    "2026-11-25T12:00:00Z",
    *("2026-11-25T11:50:30.123456789Z", "2026-11-25T12:09:00z", "2026-11-25t13:00:00+01:00", "2026-11-25T12:00:60Z"),
    *("1970-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-02-30T00:00:00Z", "now"),
)
_STATES: Final = ("connected", "connecting", "reconnecting", "error", "Connected", "")


def check(data: bytes) -> None:
    if not data:
        return
    content = data[1:] if not data[0] else json.dumps(_document(Recipe(data, 1))).encode()
    read_whole = foreign.read_whole
    foreign.read_whole = lambda *_: content
    try:
        found = status.read("stream_state.json")
        assert isinstance(found[1], str) and found[1].isprintable()
        judged = status.assess(found[0], _NOW, lambda pid: pid == 1, found[1])
    finally:
        foreign.read_whole = read_whole
    assert judged.exit_code in (0, 1, 2), "no exit status"
    assert judged.line.startswith("stream: ") and judged.line.isprintable() and len(judged.line) < 70_000, "no line"
    assert json.loads(json.dumps(judged.facts)) == judged.facts or "nan" in repr(judged.facts), "no plain JSON"
    assert (judged.facts["verdict"] in ("unknown", "stale")) == (judged.exit_code == 2)
    good = _by_hand(content)
    assert not (judged.exit_code == 0 and not good), "well, although nothing says so"
    assert not (judged.exit_code != 0 and good), "all is well and nobody says so"


def _by_hand(content: bytes) -> bool:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    if re.search(rb"NaN|Infinity", content) and '"' not in repr(content):
        return False
    if not isinstance(document, dict) or document.get("schema") != "wire-daemon-stream-state-v1":
        return False
    stamp = document.get("ts")
    if not isinstance(stamp, str) or abs(_moment(stamp) - _NOW) > 600:
        return False
    pid = document.get("pid")
    if pid is not None and (type(pid) is not int or pid != 1):
        return False
    endpoints = document.get("endpoints")
    if endpoints is not None and not isinstance(endpoints, list):
        return False
    if not all(isinstance(one, dict) and isinstance(one.get("relay"), str) for one in endpoints or ()):
        return False
    return all(
        one.get("state") == "connected" and _well_formed(one) for one in [document, *(endpoints or ())]
    ) and isinstance(document.get("relay", ""), (str, type(None)))


def _well_formed(one: dict[str, Any]) -> bool:
    count, soon = one.get("reconnect_count"), one.get("reconnect_in")
    texts = [one.get(key) for key in ("last_event_at", "last_byte_at", "last_error", "phase")]
    return (
        type(count) is int
        and count >= 0
        and all(text is None or isinstance(text, str) for text in texts)
        and (soon is None or (type(soon) in (int, float) and 0 <= soon < 1e9))
    )


def _moment(stamp: str) -> float:
    found = re.fullmatch(
        r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9:]{8})(\.[0-9]{1,30})?([Zz]|[+-][0-9]{2}:[0-9]{2})", stamp
    )
    if found is None:
        return math.inf
    zone = "+00:00" if found[4] in "Zz" else found[4]
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2].replace(':60', ':59')}{zone}").timestamp()
    except (ValueError, OverflowError):
        return math.inf
    return moment + float(found[3] or 0)


# --- documents from recipes -----------------------------------------------------------------------------------------


def _document(recipe: Recipe) -> Any:
    kind = recipe.byte()
    if kind > 250:
        return _anything(recipe)
    document = _one(recipe)
    document["schema"] = "wire-daemon-stream-state-v1" if kind < 240 else recipe.text()
    document["ts"] = _STAMPS[0] if kind & 1 else _STAMPS[recipe.byte() % len(_STAMPS)] if kind & 2 else recipe.text()
    if kind & 4:
        document["endpoints"] = [{"relay": "http://h", **_one(recipe)} for _ in range(kind >> 6)]
    if kind & 8:
        document["pid"] = (1, 2, 0, -1, True, 1 << 80)[recipe.byte() % 6]
    if kind & 16:
        document[recipe.text()] = _anything(recipe)
    return document


def _one(recipe: Recipe) -> dict[str, Any]:
    choice = recipe.byte()
    one: dict[str, Any] = {"state": _STATES[choice % 6 if choice & 1 else 0], "reconnect_count": choice >> 4}
    if choice & 2:
        one["reconnect_in"] = (0, 2.5, 7200, -1, 1e12, "soon")[recipe.byte() % 6]
    if choice & 4:
        one["phase"] = recipe.text()
        one["last_error"] = recipe.text()
    if choice & 8:
        key = ("last_event_at", "last_byte_at", "relay", "reconnect_count", "state")[recipe.byte() % 5]
        one[key] = _STAMPS[recipe.byte() % len(_STAMPS)] if recipe.byte() & 1 else _anything(recipe)
    return one


def _anything(recipe: Recipe, depth: int = 0) -> Any:
    kind = recipe.byte() % (9 if depth < 3 else 7)
    if kind < 6:
        return (None, True, 7, 0.5, "", -(10**30))[kind]
    if kind == 6:
        return recipe.text()
    several = [_anything(recipe, depth + 1) for _ in range(recipe.byte() % 4)]
    return several if kind == 7 else {recipe.text(): one for one in several}
