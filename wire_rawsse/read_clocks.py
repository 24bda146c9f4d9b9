"""The clocks of a live stream: `read`, the learned heartbeat, `min_rate` while a line is unfinished, and `max_age`.

Numbers in, numbers out: the caller reads the stream's clock and passes the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from wire_rawsse.errors import HeartbeatTimeout, RateTimeout, ReadTimeout
from wire_rawsse.heartbeat import Heartbeat, all_comments
from wire_rawsse.policy import Timeouts
from wire_rawsse.protocol.sse import LineParser

PUNCTUAL: Final = 0.25
"""Seconds. A heartbeat that may have come this much earlier than it was found is not learned from."""
LONGEST_COMMENT: Final = 64
"""Bytes of a heartbeat that is kept, to compare the next one with it."""
_MAY_BE_COMMENTS: Final = (b":", b"\n", b"\r")


class ReadClocks:
    """A known heartbeat limits the silence between lines. Inside a line no heartbeat can come, so `read` applies."""

    __slots__ = (
        *("_after_event", "_heard_at", "_heartbeat", "_idle", "_in_line", "_limit", "_min_rate"),
        *("_comment", "_place", "_read"),
        *("_silent_at", "_unwatched", "_window_bytes", "_window_ends", "expires_at", "renewed"),
    )

    def __init__(
        self,
        now: float,
        timeouts: Timeouts,
        place: str,
        heartbeat: Heartbeat | None = None,
        expires_at: float = math.inf,
        unwatched: Callable[[], float] = float,
    ) -> None:
        """`unwatched`: see `HostServices`."""
        self._read, self._min_rate = timeouts.read, timeouts.min_rate
        self._place = place
        self._heartbeat = heartbeat
        self._limit = timeouts.read if heartbeat is None else heartbeat.limit(timeouts.read)
        """The longest silence until the next line. After an event it may be longer than after a comment."""
        self._unwatched = unwatched
        self._heard_at = now
        self._idle = True
        """True if the last reception was found in time and held only comments, or if there was none yet."""
        self._after_event = False
        """True if no heartbeat has come since the last event."""
        self._comment = b""
        """The last text that held comments and nothing else: most heartbeats are equal."""
        self._in_line = False
        self.expires_at = expires_at
        """When the connection reaches its `max_age`."""
        self._silent_at = now + self._limit
        self._window_ends: float | None = None
        """The end of the `min_rate` window of the unfinished line; None if no line is unfinished."""
        self._window_bytes = 0
        self.renewed = False
        """True if the last bytes restarted the deadline. False if they continued a line, whose window goes on, or if
        the deadline is the end of the connection's age."""

    @property
    def deadline(self) -> float:
        ends = self._silent_at if self._window_ends is None else min(self._window_ends, self._silent_at)
        return min(ends, self.expires_at)

    def be_patient(self) -> None:
        """The present silence may last for `read`, whatever the heartbeat."""
        self._silent_at = self._heard_at + self._read

    def expired(self, now: float) -> bool:
        """Whether the connection has reached its `max_age`."""
        return now >= self.expires_at

    def heard(self, now: float, size: int, lines: LineParser, text: bytes = b"") -> float:
        """Body bytes came and were parsed. Returns the new deadline. `text`: see `BodyReader.text`."""
        if text[:1] in _MAY_BE_COMMENTS and not self._in_line:
            self._learn(now - self._heard_at, text)
        else:
            self._idle, self._after_event = False, True
            if self._heartbeat is not None and self._heartbeat.period is not None:
                self._had_event(now - self._heard_at, self._heartbeat)
        self._heard_at = now
        self._in_line = line_open = lines.line_open
        self._silent_at = silent_at = now + (self._read if line_open else self._limit)
        if line_open and self._min_rate:
            if self._window_ends is not None and not lines.line_ended:
                self.renewed = False
                self._window_bytes += size
                return min(self._window_ends, self.expires_at)
            # A line has begun in these bytes: it has a window of its own.
            self._window_ends = silent_at
            self._window_bytes = 0
        else:
            self._window_ends = None
        self.renewed = renewed = silent_at < self.expires_at
        return silent_at if renewed else self.expires_at

    def _learn(self, gap: float, text: bytes) -> None:
        comments = text == self._comment or all_comments(text)
        if comments is None:  # Line ends only, which belong to an earlier line.
            return
        # A host that polls only now and then would measure its own interval.
        punctual, heartbeat = self._unwatched() < PUNCTUAL, self._heartbeat
        if not comments:
            self._idle, self._after_event = False, True
            if heartbeat is not None:
                self._had_event(gap, heartbeat)
            return
        if len(text) <= LONGEST_COMMENT:
            self._comment = text
        if heartbeat is not None:
            known = self._idle  # If so, the limit is that between two comments already.
            if punctual and self._idle:
                known = not heartbeat.heard(gap)
            elif punctual and self._after_event:
                heartbeat.heard_after_event(gap)
            if not known:
                self._limit = heartbeat.limit(self._read)
        self._idle, self._after_event = punctual, False

    def _had_event(self, gap: float, heartbeat: Heartbeat) -> None:
        if heartbeat.exceeds(gap) and self._unwatched() < PUNCTUAL:
            heartbeat.pauses(gap)
        self._limit = heartbeat.limit_after_event(self._read)

    def passed(self, now: float) -> float:
        """The deadline has passed. Returns the next one, or raises `ReadTimeout` or `RateTimeout`."""
        if now >= self._silent_at:
            if self._silent_at < self._heard_at + self._read:
                raise self._heartbeat_timeout()
            text = f"{self._place} was silent for read={self._read:g} s"
            raise ReadTimeout("read", self._read, "streaming", text)
        if self._window_bytes < self._min_rate * self._read:
            raise RateTimeout(
                "min_rate",
                self._min_rate,
                "streaming",
                f"{self._place} sent {self._window_bytes} bytes of an unfinished line in {self._read:g} s, "
                f"expected {self._min_rate:g} bytes a second",
            )
        self._window_ends = now + self._read
        self._window_bytes = 0
        return self.deadline

    def _heartbeat_timeout(self) -> HeartbeatTimeout:
        heartbeat, limit = self._heartbeat, self._limit
        assert heartbeat is not None
        text = f"{self._place} was silent for {limit:.3g} s; it has sent a heartbeat every {heartbeat.period:.3g} s"
        heartbeat.alarm()
        return HeartbeatTimeout("heartbeat", limit, "streaming", text)
