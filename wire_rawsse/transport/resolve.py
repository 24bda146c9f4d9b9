"""Names to addresses, without ever blocking.

getaddrinfo(3) has no deadline and cannot be interrupted: with a dead resolver it takes as long as the C library likes,
at worst for ever. So each look-up runs in a plain daemon thread, which delivers its future. A waiter that gives up
leaves the thread alone. `concurrent.futures` would not do: it joins its threads at the interpreter's exit, so a dead
resolver would hang the exit.

Threads that were left alone must not add up. While a look-up of a name is under way, another request for it joins that
look-up: at most one thread for each name, however often it is retried and however many streams want it (an endpoint
whose slot is rotated is another stream each time). A look-up that began while the network was down may fail when it is
up again, so a failure counts only for the waiters that were there at its beginning. For later ones the same thread
looks the name up once more.

Nor may thousands of names be thousands of threads: at most `MOST_THREADS` of one resolver look names up at a time. The
others wait until a thread is free, which skips look-ups that were given up meanwhile.

Numeric hosts need no thread: with AI_NUMERICHOST nothing is asked of anybody.
"""

from __future__ import annotations

import _thread
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from weakref import ReferenceType, ref

from wire_rawsse.waits import Address, Future

MOST_THREADS: Final = 32
"""Of one resolver. More than the streams that connect at a time, since look-ups that were given up may hang on."""

LookUp = Callable[[str, int], "list[Address]"]


def look_up(host: str, port: int, flags: int = 0) -> list[Address]:
    """Blocking. The addresses of `host` in the order of RFC 6724, as getaddrinfo(3) gives them. Raises `OSError`.

    `host` is ASCII, and bytes are given to the C library as they are. For a str Python loads the codec `idna`, which
    takes 150 to 250 KiB. But a function in the place of `getaddrinfo`, as gevent's and eventlet's, may know only a str.
    """
    genuine = getattr(socket.getaddrinfo, "__globals__", None) is vars(socket)
    try:
        name = host.encode("ascii") if genuine else host
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "no valid host name") from error
    return [Address(family, kind, protocol, place) for family, kind, protocol, _, place in found]


def _nobody_waits(future: Future[Any]) -> None:
    """For a future that is done when it is given out."""


class _UnderWay:
    """One look-up in a thread, and the futures that it owes."""

    __slots__ = ("_waiting", "over")

    def __init__(self) -> None:
        self._waiting: deque[ReferenceType[Future[list[Address]]]] = deque()
        self.over = False
        """It takes no more futures. Set before the last `take`."""

    def join(self, future: Future[list[Address]]) -> None:
        """Owe one more future, for as long as someone else refers to it."""
        self._waiting.append(ref(future))
        while self._waiting[0]() is None:  # Of attempts that gave up. `future` itself ends the loop.
            self._waiting.popleft()

    def take(self) -> list[Future[list[Address]]]:
        """The futures that are still waited for; each is taken only once."""
        taken = []
        while self._waiting:
            future = self._waiting.popleft()()
            if future is not None:
                taken.append(future)
        return taken


_Job: TypeAlias = "tuple[str, int, _UnderWay]"


class Resolver:
    """Look-ups under way, by name.

    There is no lock. A signal handler of the host's may raise in `resolve`, and on CPython 3.14 a lock that is taken by
    `with` may then be held for ever. Each step that two threads share is one atomic operation of a dict, list or deque.
    For the same reason a look-up is a bare thread: `threading.Thread.start` takes locks.
    """

    def __init__(self, announce: Callable[[Future[Any]], object], look_up: LookUp = look_up) -> None:
        self._announce = announce
        self._look_up = look_up
        self._under_way: dict[tuple[str, int], _UnderWay] = {}
        self._waiting: list[_Job] = []
        """Look-ups for which there is no thread yet."""
        self._threads: dict[_UnderWay, None] = {}
        """By the look-up that each was started for."""

    def resolve(self, host: str, port: int) -> Future[list[Address]]:
        """Start or join a look-up. Drop the future to give up on it. From one thread at a time."""
        try:
            numeric: Future[list[Address]] = Future(_nobody_waits)
            numeric.set_result(look_up(host, port, socket.AI_NUMERICHOST))
            return numeric
        except OSError:
            pass  # Not numeric.
        future: Future[list[Address]] = Future(self._announce)
        name, mine = (host, port), _UnderWay()
        try:
            while True:
                under_way = self._under_way.setdefault(name, mine)
                under_way.join(future)
                if not under_way.over:  # Otherwise its thread may have taken its last futures already.
                    break
            if under_way is mine:
                self._start(host, port, under_way)
        except BaseException:
            # A signal handler raised. A look-up that never began would be joined for ever, and hold a place.
            self._forget(name, mine)
            self._threads.pop(mine, None)
            raise
        return future

    def _start(self, host: str, port: int, under_way: _UnderWay) -> None:
        # In this order: a thread that ends takes its name off before it looks for the last time.
        self._waiting.append((host, port, under_way))
        if len(self._threads) >= MOST_THREADS:
            return
        try:
            host, port, under_way = self._waiting.pop(0)
        except IndexError:
            return  # A thread has become free.
        self._threads[under_way] = None
        try:
            _thread.start_new_thread(self._run, (host, port, under_way))
        except RuntimeError as error:  # The system has no thread left.
            self._threads.pop(under_way, None)
            self._finish(host, port, under_way, under_way.take(), [], OSError(str(error)))

    def _run(self, host: str, port: int, under_way: _UnderWay) -> None:
        """A thread: this look-up, and then those that wait for a thread."""
        name = under_way
        self._look_up_one(host, port, under_way, under_way.take())
        while (job := self._next(name)) is not None:
            host, port, under_way = job
            asked = under_way.take()
            if not asked:  # Given up. Those who join at this very moment are looked up for.
                asked = self._finish(host, port, under_way, [], [], OSError("given up"))
            if asked:
                self._look_up_one(host, port, under_way, asked)

    def _look_up_one(self, host: str, port: int, under_way: _UnderWay, asked: list[Future[list[Address]]]) -> None:
        while True:
            try:
                found, error = self._look_up(host, port), None
            except Exception as caught:
                found, error = [], caught
            asked = self._finish(host, port, under_way, asked, found, error)
            if not asked:
                return

    def _next(self, name: _UnderWay) -> _Job | None:
        """The look-up that the thread of that name does next; None: it ends."""
        while True:
            try:
                return self._waiting.pop(0)
            except IndexError:
                self._threads.pop(name, None)  # A signal handler may have raised in `_start`, and taken it off.
            if not self._waiting:
                return None
            self._threads[name] = None  # One was added before it could be known that this thread ends.

    def _finish(
        self,
        host: str,
        port: int,
        under_way: _UnderWay,
        asked: list[Future[list[Address]]],
        found: list[Address],
        error: Exception | None,
    ) -> list[Future[list[Address]]]:
        """Deliver what a look-up for `asked` has given. Returns the futures for which it must be made once more."""
        late = under_way.take()
        if error is None:
            asked, late = [*asked, *late], []
        if not late:
            self._forget((host, port), under_way)
            under_way.over = True
            late = under_way.take()  # Joined before they could know.
        for future in asked:
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)
        return late

    def _forget(self, name: tuple[str, int], under_way: _UnderWay) -> None:
        if self._under_way.get(name) is under_way:
            self._under_way.pop(name, None)
