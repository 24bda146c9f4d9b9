"""Streams that bring only wakes. `StreamSubscriber` and `Streams` are made of them.

A wake tells the caller to fetch what is new, so one pending wake is as good as many. Events between two connections are
not replayed, so each new connection is a wake, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.plan import Plan
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.sse import BEGINS_DATA_LINE, WakeParser, holds_data_line
from wire_rawsse.stream_set import StreamHandle, StreamSet


class WakeSink:
    """Keeps no event: only whether there was a `data` line, and the fields that outlive a connection.

    Each connection is a wake, so replayed events are of no use. Ids are therefore kept and sent only if the caller gave
    a `last_event_id`.
    """

    wake_marker: bytes | None = BEGINS_DATA_LINE

    def __init__(self, last_event_id: str = "") -> None:
        self.is_wake: Callable[[bytes], bool] | None = holds_data_line
        self._resumes = bool(last_event_id)
        self._use(WakeParser(last_event_id=last_event_id))

    def _use(self, parser: WakeParser) -> None:
        self.parser = parser
        self.feed = parser.feed  # Without a function of ours in between.

    @property
    def last_event_id(self) -> str:
        return self.parser.last_event_id if self._resumes else ""

    @property
    def retry_ms(self) -> int | None:
        return self.parser.retry_ms

    @property
    def delivered(self) -> bool:
        return self.parser.delivered

    def begin(self) -> None:
        self.parser.delivered = False

    def resume_from(self, last_event_id: str) -> None:
        self._resumes = True
        self._renew(last_event_id)

    def opened(self, response: Response, id_left_out: bool) -> None:
        self._renew(self.last_event_id)

    def renewing(self) -> None:
        pass  # Events that come twice cost at most a wake too many.

    def renewed(self, error: WireRawSSEError | None, response: Response, id_left_out: bool) -> None:
        self._renew(self.last_event_id)

    def not_renewed(self) -> None:
        pass

    def _renew(self, last_event_id: str) -> None:
        retry_ms = self.parser.retry_ms
        self._use(WakeParser(last_event_id=last_event_id))
        self.parser.retry_ms = retry_ms

    def closed(self, error: WireRawSSEError | None, retry_in: float | None) -> bool:
        return False


class WakeStreams(StreamSet):
    """A set of streams that bring wakes, and never give up."""

    new_sink: Callable[[str], WakeSink] = WakeSink
    """The simulation replaces it, to observe it."""

    def new_handle(
        self, plan: Plan, *, last_event_id: str = "", tag: Any = None, changed: Callable[[], None] | None = None
    ) -> StreamHandle:
        """The handle of a stream that has not begun. `changed`: see `StreamSet.record`."""
        return StreamHandle(self, self.record(plan, changed), self.new_sink(last_event_id), tag)

    def add(self, plan: Plan, *, last_event_id: str = "", changed: Callable[[], None] | None = None) -> StreamHandle:
        """Begin a stream, in the thread that runs the loop or before it runs."""
        handle = self.new_handle(plan, last_event_id=last_event_id, changed=changed)
        self.start(handle, plan)
        return handle
