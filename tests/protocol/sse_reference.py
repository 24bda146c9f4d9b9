"""A slow event-stream parser, written from the standards' text and from nothing else, to check the fast one against.

It takes a whole stream at once and goes through it in the standards' own order: decode (Encoding standard, "UTF-8
decode" and the UTF-8 decoder), cut into lines, interpret each (WHATWG HTML §9.2.5 and §9.2.6). It imports nothing of
the library. Two things in it are ours, as the standards know nothing of them: what a comment's text is, and the limit.

Every fact carries the index of the byte that completes it, so that a test can tell not only what must come out, but out
of which feed, however the stream is cut.
"""

from __future__ import annotations

from typing import NamedTuple


class Fact(NamedTuple):
    """`what`: "event" (type, data, id), "comment" (text), "id" (committed), "retry" (ms), "data" (a name, complete)."""

    at: int
    what: str
    value: tuple[str, ...] | str | int | None = None


def utf8_decode(stream: bytes) -> list[tuple[str, int]]:
    """Each scalar value with the index of its last byte. One leading byte order mark is skipped."""
    out: list[tuple[str, int]] = []
    at = 3 if stream[:3] == b"\xef\xbb\xbf" else 0
    code_point = bytes_needed = bytes_seen = 0
    lower, upper = 0x80, 0xBF
    while at < len(stream):
        byte = stream[at]
        if bytes_needed == 0:
            if byte <= 0x7F:
                out.append((chr(byte), at))
            elif 0xC2 <= byte <= 0xDF:
                bytes_needed, code_point = 1, byte & 0x1F
            elif 0xE0 <= byte <= 0xEF:
                if byte == 0xE0:
                    lower = 0xA0
                if byte == 0xED:
                    upper = 0x9F
                bytes_needed, code_point = 2, byte & 0xF
            elif 0xF0 <= byte <= 0xF4:
                if byte == 0xF0:
                    lower = 0x90
                if byte == 0xF4:
                    upper = 0x8F
                bytes_needed, code_point = 3, byte & 0x7
            else:
                out.append(("\ufffd", at))
            at += 1
            continue
        if not lower <= byte <= upper:
            code_point = bytes_needed = bytes_seen = 0
            lower, upper = 0x80, 0xBF
            out.append(("\ufffd", at - 1))
            continue  # The byte is read again.
        lower, upper = 0x80, 0xBF
        code_point = (code_point << 6) | (byte & 0x3F)
        bytes_seen += 1
        at += 1
        if bytes_seen == bytes_needed:
            out.append((chr(code_point), at - 1))
            code_point = bytes_needed = bytes_seen = 0
    if bytes_needed:
        out.append(("\ufffd", len(stream) - 1))
    return out


def lines(characters: list[tuple[str, int]]) -> list[tuple[list[tuple[str, int]], int | None]]:
    """Each line's characters, and the index of the byte that ends it: None for the last, which is unfinished."""
    out: list[tuple[list[tuple[str, int]], int | None]] = []
    line: list[tuple[str, int]] = []
    previous = ""
    for character, at in characters:
        if character == "\n" and previous == "\r":
            pass  # The second half of one line end.
        elif character in ("\r", "\n"):
            out.append((line, at))
            line = []
        else:
            line.append((character, at))
        previous = character
    out.append((line, None))
    return out


def interpret(stream: bytes, last_event_id: str = "") -> list[Fact]:
    """All that `stream` says, in order."""
    facts: list[Fact] = []
    data_buffer = ""
    event_type_buffer = ""
    last_event_id_buffer = last_event_id
    for characters, end in lines(utf8_decode(stream)):
        line = "".join(character for character, _ in characters)
        if ":" in line:
            colon = line.index(":")
            field, value = line[:colon], line[colon + 1 :]
            if field == "data":
                facts.append(Fact(characters[colon][1], "data"))
        else:
            field, value = line, ""
            if field == "data" and end is not None:
                facts.append(Fact(end, "data"))
        if end is None:
            break
        if line == "":
            facts.append(Fact(end, "id", last_event_id_buffer))
            if data_buffer == "":
                event_type_buffer = ""
                continue
            if data_buffer[-1] == "\n":
                data_buffer = data_buffer[:-1]
            event_type = event_type_buffer if event_type_buffer != "" else "message"
            facts.append(Fact(end, "event", (event_type, data_buffer, last_event_id_buffer)))
            data_buffer = ""
            event_type_buffer = ""
            continue
        if value != "" and value[0] == " ":
            value = value[1:]
        if line[0] == ":":
            facts.append(Fact(end, "comment", (value,)))
        elif field == "event":
            event_type_buffer = value
        elif field == "data":
            data_buffer += value
            data_buffer += "\n"
        elif field == "id":
            if "\0" not in value:
                last_event_id_buffer = value
        elif field == "retry" and value != "" and all(digit in "0123456789" for digit in value):
            number = 0
            for digit in value:
                number = number * 10 + "0123456789".index(digit)
            facts.append(Fact(end, "retry", number))
    return facts


def too_large_at(stream: bytes, limit: int) -> int | None:
    """The index of the first byte with which a block is over `limit`, as `EventParser` counts."""
    size = 0
    start = 3 if stream[:3] == b"\xef\xbb\xbf" else 0
    while start < len(stream):
        end = start
        while end < len(stream) and stream[end] not in b"\r\n":
            end += 1
        if end == start:
            size = 0
        else:
            over = start + limit - size
            if over < end or (over == end and end < len(stream)):
                return over
            if size > 0 or stream[start] != ord(":"):
                size += end - start + 1
        start = end + 2 if stream[end : end + 2] == b"\r\n" else end + 1
    return None
