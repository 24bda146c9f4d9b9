"""The life of a loop's poller: opened at first use, handed out, closed, abandoned after a fork.

It also keeps the requests of other threads.

`close`, `notify`, `request` and `announce` may be called from any thread and from signal handlers. The last two append
to a list, which is one atomic operation, and then make the wake-up descriptor readable. (Not to a deque, because an
empty one takes 760 bytes, and each stream may have its own loop.)
"""

from __future__ import annotations

import _thread
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.system import OsServices
from wire_rawsse.hosts.watch import Watch
from wire_rawsse.transport.resolve import Resolver
from wire_rawsse.waits import READ, Address, Future
from wire_rawsse.wakeup import WakeupFd, try_acquire

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Poller

_OPEN_AGAIN: Final = 0.05
"""Seconds between two attempts to open a poller on a system that has no descriptor left."""


class Handle:
    """`give_back` ends the loop's tasks and housekeeping. It is called once, when no `run` is under way."""

    def __init__(self, system: OsServices, give_back: Callable[[], None]) -> None:
        self.system = system
        self.watch: Watch = Watch()
        self.polled_at = 0.0
        """When the last poll that reported everything returned. If the process was stopped in it: when it began."""
        self.slept_from = 0.0
        """When the present poll began. Minus infinity if the descriptor was handed out, as the host always watches it.
        """
        self.busy = _thread.allocate_lock()
        """Held by the thread that is in `run`."""
        self.handed_out = False
        """A select loop of the host's own polls the poller's descriptor."""
        self.attended = False
        """An event loop polls it, and must forget it before it is closed: see `ready`."""
        self.receiving = False
        """`ready.receive_ready` runs, which does not hold `busy`. It tears down afterwards if needed."""
        self.started = False
        """`run` has begun at least once."""
        self.opens_at = 0.0
        """The next attempt to open the poller is due then, because the last one has failed."""
        self.closing = self.closed = self.forked = False
        self.requests: list[Callable[[], object]] = []
        """Calls for the loop's thread, made before its next sleep."""
        self.answered: list[Future[Any]] = []
        """Futures that were set since the last `take_answered`."""
        self.opened: Callable[[Any], object] | None = None
        """Called with a task that has opened a socket, before it connects."""
        self._give_back: Callable[[], None] | None = give_back
        self._wakeup: WakeupFd | None = None
        self._resolver: Resolver | None = None
        """One for all tasks; made when the first name is looked up."""

    # From any thread, and from signal handlers.

    def close(self) -> None:
        """A `run` under way returns at once, and then everything is given back. Twice is fine."""
        self.closing = True
        self.notify()
        self.tear_down_if_idle()

    def notify(self) -> None:
        """Wake up a `run` under way, or a host that polls the descriptor."""
        wakeup = self._wakeup
        if wakeup is not None:
            wakeup.notify()

    def request(self, call: Callable[[], object]) -> None:
        """Make this call in the thread that runs the loop, before its next sleep. It must not raise, and not block.

        If a signal handler raises in it, it is made again, so it must be idempotent.
        """
        self.requests.append(call)
        self.notify()

    def make_requests_if_idle(self) -> None:
        """Make the requested calls now, unless a `run` is under way, which does so itself."""
        busy = self.busy
        held: list[bool] = []
        try:
            try_acquire(busy, held)
            if held and not self.closing:
                self.make_requested_calls()
        finally:
            if held:
                busy.release()
        if self.closing:
            self.tear_down_if_idle()

    def announce(self, future: Future[Any]) -> None:
        """Note a future that was set, and notify the loop."""
        self.answered.append(future)
        self.notify()

    # From the thread that runs the loop.

    def make_requested_calls(self) -> None:
        """Make the calls that were requested until now."""
        for _ in range(len(self.requests)):
            self.requests[0]()
            del self.requests[0]  # Not earlier: a signal handler may raise in the call.

    def take_answered(self) -> list[Future[Any]]:
        """Returns the futures that were set since the last call."""
        assert self._wakeup is not None
        self._wakeup.drain()  # First: a future that is set from now on notifies again.
        answered = self.answered[:]
        del self.answered[: len(answered)]  # Another thread may have added to them.
        return answered

    def resolve(self, host: str, port: int) -> Future[list[Address]]:
        if self._resolver is None:
            self._resolver = self.system.resolver(self.announce)
        return self._resolver.resolve(host, port)

    # Opening.

    def open(self) -> Poller:
        """The poller, opened if need be. Raises `OSError` if the system has no descriptor left."""
        if self.watch.poller is not None:
            return self.watch.poller
        wakeup = self.system.wakeup_fd()
        poller: Poller | None = None
        try:
            poller = self.system.poller()
            poller.register(wakeup.fileno(), READ)
            self.watch.begin(poller)
        except BaseException:  # Closed here, because a traceback that is kept would keep the descriptors open.
            if poller is not None:
                poller.close()
            wakeup.close()
            raise
        self._wakeup = wakeup
        _opened.add(self)
        if self.closing:
            wakeup.notify()
        return poller

    def open_patiently(self, until: float) -> Poller | None:
        """Open the poller. If the system has no descriptor left, try again until `until`, and then return None."""
        while not self.closing:
            try:
                return self.open()
            except OSError:
                now = self.system.monotonic()
                self.opens_at = now + _OPEN_AGAIN
                pause = min(_OPEN_AGAIN, until - now)
                if pause <= 0:
                    break
                self.system.sleep(pause)
        return None

    def fileno(self) -> int:
        """The poller's own descriptor, handed out from now on; -1 if it has none (poll, select)."""
        if not self.handed_out or self.watch.poller is None:
            self.check_open()
        fd = self.open().fileno()
        self.handed_out = fd >= 0
        if fd < 0 and not self.started:
            self._shut()  # Another thread may run the loop, and a poller of gevent belongs to the thread that made it.
        return fd

    def descriptor(self) -> int:
        """`fileno()` for a select loop of the host's own. Raises `OSError` if there is none."""
        fd = self.fileno()
        if fd < 0:
            raise OSError("this platform has neither epoll nor kqueue; use a WakeChannel and its fileno()")
        return fd

    def check_open(self) -> None:
        if self.forked:
            raise ClosedError("this stream was opened before a fork and lives on in the parent; make another one here")
        if self.closing:
            self.release_descriptor()
            raise ClosedError("this stream is closed; make another one")

    # Closing.

    def release_descriptor(self) -> None:
        """After `close`: the host does not need the descriptor that was handed out any more."""
        self.handed_out = self.attended
        self.tear_down_if_idle()

    def tear_down_if_idle(self) -> None:
        """Give everything back, unless a `run` is under way, which does so itself when it returns."""
        while not self.closed and not self.receiving:
            busy = self.busy
            held: list[bool] = []
            try:
                try_acquire(busy, held)
                if not held:
                    return
                if self._give_back is not None:
                    self._give_back()
                # Break the reference cycles, so that a discarded loop is freed without the collector.
                self._give_back = self._resolver = self.opened = None
                if self.handed_out:
                    # It stays open and readable until the host looks once more. If it were closed now, another file
                    # could get its number, and the host would poll that file. It is notified again, because a `run`
                    # under way may have drained the notification of `close`.
                    self.notify()
                    return
                self._shut()
                self.closed = True  # Last, so that the next `close` completes a teardown that a signal interrupted.
            finally:
                if held:
                    busy.release()

    def _shut(self) -> None:
        _opened.discard(self)
        if self.watch.poller is not None:
            self.watch.poller.close()
        if self._wakeup is not None:
            self._wakeup.close()
        self.watch.poller = self._wakeup = None

    def abandon(self) -> None:
        """In a forked child: close our copies of the descriptors, and leave everything else to the parent."""
        self.busy = _thread.allocate_lock()
        poller, self.watch.poller = self.watch.poller, None
        wakeup, self._wakeup = self._wakeup, None
        self.handed_out = self.attended = self.receiving = False
        try:
            if poller is not None:
                poller.close()
            if wakeup is not None:
                wakeup.abandon()
        except OSError:
            pass  # A kqueue is not inherited.
        if not self.started:
            return  # It was never run, so the child may use it.
        self.forked = self.closing = self.closed = True
        self.watch.abandon()
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


_opened: weakref.WeakSet[Handle] = weakref.WeakSet()


def _abandon_all() -> None:
    for handle in list(_opened):
        handle.abandon()
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
