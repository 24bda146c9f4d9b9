"""The records of TLS, as far as their headers tell: the facts about ciphertext before it is decrypted.

The header of a record is in the clear (RFC 8446 §5.1, RFC 5246 §6.2.1): one byte of type, two of version, two of
length. TLS 1.3 shows tickets and key updates as application data too, so a type alone says little; a length does.
"""

from __future__ import annotations

from typing import Final

HEADER_BYTES: Final = 5
APPLICATION_DATA: Final = 23


class RecordScanner:
    """Follows the record headers of one connection, however the ciphertext is split into receptions."""

    __slots__ = ("_header", "_left", "_length")

    def __init__(self) -> None:
        self._header = b""  # The part of a header that has been received.
        self._left = 0  # Bytes of the present record that are still to come.
        self._length = 0  # Its length, 0 if it is no application data.

    @property
    def in_record(self) -> bool:
        """A record, or its header, has been received in part."""
        return bool(self._left or self._header)

    def scan(self, received: bytes) -> int:
        """The length of the longest application data record that ends in `received`, without its header; 0 for none."""
        header, left, length = self._header, self._left, self._length
        size = len(received)
        longest = position = 0
        while position < size:
            if left:
                step = min(left, size - position)
                position += step
                left -= step
            else:
                start = position
                position = min(size, start + HEADER_BYTES - len(header))
                header += received[start:position]
                if len(header) < HEADER_BYTES:
                    break
                left = header[3] << 8 | header[4]
                length = left if header[0] == APPLICATION_DATA else 0
                header = b""
            if not left and length > longest:
                longest = length
        self._header, self._left, self._length = header, left, length
        return longest
