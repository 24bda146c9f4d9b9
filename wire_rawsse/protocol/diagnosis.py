"""Why bytes are not an HTTP/1 response head: which protocol they are, or which line breaks which rule.

h11 decides whether a head is accepted. This module only words the error, and is loaded when h11 has refused.
"""

from __future__ import annotations

import re
from typing import Final

from wire_rawsse.protocol.refusal import PRIVATE
from wire_rawsse.redact import Secrets

_SPEAKERS: Final = (
    (b"HTTP/2", "HTTP/2"),
    (b"PRI * HTTP/2", "HTTP/2"),
    (b"\x15\x03", "TLS (is it an https:// URL?)"),
    (b"\x16\x03", "TLS (is it an https:// URL?)"),
    (b"SSH-", "SSH"),
    (b"220 ", "SMTP or FTP"),
    (b"220-", "SMTP or FTP"),
    (b"+OK", "POP3"),
    (b"* OK", "IMAP"),
    (b"RTSP/", "RTSP"),
    (b"-ERR", "Redis"),
    (b"<", "a page without a response head"),
)
_STATUS_LINE: Final = rb"HTTP/1\.[0-9] [0-9]{3}(?: [^\x00-\x08\x0a-\x1f\x7f]*)?"
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_CONTROL: Final = rb"[\x00\x0b-\x0d]"
_BLANK_LINE: Final = rb"\n\r?\n"


def speaks(first: bytes) -> str:
    """The protocol that `first`, which is no HTTP/1, is the beginning of, or "" if it is none of the usual ones."""
    for beginning, name in _SPEAKERS:
        if first.startswith(beginning):
            return name
    # RFC 9113 §4.1: three bytes of length, the type (4: SETTINGS, 7: GOAWAY), flags, and stream 0.
    if len(first) >= 9 and first[0] == 0 and first[3] in (4, 7) and first[5:9] == bytes(4):
        return "HTTP/2"
    return ""


def broken_rule(head: bytes, secrets: Secrets) -> str:
    """The first fault in `head`, interim responses included: the rule, and the line that breaks it, masked; or ""."""
    for block in re.split(_BLANK_LINE, head):
        fault = _fault_in([line.removesuffix(b"\r") for line in block.split(b"\n")])
        if fault is not None:
            rule, line = fault
            return f"{rule}: {_shown(line, secrets)}"
        if not re.match(rb"HTTP/1\.[0-9] 1", block):
            break  # The body follows a final head.
    return ""


def _shown(line: bytes, secrets: Secrets) -> str:
    name, colon, _ = line.partition(b":")
    private = colon and any(word.encode() in name.lower() for word in PRIVATE)
    return f"{secrets.quote(name)}: (not shown)" if private else secrets.quote(line)


def _fault_in(lines: list[bytes]) -> tuple[str, bytes] | None:
    if not re.fullmatch(_STATUS_LINE, lines[0]):
        return "the status line is not of the form HTTP/1.1 200 OK (RFC 9112 §4)", lines[0]
    if lines[0].split(b" ")[1] == b"101":
        return "a 101 switches to another protocol, which was not asked for (RFC 9110 §15.2.2)", lines[0]
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for number, line in enumerate(lines[1:]):
        if line[:1] in (b" ", b"\t"):
            if number == 0:
                return "the first header line begins with a space (RFC 9112 §2.2)", line
            continue  # A folded line (§5.2), which h11 joins with the one before.
        rule = _fault_of_line(line) if line else None
        if rule is not None:
            return rule, line
        name = line.partition(b":")[0].lower()
        if name == b"content-length":
            lengths.append(line)
        elif name == b"transfer-encoding":
            codings.append(line)
    return _fault_of_framing(lengths, codings)


def _fault_of_line(line: bytes) -> str | None:
    name, colon, value = line.partition(b":")
    if not colon:
        return "a header line has no colon (RFC 9112 §5)"
    if name != name.rstrip(b" \t"):
        return "a header line has a space before its colon (RFC 9112 §5.1)"
    if not re.fullmatch(_TOKEN, name):
        return "the name of a header is no token (RFC 9110 §5.1)"
    if re.search(_CONTROL, value):
        return "the value of a header holds a control character (RFC 9110 §5.5)"
    return None


def _fault_of_framing(lengths: list[bytes], codings: list[bytes]) -> tuple[str, bytes] | None:
    if len(codings) > 1:
        return "Transfer-Encoding is there more than once, as if two programs had added it (RFC 9112 §6.1)", codings[1]
    if codings and _value(codings[0]).lower() != b"chunked":
        return "a Transfer-Encoding other than chunked is not spoken here (RFC 9112 §6.1)", codings[0]
    values = {value.strip() for line in lengths for value in _value(line).split(b",")}
    if len(values) > 1:
        return "the values of Content-Length contradict each other (RFC 9112 §6.3)", b", ".join(lengths)
    if any(not value.isdigit() or len(value) > 20 for value in values):
        return "the value of Content-Length is no length (RFC 9110 §8.6)", lengths[0]
    return None


def _value(line: bytes) -> bytes:
    return line.partition(b":")[2].strip(b" \t")
