"""One promise, judged."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Check:
    """One promise: whether it was kept, what was found, what was allowed."""

    name: str
    kept: bool
    found: Any
    bound: Any

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
