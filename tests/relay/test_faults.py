"""The values by which a fault is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wire_rawsse.testing.faults import PLACES, Fault, read_fault


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (5, "a JSON object"),
        ({}, "needs an action"),
        ({"action": "explode"}, "one of silent"),
        ({"action": "cut", "at": "line"}, "one of stream"),
        ({"action": "cut", "at": ["stream"]}, "at must be of type"),
        ({"action": "cut", "scope": "all"}, "scope"),
        ({"action": "answer", "scope": "live"}, "scope must be new"),
        ({"action": "silent", "at": "accept", "only": "stream"}, "only must be all"),
        ({"action": "silent", "only": "pulls"}, "all or stream"),
        ({"action": "cut", "count": 0}, "count"),
        ({"action": "cut", "count": True}, "count must be of type"),
        ({"action": "refuse", "count": 1}, "refuse has none"),
        ({"action": "drip", "seconds": 0}, "above 0"),
        ({"action": "drip", "seconds": "1"}, "seconds must be of type"),
        ({"action": "answer", "status": 100}, "200 to 599"),
        ({"action": "answer", "location": "x\r\ny"}, "printable"),
        ({"action": "garbage", "text": "\u20ac"}, "Latin-1"),
        ({"action": "cut", "explode": 1}, "no others"),
    ],
)
def test_what_is_no_fault_is_explained(value: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_fault(value)


def test_every_fault_survives_json() -> None:
    for action, places in PLACES.items():
        for place in places:
            fault = Fault(action, at=place)  # type: ignore[arg-type]  # from PLACES
            assert read_fault(json.loads(json.dumps(fault.as_json()))) == fault
