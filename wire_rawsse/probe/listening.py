"""Reads an accepted event stream for a while and notes each arrival, without keeping what was said."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Final

from wire_rawsse.errors import EventTooLargeError, MalformedResponseError, TruncatedError, WireRawSSEError
from wire_rawsse.probe.measurements import Arrival, Life, StreamFacts
from wire_rawsse.probe.reach import Observed, Reached
from wire_rawsse.protocol.events import Event, EventParser
from wire_rawsse.redact import Secrets
from wire_rawsse.transport import alerts
from wire_rawsse.transport.channel import Channel
from wire_rawsse.waits import Coroutine

MOST_ARRIVALS: Final = 20_000
"""Arrivals that are kept; all that come later are only counted."""
_MOST_CHUNKS: Final = 200
_MOST_TYPES: Final = 10
_EVERY: Final = 0.25
"""Seconds between two looks at the time."""
_HELD_UP: Final = 0.05
"""Seconds by which a wait ends too late on a machine that is too busy to measure."""
_SEARCHED: Final = 4096
_DAY: Final = 86400.0
_NUMBER: Final = re.compile(r"(?<![0-9.])1[0-9]{9}(?:[0-9]{3}|\.[0-9]{1,9}|[0-9]{6}|[0-9]{9})?(?![0-9])")
"""Seconds since the epoch, with or without a fraction, milli-, micro- or nanoseconds, up to the year 2033."""
_ISO: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})"
)
"""RFC 3339, with a zone."""


class StreamListener:
    """Follows the lives of one stream. `start` is the moment that is 0 in what is measured."""

    def __init__(
        self,
        stream: StreamFacts,
        start: float,
        secrets: Secrets,
        tick: Callable[[], None] = lambda: None,
        enough: Callable[[Event], bool] = lambda event: False,
    ) -> None:
        self.stream = stream
        self.ids: list[str] = []
        """The first two different ids of events."""
        self._start = start
        self._secrets = secrets
        self._tick = tick
        self._enough = enough
        """Whether to stop listening after this event."""
        self._stop = False

    def listen(self, reached: Reached, until: float) -> Life:
        """Read the body until it ends, or until `until` on the monotonic clock. The channel stays open."""
        assert reached.channel is not None and reached.exchange is not None and reached.attempt.head is not None
        began = reached.asked_at - self._start
        life = Life(began=began, opened=began + reached.attempt.head)
        self.stream.lives.append(life)
        try:
            reached.host.run(self._read(reached, reached.channel, life, until))
        except (OSError, WireRawSSEError, ValueError) as error:
            self._note_end(life, error)
        life.stopped = reached.host.now() - self._start
        if life.end:
            life.ended = life.stopped
        return life

    def _read(self, reached: Reached, channel: Channel, life: Life, until: float) -> Coroutine[None]:
        exchange, host = reached.exchange, reached.host
        assert exchange is not None and reached.response is not None
        parser = EventParser(comments=True)
        chunked = reached.response.get("transfer-encoding") is not None
        sizes = ChunkSizes(self.stream.chunks) if chunked else None
        if sizes is not None:
            sizes.feed(exchange.behind_head)
        self._feed(exchange, None, parser, life, late=False)  # The bytes that came with the head.
        receive = channel.receive(until)
        received: bytes | None = None
        late = over = False
        while True:
            for data in channel.plaintext(received):
                if sizes is not None:
                    sizes.feed(data)
                self._feed(exchange, data, parser, life, late)
                if exchange.ended or not data:
                    break
            if exchange.ended or received == b"":
                life.end = "clean"
                return
            received = None
            while received is None:
                if over:
                    return
                self._tick()
                over = self._stop or host.now() >= until
                # Bytes that came meanwhile are still received: we may have been held up.
                receive.deadline = host.now() if over else min(until, host.now() + _EVERY)
                received = yield from channel.received(receive)
                late = host.now() > receive.deadline + _HELD_UP

    def _feed(self, exchange: Observed, data: bytes | None, parser: EventParser, life: Life, late: bool) -> None:
        """Take the body out of what came; raises for a body that is cut or damaged."""
        found = False
        for piece in exchange.body(data):
            found = True
            self._take(piece, parser, life, late)
        self.stream.stray += bool(data) and not found

    def _take(self, piece: bytes, parser: EventParser, life: Life, late: bool) -> None:
        stream, events, comments = self.stream, 0, 0
        at, wall = time.monotonic() - self._start, time.time()
        stamps: list[float] = []
        for item in parser.feed(piece):
            if isinstance(item, Event):
                events += 1
                self._note_event(item)
                self._stop = self._stop or self._enough(item)
                stamp = made_at(item, wall)
                if stamp is not None:
                    stamps.append(stamp)
            else:
                comments += 1
        stream.bytes += len(piece)
        stream.events += events
        stream.comments += comments
        stream.retry_ms = parser.retry_ms if parser.retry_ms is not None else stream.retry_ms
        if len(life.arrivals) < MOST_ARRIVALS:
            life.arrivals.append(Arrival(at, wall, len(piece), events, comments, parser.line_open, tuple(stamps), late))

    def _note_event(self, event: Event) -> None:
        stream = self.stream
        kind = self._secrets.quote(event.type, 40)
        if kind not in stream.types and len(stream.types) < _MOST_TYPES:
            stream.types.append(kind)
        if event.id:
            if event.id not in self.ids and len(self.ids) < 2:
                self.ids.append(event.id)
            stream.ids += 1

    def _note_end(self, life: Life, error: BaseException) -> None:
        self._secrets.cleanse(error)
        life.error = str(error)
        if isinstance(error, EventTooLargeError):
            life.end = "too large"
        elif isinstance(error, MalformedResponseError):
            life.end = "malformed"
        elif isinstance(error, ConnectionResetError):
            life.end, life.error = "reset", "the connection was reset"
        elif isinstance(error, TruncatedError) or "EOF" in type(error).__name__:
            life.end, life.error = "cut", "the connection was closed in the middle of the response"
        else:
            life.end = "other"
            life.error = alerts.failure(error) or getattr(error, "strerror", None) or life.error


class ChunkSizes:
    """Notes the sizes of chunks (RFC 9112 section 7.1) beside the decoder, which checks them."""

    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes
        self._left = 0
        self._line = b""
        self._lost = False

    def feed(self, data: bytes) -> None:
        position = 0
        while position < len(data) and not self._lost and len(self._sizes) < _MOST_CHUNKS:
            if self._left:
                taken = min(self._left, len(data) - position)
                self._left -= taken
                position += taken
                continue
            end = data.find(b"\n", position)
            self._line += data[position : end if end >= 0 else len(data)]
            if end < 0:
                return
            position = end + 1
            try:
                size = int(self._line.partition(b";")[0], 16)
            except ValueError:
                self._lost = True
                return
            self._line = b""
            self._left = size + 2
            if size:
                self._sizes.append(size)
            else:
                self._lost = True


def made_at(event: Event, wall: float) -> float | None:
    """When an event says that it was made: the latest moment in its id or data that lies within a day of `wall`."""
    text = f"{event.id}\n{event.data[:_SEARCHED]}"
    found = [moment for moment in _moments(text) if abs(moment - wall) < _DAY]
    return max(found, default=None)


def _moments(text: str) -> list[float]:
    moments = []
    for number in _NUMBER.findall(text):
        digits = len(number.partition(".")[0])
        moments.append(float(number) / 10.0 ** max(0, digits - 10))
    for stamp in _ISO.findall(text):
        plain = stamp.replace("Z", "+00:00").replace(",", ".").replace(" ", "T")
        whole, fraction, zone = re.fullmatch(r"([^.+]*T[0-9:]*)(\.[0-9]+)?([+-].*)", plain).groups()  # type: ignore[union-attr]  # `_ISO` found it
        zone = zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
        try:
            moments.append(
                datetime.fromisoformat(whole + zone).astimezone(timezone.utc).timestamp() + float(fraction or 0)
            )
        except (ValueError, OverflowError):
            continue
    return moments
