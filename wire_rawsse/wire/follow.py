"""Keeps a subscriber's streams in step with wire's relay.json, and wire's stream_state.json in step with the streams.

wire may rotate a slot at any time: a new id, a new token. The old stream then stays perfectly healthy, heartbeats and
all, and never carries an event again. So the file is looked at while everything seems well: one stat(2), at wake-ups
that happen anyway once ten seconds have passed, and at the latest after 29 s. It is also looked at whenever a stream
changes its phase, because a refused token is often the first that is seen of a rotation.

Endpoints come and go without touching the others. A file that cannot be read is a state and one line in the log; the
streams that are there stay, and it is read again.

This is the loop's housekeeping: it runs between a wake and the next sleep, in the thread that sleeps. It opens nothing
before the first wait, like everything else here.
"""

from __future__ import annotations

import os
from typing import Final

from wire_rawsse.errors import RelayFileError
from wire_rawsse.log import info, warn, warn_once
from wire_rawsse.plan import Plan
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.state import SubscriberState, summarise
from wire_rawsse.stream_set import StreamHandle
from wire_rawsse.transport.trust import UNVERIFIED, AnyTrust, ClientFiles
from wire_rawsse.wake_streams import WakeStreams
from wire_rawsse.wire import paths
from wire_rawsse.wire.file_system import FileSystem
from wire_rawsse.wire.keeper import Keeper
from wire_rawsse.wire.lock import WriterLock
from wire_rawsse.wire.relay_json import Endpoint, FileWatch, read_endpoints
from wire_rawsse.wire.state_file import StateFile
from wire_rawsse.wire.work import Work

LOOK_EVERY: Final = 10.0
"""Seconds after which the next wake-up, whatever its reason, looks at relay.json."""
LOOK_WITHIN: Final = 29.0
"""Seconds after which it is looked at without any other reason."""


class Follower:
    """The housekeeping (see `hosts.interfaces`) of a subscriber that was made by `from_wire`."""

    def __init__(
        self,
        streams: WakeStreams,
        *,
        timeouts: Timeouts,
        keepalive: Keepalive,
        backoff: Backoff,
        trust: AnyTrust,
        client_cert: ClientFiles | None = None,
        file_system: FileSystem = os,
    ) -> None:
        self._streams = streams
        self._file_system = file_system
        self._timeouts = timeouts
        self._keepalive = keepalive
        self._backoff = backoff
        self._trust = trust
        self._client_cert = client_cert
        self._handles: dict[Endpoint, StreamHandle] = {}
        self._relay_json = ""
        self._watch: FileWatch | None = None
        self._keeper = Keeper(self.state)
        self._gone: SubscriberState | None = None
        self._problem: str | None = None
        self._warned: str | None = None
        self._unreadable = False
        self._since = streams.loop.system.time()
        self._changed = True
        self._looked_at = self._read_at = 0.0
        self._due = 0.0

    def state(self) -> SubscriberState:
        """From any thread."""
        return summarise(self._streams.snapshots(), gone=self._gone, problem=self._problem, since=self._since)

    def claim(self) -> str | None:
        """Take the lock of stream_state.json now. The path of that file, where another subscriber has it."""
        try:
            self._keeper.file = self._open_state_file()
        except RelayFileError:  # There is no home. `run` says so.
            return None
        return self._keeper.claim()

    def note_work(self, work: Work) -> None:
        """Note the runs of a daemon's command; written with the next state, and soon if it is news."""
        if self._keeper.note_work(work):
            self._changed = True

    def renew_state(self) -> None:
        """Write the present state soon."""
        self._keeper.renew()
        self._changed = True

    def reload(self) -> None:
        """Read relay.json at the next turn, whether or not it seems to have changed."""
        self._changed = self._unreadable = True
        self._read_at = -LOOK_EVERY

    # The loop calls these.

    def due_if_awake(self) -> float:
        return 0.0 if self._changed else min(self._due, self._looked_at + LOOK_EVERY)

    def deadline(self) -> float:
        return 0.0 if self._changed else self._due

    def run(self, now: float) -> None:
        try:
            self._run(now)
        except Exception as error:
            # An internal error must not end the streams: it is logged once, and tried again.
            self._report(f"internal error ({type(error).__name__}) while following wire's files; please report it")
            self._unreadable = True  # So that this problem is cleared by the next good look, too.
            self._due = now + LOOK_WITHIN
        except BaseException:
            # A signal handler of the host's raised. Look again at once at every change that was not acted on.
            self.reload()
            raise

    def close(self) -> None:
        self._keeper.close(self._streams.loop.system.monotonic())

    def _run(self, now: float) -> None:
        self._changed = False
        self._looked_at = now
        if self._watch is None:
            self._begin(now)
        elif self._watch.changed() or (self._unreadable and now >= self._read_at + LOOK_EVERY):
            self._read(now)
        # Looking is reading, where it cannot be read; a state file that cannot be written brings us here each second.
        self._due = (self._read_at if self._unreadable else now) + LOOK_WITHIN
        self._due = min(self._due, self._keeper.keep(now))

    def _begin(self, now: float) -> None:
        system, file_system = self._streams.loop.system, self._file_system
        self._read_at = now  # Before the attempt, so that after any failure it is due again later.
        if paths.skip_tls_verify(file_system.environ):
            explicit = self._trust is not None and self._trust is not UNVERIFIED
            paths.warn_insecure(overruled=explicit)
            if not explicit:
                self._trust = UNVERIFIED
        try:
            self._relay_json = paths.relay_json(file_system.environ)
            state_file = self._keeper.file or self._open_state_file()
        except RelayFileError as error:  # There is no home to look in. Tried again: it may be corrected.
            self._report(str(error))
            return
        self._keeper.file = state_file
        # Before reading, so that no change can fall in between.
        self._watch = FileWatch(self._relay_json, system.time, file_system)
        self._read(now)

    def _open_state_file(self) -> StateFile:
        """Nothing is opened yet. Raises `RelayFileError`."""
        file_system = self._file_system
        path = paths.stream_state_json(file_system.environ)
        # A file system of the tests has no locks.
        lock = WriterLock(path, file_system) if file_system is os else None
        wall = self._streams.loop.system.time
        return StateFile(path, pid=file_system.getpid(), wall=wall, file_system=file_system, lock=lock)

    def _read(self, now: float) -> None:
        self._read_at = now  # Not when it was looked at: phases that change all the time would put it off for ever.
        self._unreadable = True  # Until it has been read: anything below may raise.
        try:
            found = read_endpoints(self._relay_json, file_system=self._file_system)
        except RelayFileError as error:
            # Wrong content stays wrong until the file changes, which is noticed; the cause of an OSError may not.
            self._unreadable = isinstance(error.__cause__, OSError)
            self._report(str(error))
            return
        self._unreadable = False
        if found.warning:
            warn_once(found.warning)
        problems = [found.note] if found.note else [*found.problems]
        wanted = frozenset(found.endpoints)
        for endpoint in [known for known in self._handles if known not in wanted]:
            self._leave(endpoint)
        for endpoint in found.endpoints:
            if endpoint not in self._handles:
                self._join(endpoint)
        self._report("; ".join(problems) or None)

    def _join(self, endpoint: Endpoint) -> None:
        plan = Plan(
            endpoint.url,
            bearer_token=endpoint.slot_token,
            timeouts=self._timeouts,
            keepalive=self._keepalive,
            backoff=self._backoff,
            trust=self._trust,
            client_cert=self._client_cert,
            environ=self._file_system.environ,
        )
        self._handles[endpoint] = self._streams.add(plan, changed=self._note_change)
        info(f"subscribing to {endpoint.url.redacted}")

    def _leave(self, endpoint: Endpoint) -> None:
        last = self._streams.remove(self._handles.pop(endpoint))
        self._gone = summarise([last], gone=self._gone)
        info(f"endpoint removed: {last.url}")

    def _note_change(self) -> None:
        self._changed = True

    def _report(self, problem: str | None) -> None:
        """Make `problem` the state's, and log it unless it was the last that was logged."""
        self._problem = problem
        if problem is not None and problem != self._warned:
            warn(problem)
        self._warned = problem
