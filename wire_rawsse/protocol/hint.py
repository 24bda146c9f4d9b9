"""Does this read hold news? Asked of raw bytes, before HTTP and events are parsed, so that a wake need not wait.

The bytes still carry chunk framing, but a chunk's data begins on a line of its own (RFC 9112 §7.1), so a `data` line is
always at the start of a line here too, or at the start of the read. Said too often (a field called `database`, a
chunk that begins in the middle of a line) it costs one pull; where it is missed (a name cut over two reads, a byte
order mark before it) the parser, which follows, gives the wake.
"""

from __future__ import annotations


def holds_data_line(read: bytes) -> bool:
    """True if a line in `read` begins with `data`."""
    return b"\ndata" in read or read.startswith(b"data") or b"\rdata" in read
