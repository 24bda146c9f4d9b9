"""A client that sees the wire: a plain socket, and TLS in memory so that ciphertext can be looked at too."""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.parse

from wire_rawsse.testing import RelayClient, Slot

PATIENCE = 30.0
"""Seconds, for a busy machine."""


class Raw:
    """One connection. `plain` is all that came, decrypted; `wire` is what came below TLS; `end` is None, FIN or RST."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None, *, shake: bool = True) -> None:
        parts = urllib.parse.urlsplit(url)
        family = socket.AF_UNIX if parts.scheme == "unix" else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(parts.path if parts.scheme == "unix" else (parts.hostname, parts.port))
            self._start(tls, parts.hostname, shake)
        except BaseException:
            self.socket.close()
            raise

    def _start(self, tls: ssl.SSLContext | None, name: str | None, shake: bool) -> None:
        self.local = "{}:{}".format(*self.socket.getsockname()[:2]) if name else "unix"
        """As the relay's report calls this connection."""
        self.plain = b""
        self.wire = b""
        self.end: str | None = None
        self._tls: ssl.SSLObject | None = None
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
            self.shaken = False
            self._digest()
            if shake:
                self.until(lambda: self.shaken)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        if self._tls is None:
            self.socket.sendall(data)
        else:
            self._tls.write(data)
            self.socket.sendall(self._outgoing.read())

    def ask(self, method: str, target: str, *fields: str, body: bytes = b"", version: str = "1.1") -> None:
        lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *fields]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def subscribe(self, slot: Slot, *fields: str, version: str = "1.1") -> None:
        self.ask("GET", f"{slot.path}/stream", f"Authorization: Bearer {slot.slot_token}", *fields, version=version)

    def until(self, seen: object, seconds: float = PATIENCE) -> bytes:
        """Read until `seen` (bytes in `plain`, or a callable that says so) is there; the bytes up to its end."""
        deadline = time.monotonic() + seconds
        while True:
            if callable(seen):
                if seen():
                    return self.plain
            elif isinstance(seen, bytes) and seen in self.plain:
                return self.plain[: self.plain.index(seen) + len(seen)]
            left = deadline - time.monotonic()
            assert left > 0, f"{seen!r} did not come within {seconds} s, but {self.plain[-300:]!r}, {self.end}"
            assert self.end is None, f"{seen!r} did not come before the {self.end}, but {self.plain[-300:]!r}"
            self._read(left)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read an answer's head off `plain`."""
        text = self.until(b"\r\n\r\n")
        self.plain = self.plain[len(text) :]
        first, *lines = text.decode("latin-1").split("\r\n")[:-2]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), fields

    def take(self) -> bytes:
        """The bytes so far, which are forgotten here."""
        taken, self.plain = self.plain, b""
        return taken

    def quiet(self, seconds: float = 0.15) -> None:
        """Nothing may come for so long (below TLS there may be session tickets), and the connection must stay open."""
        before = len(self.plain)
        deadline = time.monotonic() + seconds
        while self.end is None and (left := deadline - time.monotonic()) > 0:
            self._read(left)
        assert self.plain[before:] == b"" and self.end is None, (self.plain[before:], self.end)

    def ended(self, seconds: float = PATIENCE) -> str:
        """Read to the end: FIN or RST."""
        deadline = time.monotonic() + seconds
        while self.end is None:
            left = deadline - time.monotonic()
            assert left > 0, f"neither FIN nor RST came within {seconds} s"
            self._read(left)
        return self.end

    def _read(self, seconds: float) -> None:
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return
        except ConnectionResetError:
            self.end = "RST"
            return
        if not data:
            self.end = "FIN"
        self.wire += data
        if self._tls is None:
            self.plain += data
        elif data:
            self._incoming.write(data)
            self._digest()

    def _digest(self) -> None:
        assert self._tls is not None
        try:
            if not self.shaken:
                self._tls.do_handshake()
                self.shaken = True
            while piece := self._tls.read(65536):
                self.plain += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        if out := self._outgoing.read():
            self.socket.sendall(out)


def records(wire: bytes) -> list[tuple[int, int, int]]:
    """The TLS records in `wire` (RFC 8446 §5.1): type, announced length, and how much of that is there."""
    found = []
    while len(wire) >= 5:
        length = int.from_bytes(wire[3:5], "big")
        found.append((wire[0], length, len(wire[5 : 5 + length])))
        wire = wire[5 + length :]
    return found


def unchunked(body: bytes) -> bytes:
    """The content of whole chunks (RFC 9112 §7.1); AssertionError where one is not whole."""
    content = b""
    while body:
        size, line_end, rest = body.partition(b"\r\n")
        assert line_end, body
        length = int(size.partition(b";")[0], 16)
        assert rest[length : length + 2] == b"\r\n", body
        content += rest[:length]
        body = rest[length + 2 :]
    return content


EVENT = {"event_id": "whole", "p": "x" * 100}
BYTES = f"data: {json.dumps(EVENT, separators=(',', ':'))}\n\n".encode()
CHUNK = f"{len(BYTES):x}\r\n".encode() + BYTES + b"\r\n"


def log_of(client: RelayClient, raw: Raw) -> list[str]:
    """The relay's report of this connection, oldest first."""
    record = [found for found in client.report()["connections"] if found["peer"] == raw.local][-1]
    return [f"{what} {detail}".strip() for _, what, detail in record["log"]]
