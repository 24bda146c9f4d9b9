"""One clock over several steps: `Timeouts.connect` covers name, TCP, proxy and TLS together."""

from __future__ import annotations

from wire_rawsse.errors import ConnectTimeout


class Deadline:
    """`seconds` from when it is made, on the stream's clock. Running out names the step it ran out in."""

    __slots__ = ("at", "place", "seconds")

    def __init__(self, now: float, seconds: float, place: str) -> None:
        self.at = now + seconds
        self.seconds = seconds
        self.place = place

    def ran_out(self, phase: str, doing: str) -> ConnectTimeout:
        text = f"connecting to {self.place} took longer than connect={self.seconds:g} s; it ended while {doing}"
        return ConnectTimeout("connect", self.seconds, phase, text)
