"""One established connection, plain or TLS, as its coroutine sees it: bytes out, and a wait that brings bytes in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final, cast

from wire_rawsse.transport.tls import say_goodbye, what_ended, would_block
from wire_rawsse.waits import READ, WRITE, Coroutine, Receive, Wait, World

RECEIVE_BYTES: Final = 64 * 1024
"""The largest reception while a request is being sent."""
_PLAIN: Final[tuple[type[OSError], ...]] = (BlockingIOError,)


class Connection:
    """Owns `sock` until `end`."""

    __slots__ = ("_again", "_again_write", "sock", "tls")

    def __init__(self, sock: socket.socket, *, tls: bool = False) -> None:
        self.sock = sock
        self.tls = tls
        self._again, self._again_write = would_block() if tls else (_PLAIN, ())

    def receive(self, deadline: float) -> Receive:
        """The wait for its next bytes; yield the same one again and again."""
        # What SSLSocket.recv calls, without the Python frames around it: every wake waits for them.
        recv: Callable[[int], bytes] | None = cast(Any, self.sock).read if self.tls else None
        return Receive(self.sock, deadline, again=self._again, again_write=self._again_write, drain=self.tls, recv=recv)

    def send(self, data: bytes, deadline: float, heard: Callable[[bytes], bool] | None = None) -> Coroutine[bool]:
        """Send `data`; False if that was not possible by `deadline`. Raises `OSError`.

        The peer may answer before it has read everything (RFC 9112 §9.5). While the socket takes no more, and after it
        has failed, each reception is passed to `heard` (b"" is the end); a True from it ends the sending. So an answer
        is read even where the peer has closed or reset the connection after it.
        """
        recv = self.receive(deadline).recv
        left = memoryview(data)
        while left:
            try:
                left = left[self.sock.send(left) :]
                continue
            except self._again as reason:
                interest = WRITE if not self.tls or isinstance(reason, self._again_write) else READ
            except OSError:
                if heard is None or not self._heard_before_failure(recv, heard):
                    raise
                return True
            if (yield Wait({self.sock.fileno(): interest if heard is None else interest | READ}, deadline)) is None:
                return False
            if heard is not None:
                try:
                    received = recv(RECEIVE_BYTES)
                except self._again:
                    continue
                if heard(received):
                    return True
        return True

    def _heard_before_failure(self, recv: Callable[[int], bytes], heard: Callable[[bytes], bool]) -> bool:
        """Pass on what was received before a `send` failed; whether `heard` has what it wants.

        A reset does not discard the receive queue, and nothing follows it, so there is nothing to wait for.
        """
        try:
            while received := recv(RECEIVE_BYTES):
                if heard(received):
                    return True
        except OSError:
            pass  # Would block, or failed as well: the error of `send` says why.
        return False

    def cause(self, error: OSError) -> OSError:
        """Why it broke, where `error` does not say it. Only before `end`."""
        return what_ended(self.sock, error) if self.tls else error

    def end(self, world: World) -> None:
        """Say goodbye where that is possible at once, and give the socket back. Never raises."""
        if self.tls:
            say_goodbye(self.sock)
        world.release(self.sock)
