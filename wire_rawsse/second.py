"""The record, the services and the sink that `renewal` gives to the second connection of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.record import Record
from wire_rawsse.transport.addresses import AddressMemory

if TYPE_CHECKING:
    from wire_rawsse.protocol.response import Response
    from wire_rawsse.services import HostServices


class SecondRecord(Record):
    """The record of a second connection of the same stream. Both share everything that belongs to the endpoint."""

    __slots__ = ()

    def __init__(self, first: Record) -> None:
        for name in Record.__slots__:
            setattr(self, name, getattr(first, name))
        self.phase, self.changed = "idle", None
        self.attempt = self.polls = 0
        self.addresses = AddressMemory()
        self.addresses.learn_from(first.addresses)

    def given_up(self) -> None:
        """The first connection goes on."""
        self.leave_gate()

    def refused_for_good(self, first: Record, doubt: WireRawSSEError, refusal: WireRawSSEError) -> None:
        """Both connections have ended, and no other follows."""
        first.count(type(doubt).__name__)
        self._judge_address(refusal)
        self.keep(refusal)

    def take_over(self, first: Record, now: float, doubt: WireRawSSEError | None) -> None:
        """The second connection is the stream's from now on. Its record becomes a part of the first."""
        self.leave_gate()
        first.count("renewal" if doubt is None else type(doubt).__name__)
        first._judge_address(doubt)
        if doubt is None and first.healthy_for >= first._healthy_after:
            first.attempt = 0
        first.goes_to(self.url)
        first.addresses = self.addresses
        first.refused, first.refused_before, first.redirected = self.refused, self.refused_before, self.redirected
        first.has_spoken = False
        first._accepted = first._last_life = now
        first.connections[0] += 1
        first.secrets.settle()


new_record: Callable[[Record], SecondRecord] = SecondRecord
"""The simulation replaces it, to observe it."""


class SecondServices:
    """The services of the host, with a clock that leaves out the time for which the first connection's wakes kept it
    away.
    """

    def __init__(self, services: HostServices) -> None:
        self._now = services.now
        self.away = 0.0
        """Seconds."""
        self.time, self.random, self.unwatched = services.time, services.random, services.unwatched
        self.paused, self.resolve = services.paused, services.resolve
        self.open, self.release = services.open, services.release

    def now(self) -> float:
        return self._now() - self.away


class SecondSink:
    """The sink of the second connection until it takes over: it keeps what the real one must hear then."""

    delivered = False

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._opened: tuple[Response, bool] | None = None
        self._id: str | None = None

    @property
    def last_event_id(self) -> str:
        found: str = self._sink.last_event_id
        return found

    @property
    def retry_ms(self) -> int | None:
        found: int | None = self._sink.retry_ms
        return found

    def resume_from(self, last_event_id: str) -> None:
        self._id = last_event_id

    def opened(self, response: Response, id_left_out: bool) -> None:
        self._opened = response, id_left_out

    def hand_over(self, doubt: WireRawSSEError | None) -> None:
        assert self._opened is not None
        if self._id is not None:
            self._sink.resume_from(self._id)
        self._sink.renewed(doubt, *self._opened)
