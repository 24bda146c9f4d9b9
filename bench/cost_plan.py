"""The plan of `cost`: what it measures, how often, and of which clients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench import roster

ALONE = (roster.BASE, *roster.ALL)
MANY = (
    roster.OURS_WIRE,
    *(client for client in roster.OURS + roster.PEERS if client.many and not client.name.endswith("_tuned")),
)
COUNTED = (*roster.FLOORS, *roster.OURS, *roster.OURS_ASYNCIO, *roster.PEERS)
"""The clients whose instructions are counted."""


@dataclass(frozen=True)
class Settings:
    """`copies` processes of each client and state, watched for `idle` seconds; `events` for each count of time, system
    calls and instructions; `streams` how many one process holds; `imports` fresh interpreters."""

    copies: int = 3
    idle: float = 60.0
    events: int = 40
    schemes: tuple[str, ...] = ("http", "https")
    streams: tuple[int, ...] = (1, 10, 100)
    imports: int = 15
    clients: tuple[str, ...] = tuple(client.name for client in ALONE)
    quick: bool = False


QUICK = Settings(
    copies=1,
    idle=3.0,
    events=10,
    schemes=("http",),
    streams=(1, 10),
    imports=1,
    clients=("base_socket", "floor_poll", "httpx_sse_stock", "ours_inline", "ours_thread", "ours_source"),
    quick=True,
)


def taking_part(settings: Settings, among: Iterable[roster.Client]) -> list[roster.Client]:
    chosen = {*settings.clients, roster.OURS_WIRE.name}
    return [client for client in among if client.name in chosen]


def to_count(settings: Settings) -> list[roster.Client]:
    """In a smoke run ours alone: a peer's imports take valgrind many seconds."""
    return [one for one in taking_part(settings, COUNTED) if not settings.quick or one.family != "peer"]
