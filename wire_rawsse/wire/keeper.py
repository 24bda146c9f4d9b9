"""Keeps a stream_state.json in step with the streams of a loop.

`Keeper` is the part that `follow.Follower` uses, for a subscriber with wire's files. `Standalone` is all the
housekeeping (see `hosts.interfaces`) of a daemon that has a URL and a state file of its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from wire_rawsse.log import warn_once
from wire_rawsse.state import SubscriberState, summarise
from wire_rawsse.stream_set import StreamSet
from wire_rawsse.wire.lock import WriterLock
from wire_rawsse.wire.state_file import RETRY, StateFile
from wire_rawsse.wire.work import Work


class Keeper:
    """One state file and what it is made from. Moments are seconds on the loop's monotonic clock. For one thread."""

    def __init__(self, state: Callable[[], SubscriberState], file: StateFile | None = None) -> None:
        self.file = file
        self._state = state
        self._work: Work | None = None

    def claim(self) -> str | None:
        """Take the lock of the file now. The file's path if another writer has it; then there is no file any more."""
        file = self.file
        if file is None or file.claim():
            return None
        self.file = None
        return file.path

    def note_work(self, work: Work) -> bool:
        """Remember what the daemon's command has done. True if that is worth a write of its own."""
        before, self._work = self._work, work
        return before is None or before.news != work.news

    def renew(self) -> None:
        """Have the present state written at the next `keep`."""
        if self.file is not None:
            self.file.renew()

    def keep(self, now: float) -> float:
        """Offer the state and write what is due. When to call it again."""
        if self.file is None:
            return math.inf
        if not self.file.postpone(now):
            self.file.offer(self._state(), now, self._work)
        self.file.flush(now)
        due = self.file.due()
        return math.inf if due is None else due

    def close(self, now: float) -> None:
        """Write the last state and give the lock back."""
        if self.file is not None:
            self.file.offer(self._state(), now, self._work)
            self.file.close(now)


class Standalone:
    """The state file at `path` for these streams."""

    def __init__(self, streams: StreamSet, path: str) -> None:
        self._streams = streams
        file = StateFile(path, pid=os.getpid(), wall=streams.loop.system.time, lock=WriterLock(path))
        self._keeper = Keeper(self.state, file)
        self._changed = True
        self._due = 0.0
        streams.watch(self._note_change)

    def state(self) -> SubscriberState:
        """From any thread."""
        return summarise(self._streams.snapshots())

    def claim(self) -> str | None:
        """Take the lock of the file now. The file's path if another writer has it."""
        return self._keeper.claim()

    def note_work(self, work: Work) -> None:
        """Note the runs of a daemon's command; written with the next state, and soon if it is news."""
        if self._keeper.note_work(work):
            self._changed = True

    def reload(self) -> None:
        """Does nothing: the files of the request are read at each connection."""

    def renew_state(self) -> None:
        """Write the present state soon."""
        self._keeper.renew()
        self._changed = True

    # The loop calls these.

    def deadline(self) -> float:
        return 0.0 if self._changed else self._due

    due_if_awake = deadline

    def run(self, now: float) -> None:
        self._changed = False
        try:
            self._due = self._keeper.keep(now)
        except Exception as error:
            # An internal error must not end the streams.
            warn_once(f"internal error ({type(error).__name__}) while keeping the state file; please report it")
            self._due = now + RETRY
        except BaseException:
            self._changed = True  # A signal handler of the host's raised: what was not written is looked at again.
            raise

    def close(self) -> None:
        self._keeper.close(self._streams.loop.system.monotonic())

    def _note_change(self) -> None:
        self._changed = True
