"""A listening socket that can be closed and opened again in the same place. Knows no HTTP and no fault.

*Refuse* must give ECONNREFUSED and still be able to come back on the same port. So a refused TCP listener leaves a
second socket behind, bound but not listening: the kernel refuses connections to it and gives its port to nobody else.
A refused Unix-domain listener leaves its file behind, which refuses the same way.

A Unix-domain socket's file has mode 0600 from its first moment. One that is there already is replaced only if it is a
socket and nobody listens behind it; wire's own relay would take a living relay's place, and delete a file of any kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
import sys
from collections.abc import Callable
from typing import Final

from wire_rawsse.errors import ConnectError, InvalidRequestError
from wire_rawsse.foreign import reason
from wire_rawsse.relay.http import ServerConnection

_BACKLOG: Final = 1024


def host_and_port(place: str) -> tuple[str, int]:
    """Of HOST:PORT, or [IPv6]:PORT. Raises `InvalidRequestError`."""
    host, colon, port = place.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise InvalidRequestError("a place to listen on must be HOST:PORT with a port from 0 to 65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Listener:
    """Shared by both kinds. `name` is the place as it was asked for, `host` the host in it ("" if there is none),
    `url` what a client is told, once open."""

    host = ""

    def __init__(self, name: str, connection: Callable[[Listener], ServerConnection]) -> None:
        self.name = name
        self.url = ""
        self._connection = connection
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Does nothing where it already does. Raises `ConnectError`."""
        if self._server is not None:
            return
        try:
            sock = self._bind()
            sock.listen(_BACKLOG)
        except (OSError, UnicodeError) as error:  # The latter for what no host name can be (RFC 3490).
            why = reason(error) if isinstance(error, OSError) else "it is no host name"
            raise ConnectError(
                f"cannot listen on {self.name}: {why}; end what is there, or choose another place"
            ) from error
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._connection(self), sock=sock, backlog=_BACKLOG)

    def refuse(self) -> None:
        """Close the listening socket and keep the place. Does nothing where it does not listen."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._keep_place()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _bind(self) -> socket.socket:
        raise NotImplementedError

    def _keep_place(self) -> None:
        raise NotImplementedError


class TcpListener(Listener):
    """HOST:PORT, with TLS where there is a `context`."""

    def __init__(
        self, name: str, connection: Callable[[Listener], ServerConnection], context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(name, connection)
        self._scheme = "http" if context is None else "https"
        self._place = host_and_port(name)
        self.host = self._place[0]
        self._placeholder: socket.socket | None = None

    def close(self) -> None:
        super().close()
        if self._placeholder is not None:
            self._placeholder.close()

    def _bind(self) -> socket.socket:
        sock, self._placeholder = self._placeholder, None
        sock = sock or self._bound()
        host, port = self._place = sock.getsockname()[:2]
        self.url = f"{self._scheme}://[{host}]:{port}" if ":" in host else f"{self._scheme}://{host}:{port}"
        return sock

    def _keep_place(self) -> None:
        self._placeholder = self._bound()

    def _bound(self) -> socket.socket:
        family, kind, protocol, _, address = socket.getaddrinfo(*self._place, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            if sys.platform != "win32":  # There it would let another program steal the port.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        return sock


class UnixListener(Listener):
    """The path of a Unix-domain socket."""

    def __init__(self, name: str, connection: Callable[[Listener], ServerConnection]) -> None:
        super().__init__(name, connection)
        self.url = f"unix://{os.path.abspath(name)}"
        self._ours: tuple[int, int, int] | None = None

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            if self._ours == self._identity():
                os.unlink(self.name)

    def _bind(self) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(self.name).st_mode):
                raise OSError(errno.EEXIST, "a file is there that is no socket")
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(self.name) == 0:
                    raise OSError(errno.EADDRINUSE, "somebody listens there")
            os.unlink(self.name)
        sock = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o177)
        try:
            sock.bind(self.name)
        except OSError:
            sock.close()
            raise
        finally:
            os.umask(mask)
        self._ours = self._identity()
        return sock

    def _keep_place(self) -> None:
        """The file stays, and with nobody behind it refuses."""

    def _identity(self) -> tuple[int, int, int]:
        """Tells our file from another that took its name: inode numbers alone are given out again."""
        found = os.stat(self.name)
        return found.st_dev, found.st_ino, found.st_ctime_ns
