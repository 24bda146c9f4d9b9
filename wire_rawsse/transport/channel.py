"""One established connection, plain or TLS, as its coroutine sees it: bytes out, and a wait that brings bytes in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.transport.alerts import is_alert
from wire_rawsse.waits import READ, WRITE, Coroutine, Receive, Wait

if TYPE_CHECKING:
    from wire_rawsse.services import HostServices
    from wire_rawsse.transport.tls import TlsChannel

HEAD_RECEIVE_BYTES: Final = 4096
"""Bytes to receive at once where no host receives."""


class Channel:
    """Owns `sock` until `end`; `tls` is the channel on it, None for plain HTTP."""

    __slots__ = ("sock", "tls")

    def __init__(self, sock: socket.socket, tls: TlsChannel | None = None) -> None:
        self.sock = sock
        self.tls = tls

    def receive(self, deadline: float) -> Receive:
        """The wait for what the socket brings next: under TLS ciphertext, see `plaintext`. Yield it again and again."""
        return Receive(self.sock, deadline)

    def received(self, receive: Receive) -> Coroutine[bytes | None]:
        """The same as `yield receive`; and if the socket has not taken all of what TLS has to send, that is sent, too.

        A host asks `receive.is_wake` about each reception, so this does too if it receives itself.
        """
        while self.tls is not None and not self.tls.flush():
            if (yield Wait({receive.fd: READ | WRITE}, receive.deadline)) is None:
                return None
            try:
                received = self.sock.recv(HEAD_RECEIVE_BYTES)
            except BlockingIOError:
                continue
            if receive.is_wake is not None:
                receive.is_wake(received)
            return received
        data: bytes | None = yield receive
        return data

    def plaintext(self, received: bytes | None) -> Iterator[bytes]:
        """The plaintext of a reception, b"" for the end of the stream. None: bytes that were received before.

        Raises `OSError` if TLS has failed, after everything that came before the failure.
        """
        tls = self.tls
        if tls is None:
            if received is not None:
                yield received
            return
        data = tls.decrypt(received)
        if data:
            yield data
        if tls.failure is not None:
            raise tls.failure
        if tls.ended:
            yield b""

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
                for received in self.plaintext(self.sock.recv(HEAD_RECEIVE_BYTES)):
                    if failure is not None and not received:
                        raise failure
                    if heard(received):
                        if self.tls is not None:
                            self.tls.stop_sending()
                        return True
            except WireRawSSEError:
                raise  # Of `heard`.
            except BlockingIOError:
                continue
            except OSError as error:
                if failure is None or is_alert(error):  # An alert says why the peer ended it.
                    raise
                raise failure from None
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
