"""One established connection, plain or TLS, as its coroutine sees it: bytes out, and a wait that brings bytes in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from wire_rawsse.transport.alerts import is_alert
from wire_rawsse.transport.tls import TlsChannel
from wire_rawsse.waits import READ, WRITE, Coroutine, HostServices, Receive, Wait

RECEIVE_BYTES: Final = 16 * 1024
"""The largest reception while a request is being sent."""


class Channel:
    """Owns `sock` until `end`; `tls` is the channel on it, None for plain HTTP."""

    __slots__ = ("sock", "tls")

    def __init__(self, sock: socket.socket, tls: TlsChannel | None = None) -> None:
        self.sock = sock
        self.tls = tls

    def receive(self, deadline: float) -> Receive:
        """The wait for its next bytes; yield the same one again and again."""
        if self.tls is None:
            return Receive(self.sock, deadline)
        return Receive(self.sock, deadline, recv=self.tls.recv, pending=self.tls.pending)

    def send(self, data: bytes, deadline: float, heard: Callable[[bytes], bool] | None = None) -> Coroutine[bool]:
        """Send `data`; False if that was not possible by `deadline`. Raises `OSError`.

        The peer may answer before it has read everything (RFC 9112 §9.5). While the socket takes no more, and after it
        has failed, each reception is passed to `heard` (b"" is the end); a True from it ends the sending. So an answer
        is read even where the peer has closed or reset the connection after it.
        """
        channel = self.tls or self.sock
        failure: OSError | None = None
        left = memoryview(data)
        while left:
            if failure is None:
                try:
                    left = left[channel.send(left) :]
                    continue
                except BlockingIOError:
                    pass
                except ConnectionError as error:
                    # A reset does not discard what was received before it.
                    if heard is None:
                        raise
                    failure = error
            interest = READ if failure is not None else WRITE if heard is None else READ | WRITE
            if (yield Wait({self.sock.fileno(): interest}, deadline)) is None:
                if failure is not None:
                    raise failure
                return False
            if heard is None:
                continue
            try:
                received = channel.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                if failure is None or is_alert(error):  # An alert says why the peer ended it.
                    raise
                raise failure from None
            if failure is not None and not received:
                raise failure
            if heard(received):
                if self.tls is not None:
                    self.tls.stop_sending()
                return True
        return True

    def settle(self) -> None:
        """Everything has been sent: give back the memory that sending needs. Never raises."""
        if self.tls is not None:
            self.tls.trim()

    def end(self, services: HostServices) -> None:
        """Say goodbye where that is possible at once, and give the socket back. Never raises."""
        if self.tls is not None:
            self.tls.end()
        services.release(self.sock)
