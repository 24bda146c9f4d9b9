"""A TLS 1.3 server on OpenSSL's own functions, for what the module `ssl` cannot send: KeyUpdates and late tickets.

The functions are those that the interpreter's own `_ssl` is linked with, called through `ctypes`, so that nothing is
compiled. If they are not exported (a statically linked interpreter), `OpenSSL` raises `LookupError`.
"""

from __future__ import annotations

import _ssl
import ctypes
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

TLS1_3: Final = 0x0304
SET_MIN_PROTO_VERSION: Final = 123  # SSL_CTRL_SET_MIN_PROTO_VERSION, for SSL_CTX_ctrl.
PEM: Final = 1  # SSL_FILETYPE_PEM
BIO_PENDING: Final = 10  # BIO_CTRL_PENDING
NOT_REQUESTED, REQUESTED = 0, 1
"""Of SSL_key_update: whether the peer must update its own keys and say so."""
BATCH: Final = 1000
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


class OpenSSL:
    """The functions that are used here, with their types."""

    _POINTERS = ("TLS_server_method", "SSL_CTX_new", "SSL_new", "BIO_new", "BIO_s_mem")
    _NUMBERS = (
        "SSL_CTX_ctrl",
        "SSL_CTX_use_certificate_chain_file",
        "SSL_CTX_use_PrivateKey_file",
        "SSL_CTX_set_num_tickets",
        "SSL_set_fd",
        "SSL_accept",
        "SSL_read",
        "SSL_write",
        "SSL_set0_wbio",
        "SSL_key_update",
        "SSL_new_session_ticket",
        "SSL_do_handshake",
        "BIO_ctrl",
        "BIO_read",
        "SSL_free",
        "SSL_CTX_free",
    )

    def __init__(self) -> None:
        library = ctypes.CDLL(_ssl.__file__)
        for name in (*self._POINTERS, *self._NUMBERS):
            try:
                function = getattr(library, name)
            except AttributeError:
                raise LookupError(f"this Python's _ssl does not export {name}") from None
            function.restype = ctypes.c_void_p if name in self._POINTERS else ctypes.c_long
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Flood:
    """Accepts one client over TLS 1.3, answers with `head`, sends messages of one kind, and at last `last`.

    `messages` of them are made before any is sent, so that they arrive as fast as the client takes them. After them
    comes one more event, and the connection stays open; or, if it is `endless`, more of them.
    """

    def __init__(
        self,
        chain: Path,
        kind: str,
        messages: int,
        *,
        endless: bool = False,
        address: tuple[str, int] = ("127.0.0.1", 0),
        head: bytes = HEAD + b"data: 1\n\n",
        last: bytes = b"\n\ndata: 2\n\n",
    ) -> None:
        self.kind = kind
        self.messages = messages
        self.endless = endless
        self.head = head
        self.last = last
        self.accepted: list[float] = []
        """When the client came, on CLOCK_MONOTONIC."""
        self.begun = threading.Event()
        """The first message has been sent."""
        self.sent = threading.Event()
        """All of it has."""
        self._ssl = OpenSSL()
        self._chain = str(chain).encode()
        self._listener = socket.create_server(address)
        self.url = f"https://{address[0]}:{self._listener.getsockname()[1]}/"
        self._sock: socket.socket | None = None
        self._over = threading.Event()
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="flood")
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        for sock in (self._listener, self._sock):
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self._thread.join(20)
        self._listener.close()
        if self.failed is not None and not isinstance(self.failed, OSError):
            raise self.failed

    def _run(self) -> None:
        try:
            self._sock, _ = self._listener.accept()
            self.accepted.append(time.monotonic())
            with self._sock as sock:
                for piece in self._pieces(sock):
                    sock.sendall(piece)
                    self.begun.set()
                self.sent.set()
                self._over.wait(60)
        except BaseException as error:
            self.failed = error

    def _pieces(self, sock: socket.socket) -> Iterator[bytes]:
        """Answer on `sock`; then send everything, encrypted."""
        api = self._ssl
        pointer = ctypes.c_void_p
        context = pointer(api.SSL_CTX_new(pointer(api.TLS_server_method())))
        api.SSL_CTX_ctrl(context, SET_MIN_PROTO_VERSION, ctypes.c_long(TLS1_3), None)
        assert api.SSL_CTX_use_certificate_chain_file(context, self._chain) == 1
        assert api.SSL_CTX_use_PrivateKey_file(context, self._chain, PEM) == 1
        api.SSL_CTX_set_num_tickets(context, ctypes.c_size_t(0))
        tls = pointer(api.SSL_new(context))
        try:
            api.SSL_set_fd(tls, sock.fileno())
            assert api.SSL_accept(tls) == 1, "no handshake"
            asked = ctypes.create_string_buffer(8192)
            assert api.SSL_read(tls, asked, 8192) > 0
            self._write(tls, self.head)
            out = pointer(api.BIO_new(pointer(api.BIO_s_mem())))
            api.SSL_set0_wbio(tls, out)
            yield from [self._made(tls, out) for _ in range(self.messages // BATCH)]
            while self.endless and not self._over.is_set():
                yield self._made(tls, out)
            self._write(tls, self.last)
            yield self._taken(out)
        finally:
            api.SSL_free(tls)
            api.SSL_CTX_free(context)

    def _made(self, tls: Any, out: Any) -> bytes:
        for _ in range(BATCH):
            self._message(tls)
        return self._taken(out)

    def _message(self, tls: Any) -> None:
        api = self._ssl
        if self.kind == "tickets":
            assert api.SSL_new_session_ticket(tls) == 1 and api.SSL_do_handshake(tls) == 1
        elif self.kind == "one-byte records":
            self._write(tls, b":")
        else:
            kind = REQUESTED if self.kind == "key updates with answers" else NOT_REQUESTED
            assert api.SSL_key_update(tls, kind) == 1 and api.SSL_do_handshake(tls) == 1

    def _write(self, tls: Any, data: bytes) -> None:
        assert self._ssl.SSL_write(tls, data, len(data)) == len(data)

    def _taken(self, out: Any) -> bytes:
        size = self._ssl.BIO_ctrl(out, BIO_PENDING, ctypes.c_long(0), None)
        made = ctypes.create_string_buffer(size)
        assert self._ssl.BIO_read(out, made, size) == size
        return made.raw
