"""Keeps a subscriber's streams in step with wire's relay.json, and wire's stream_state.json in step with the streams.

wire may rotate a slot at any time: a new id, a new token. The old stream then stays perfectly healthy, heartbeats and
all, and never carries an event again. So the file is looked at while everything seems well: one stat(2), at wake-ups
that happen anyway once ten seconds have passed, and at the latest after 29 s. It is also looked at whenever a stream
changes its phase, because a refused token is often the first that is seen of a rotation.

Endpoints come and go without touching the others. A file that cannot be read is a state and one line in the log; the
streams that are there stay, and it is read again.

This runs as the loop's chore: between a wake and the next sleep, in the thread that sleeps. It opens nothing before the
first wait, like everything else here.
"""

from __future__ import annotations

import os
import time
from typing import Final

from wire_rawsse.errors import InvalidRequest, RelayFileError
from wire_rawsse.hosts.task import Task
from wire_rawsse.log import tell, warn
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.state import SubscriberState, summarise
from wire_rawsse.stream import Plan
from wire_rawsse.streams import Streams
from wire_rawsse.transport.tls import UNVERIFIED, Trust
from wire_rawsse.wire import paths
from wire_rawsse.wire.relay_json import Endpoint, Watch, read_endpoints, stream_url
from wire_rawsse.wire.state_file import StateFile

LOOK_EVERY: Final = 10.0
"""Seconds after which the next wake-up, whatever its reason, looks at relay.json."""
LOOK_WITHIN: Final = 29.0
"""Seconds after which it is looked at without any other reason."""


class Follower:
    """The loop's chore (see `hosts.task.Chore`) of a subscriber that was made by `from_wire`."""

    def __init__(
        self, streams: Streams, *, timeouts: Timeouts, keepalive: Keepalive, backoff: Backoff, trust: Trust
    ) -> None:
        self._streams = streams
        self._timeouts = timeouts
        self._keepalive = keepalive
        self._backoff = backoff
        self._trust = trust
        self._tasks: dict[Endpoint, Task] = {}
        self._relay_json = ""
        self._watch: Watch | None = None
        self._state_file: StateFile | None = None
        self._gone: SubscriberState | None = None
        self._problem: str | None = None
        self._warned: str | None = None
        self._unreadable = False
        self._since = time.time()
        self._changed = True
        self._looked_at = 0.0
        self._due = 0.0

    def state(self) -> SubscriberState:
        """From any thread."""
        return summarise(self._streams.snapshots(), gone=self._gone, problem=self._problem, since=self._since)

    # What the loop calls.

    def wanted(self) -> float:
        return 0.0 if self._changed else min(self._due, self._looked_at + LOOK_EVERY)

    def due(self) -> float:
        return 0.0 if self._changed else self._due

    def run(self, now: float) -> None:
        try:
            self._run(now)
        except Exception as error:
            # A fault of ours. The streams must not pay for it; it is told once, and tried again.
            self._report(f"internal error ({type(error).__name__}) while following wire's files; please report it")
            self._due = now + LOOK_WITHIN

    def close(self) -> None:
        if self._state_file is not None:
            now = time.monotonic()
            self._state_file.offer(self.state(), now)
            self._state_file.close(now)

    def _run(self, now: float) -> None:
        self._changed = False
        if self._watch is None:
            self._begin(now)
        elif self._watch.changed() or self._unreadable:
            self._read()
        self._looked_at = now
        self._due = now + LOOK_WITHIN
        if self._state_file is not None:
            self._state_file.offer(self.state(), now)
            self._state_file.flush(now)
            self._due = min(self._due, self._state_file.due() or self._due)

    def _begin(self, now: float) -> None:
        if paths.skip_tls_verify():
            paths.warn_insecure()
            self._trust = UNVERIFIED
        try:
            self._relay_json = paths.relay_json()
            state_file = StateFile(paths.stream_state_json(), pid=os.getpid())
        except RelayFileError as error:  # There is no home to look in. Tried again: it may be mended.
            self._report(str(error))
            return
        self._state_file = state_file
        self._watch = Watch(self._relay_json)  # Before reading, so that no change can fall in between.
        self._read()

    def _read(self) -> None:
        self._unreadable = True  # Until it has been read, whatever may be raised on the way.
        try:
            found = read_endpoints(self._relay_json)
        except RelayFileError as error:
            self._report(str(error))
            return
        self._unreadable = False
        self._report("; ".join([found.note] if found.note else found.problems) or None)
        for endpoint in [known for known in self._tasks if known not in found.endpoints]:
            self._leave(endpoint)
        for endpoint in found.endpoints:
            if endpoint not in self._tasks:
                self._join(endpoint)

    def _join(self, endpoint: Endpoint) -> None:
        try:
            url = parse_url(stream_url(endpoint), "relay_url")
        except InvalidRequest as error:
            self._report(f"{self._relay_json}: {error}")
            return
        plan = Plan(
            url,
            bearer_token=endpoint.slot_token,
            timeouts=self._timeouts,
            keepalive=self._keepalive,
            backoff=self._backoff,
            trust=self._trust,
        )
        self._tasks[endpoint] = self._streams.add(plan, changed=self._note_change)
        tell(f"subscribing to {url.shown}")

    def _leave(self, endpoint: Endpoint) -> None:
        last = self._streams.remove(self._tasks.pop(endpoint))
        self._gone = summarise([last], gone=self._gone)
        tell(f"{last.url} is no endpoint of ours any more")

    def _note_change(self) -> None:
        self._changed = True

    def _report(self, problem: str | None) -> None:
        """Make `problem` the state's, and log it unless it was the last that was logged."""
        self._problem = problem
        if problem is not None and problem != self._warned:
            warn(problem)
        self._warned = problem
