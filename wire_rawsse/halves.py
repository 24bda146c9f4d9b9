"""Two coroutines that share a task: the wait for both, and the answers to each. See `renewal`."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from wire_rawsse.waits import RECEIVE_BYTES, Coroutine, Future, Receive, Step, Wait


class Both(Wait):
    """The wait of two connections. `sock` is that of the old one."""

    __slots__ = ("sock",)

    def __init__(
        self, interest: Mapping[int, int], deadline: float, future: Future[Any] | None, sock: socket.socket
    ) -> None:
        super().__init__(interest, deadline, future)
        self.sock = sock


class Half:
    """One of two coroutines that share a task."""

    __slots__ = ("_coroutine", "over", "result", "step")

    def __init__(self, coroutine: Coroutine[Any]) -> None:
        self._coroutine = coroutine
        self.step: Step | None = None
        """The present step; None before the first and after the last."""
        self.over = False
        self.result: Any = None
        """The value that it has returned."""

    def resume(self, value: Any = None, error: OSError | None = None) -> None:
        try:
            self.step = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
        except StopIteration as end:
            self.step, self.over, self.result = None, True, end.value

    def answer(self, ready: tuple[int, ...] | None, now: float) -> None:
        """Resume it if its wait was answered: by descriptors that are `ready`, its future, or its deadline."""
        step = self.step
        if not isinstance(step, Wait):
            return
        if step.future is not None and step.future.done:
            self.resume(())
        elif own := tuple(fd for fd in ready or () if fd in step.interest):
            if isinstance(step, Receive):
                self.receive(step)
            else:
                self.resume(own)
        elif ready is None and now >= step.deadline:
            self.resume()

    def receive(self, receive: Receive, most: int = RECEIVE_BYTES) -> int:
        """As the loop does it, but no wake is given before the bytes are parsed.

        Returns how many bytes it was, at most `most`. The end of the connection counts as one.
        """
        try:
            data = receive.recv(min(most, receive.bufsize))
        except BlockingIOError:
            return 0
        except OSError as error:
            self.resume(error=error)
            return 1
        if receive.is_wake is not None:
            receive.is_wake(data)
        self.resume(data)
        return len(data) or 1

    def end(self) -> None:
        self._coroutine.close()
