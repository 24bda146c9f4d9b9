"""Shared by the tests of stream_state.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.wire.test_state import endpoint
from wire_rawsse.state import State, SubscriberState, summarise

NEW_YEAR = 1767225600.0  # 2026-01-01T00:00:00Z
PID = 4242


def snapshot(word: State = "connected", **changed: object) -> SubscriberState:
    return summarise([endpoint(word, **changed)])


def held(path: Path) -> Any:
    return json.loads(path.read_bytes())
