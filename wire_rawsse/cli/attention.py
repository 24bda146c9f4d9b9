"""The daemon's stream, as something to select on beside signals and a command.

In this thread if the subscriber has a descriptor, and otherwise (Windows, or after gevent's or eventlet's monkey patch)
in a thread of its own.
"""

from __future__ import annotations

import math
from typing import Final

from wire_rawsse.state import SubscriberState
from wire_rawsse.subscriber import StreamSubscriber, spawn_stream_subscriber
from wire_rawsse.wake import WakeChannel
from wire_rawsse.wire.follow import Follower
from wire_rawsse.wire.keeper import Standalone
from wire_rawsse.wire.work import Work

_TO_STOP: Final = 0.1
"""Seconds that a thread has to stop."""


class TakenError(Exception):
    """Another writer holds the lock of the state file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def attend(subscriber: StreamSubscriber, state_file: str | None = None) -> Attention:
    """The subscriber, with its state in `state_file` if there is one and it does not follow wire's files.

    Takes the lock of the state file first, as a thread would take it in its first turn. Raises `TakenError`, with the
    subscriber closed, if another writer holds it.
    """
    files: Follower | Standalone | None = subscriber._follower
    if files is None and state_file is not None:
        files = Standalone(subscriber._streams, state_file)
        subscriber._loop.add_housekeeping(files)
    if files is not None and (taken := files.claim()):
        subscriber.close()
        raise TakenError(taken)
    try:
        subscriber.fileno()
    except OSError as error:
        if error.errno is None:  # There is none, rather than none left.
            return _InThread(subscriber, files)
    return Attention(subscriber, files)


class Attention:
    """A subscriber that is attended in this thread. Moments are monotonic."""

    def __init__(self, subscriber: StreamSubscriber, files: Follower | Standalone | None) -> None:
        self._subscriber = subscriber
        self._files = files

    @property
    def state(self) -> SubscriberState:
        return self._subscriber.state

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return self._subscriber._streams.connections

    def fileno(self) -> int:
        return self._subscriber.fileno()

    def due(self) -> float:
        """When `woken` must be called at the latest."""
        return self._subscriber.deadline()

    def woken(self) -> bool:
        """Do what is due. True if there was a wake."""
        return self._subscriber.wait(0)

    def note_work(self, work: Work) -> None:
        """Write the runs of the command to the state file."""
        if self._files is not None:
            self._files.note_work(work)
            self._subscriber._loop.notify()

    def renew_state(self) -> None:
        """Write the present state into the state file."""
        if self._files is not None:
            self._files.renew_state()
            self._subscriber._loop.notify()

    def reload(self) -> None:
        """Read all files again, and make new connections."""
        if self._files is not None:
            self._files.reload()
        self._subscriber.restart()

    def renew(self) -> None:
        """Make new connections."""
        self._subscriber.restart()

    def close(self) -> None:
        self._subscriber.close()


class _InThread(Attention):
    """A subscriber that runs in its thread."""

    def __init__(self, subscriber: StreamSubscriber, files: Follower | Standalone | None) -> None:
        super().__init__(subscriber, files)
        self._wake = WakeChannel()
        self._thread = spawn_stream_subscriber(self._wake, subscriber)

    def fileno(self) -> int:
        return self._wake.fileno()

    def due(self) -> float:
        return math.inf

    def woken(self) -> bool:
        return self._wake.wait(0)

    def close(self) -> None:
        self._thread.stop(_TO_STOP)
