"""Decides whether a TLS record is worth a wake before it is decrypted, from the lengths of earlier records.

A large part of the latency of a wake over https is the decryption, in caches that went cold during the sleep. But the
length of a record is not encrypted. So a record that is longer than every earlier record without a data line is taken
for an event, and the wake is given at once. A wake too many costs one pull. Spurious wakes are counted, and if more
than one in `ONE_IN` was spurious, the stream decrypts first from then on.
"""

from __future__ import annotations

from typing import Final

HEARTBEAT_BYTES: Final = 64
"""Bytes of content, chunk framing included, up to which a record is never taken for an event. wire's heartbeat has 36,
so nothing must be learned for it."""
ONE_IN: Final = 10
JUDGED_AFTER: Final = 10
"""Early wakes. Fewer say nothing about the share of spurious ones."""
NEVER: Final = 1 << 17
"""Bytes: more than any record can have (RFC 8446 §5.2)."""
_AEADS: Final = ("GCM", "CCM", "CHACHA20", "POLY1305")


class EarlyWakes:
    """The knowledge of one stream over all its connections."""

    __slots__ = ("given", "longest_idle", "spurious")

    def __init__(self) -> None:
        self.given = 0
        """Wakes that were given for the length of a record."""
        self.spurious = 0
        """Of these, the ones whose reception held no data line."""
        self.longest_idle = HEARTBEAT_BYTES
        """Bytes of content of the longest record whose reception held no data line."""

    @property
    def limit(self) -> int:
        """A record with more bytes of content than this is worth a wake."""
        if self.given >= JUDGED_AFTER and self.spurious * ONE_IN > self.given:
            return NEVER
        return self.longest_idle

    def judge(self, longest: int, *, early: bool, data_line: bool) -> None:
        """Learn from a parsed reception, whose longest record had `longest` bytes of content.

        `early`: the wake was given before it was decrypted; `data_line`: it held one.
        """
        if early:
            self.given += 1
            if not data_line:
                self.spurious += 1
        if not data_line and longest > self.longest_idle:
            self.longest_idle = longest


def overhead(version: str | None, cipher: str) -> int:
    """Bytes by which the ciphertext of a record is longer than its content, at the most, without padding by choice.

    TLS 1.3: the type and the tag (RFC 8446 §5.2). TLS 1.2: explicit nonce and tag (RFC 5288 §3), or for a CBC suite
    initialisation vector, MAC and padding to a whole block (RFC 5246 §6.2.3.2).
    """
    if version == "TLSv1.3":
        return 17
    return 24 if any(name in cipher for name in _AEADS) else 16 + 48 + 16
