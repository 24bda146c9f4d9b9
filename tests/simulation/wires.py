"""A daemon of wire's: the shipped `Follower` between a changing relay.json and a stream_state.json that must be true.

The promises, checked before each sleep of the host:

* An endpoint that relay.json names is subscribed to within `LOOK_WITHIN`, and one that it no longer names is left.
* A relay.json that cannot be read, or is half there, changes nothing.
* stream_state.json is whole at every moment and private; it says what is so within the least interval between two
  writes, where the disk can be written to; it is never older than its refresh; its count never falls.
* Nothing else is left in its folder.
* Where there is no home folder, no file is touched and nobody is subscribed to, until there is one; then all of the
  above holds within `LOOK_WITHIN`.
"""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.disk import PID, RELAY_JSON, STREAM_STATE, MemoryDisk
from tests.simulation.lateness import EARLY, slack
from tests.simulation.scene import Joined, MemoryStreams
from tests.simulation.watch import EPSILON
from wire_rawsse.hosts.task import Task
from wire_rawsse.policy import Keepalive
from wire_rawsse.wire.follow import LOOK_WITHIN, Follower
from wire_rawsse.wire.state_file import REFRESH, RETRY

if TYPE_CHECKING:
    from tests.simulation.life import Life, Side

DAY: Final = 86400.0
LEAST_INTERVAL: Final = 1.0
"""Seconds between two writes of the state file, at least."""
LEFTOVER: Final = f"{STREAM_STATE}.99-1.tmp"
"""A temporary file left by a process that has ended."""


class Wires:
    """The files and the follower of one life, all of whose sides are endpoints."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.kernel = life.kernel
        self.disk = disk = MemoryDisk(life.kernel)
        self.streams: MemoryStreams = life.scene.streams
        self.streams.joined, self.streams.leaves = self._joined, self._leaves
        self.sides: dict[Task, Side] = {}
        self.said: dict[str, Any] | None = None
        """The content of stream_state.json."""
        self._said_at = self.kernel.now
        self._inode = 0
        self._reconnects = 0
        self._named: dict[Side, bytes] = {}
        """The endpoints, by what a good relay.json says; it may hold others than it did a moment ago."""
        self._good_since: float | None = None
        """Since when relay.json has been good and readable, and the same."""
        self._writable_since = self.kernel.now
        self._changed_at = self.kernel.now
        self._checked = True
        self._checked_endpoints = False
        disk.folders |= {posixpath.dirname(posixpath.dirname(STREAM_STATE)), posixpath.dirname(STREAM_STATE)}
        disk.put(LEFTOVER, b"{")
        disk.watched = self._look
        self.follower: Follower | None = None

    def begin(self, trust: Any) -> None:
        """Once the sides are there."""
        self.write()
        self.disk.environ = {**self.disk.environ, **self.life.sides[0].environ}
        for side in self.life.sides:
            side.watch.entered = self._changed
        self.follower = Follower(
            self.streams,
            timeouts=self.life.setting.timeouts,
            keepalive=Keepalive(),
            backoff=self.life.setting.backoff,
            trust=trust,
            file_system=self.disk,
        )
        self.life.loop.add_housekeeping(self.follower)
        self.disk.strike = self.life.struck
        if self.life.setting.homeless:
            self.disk.lose_home()
            self.kernel.after(self.life.dice.uniform(1.0, 0.3 * self.life.setting.days * DAY), self._find_home)

    def _find_home(self) -> None:
        self.kernel.tell("there is a home folder")
        self.disk.find_home()
        self.mended()

    # Actions of wire.

    def write(self, whole: bool = True, in_place: bool = False) -> None:
        """relay.json, as things stand."""
        content = self._content()
        self._checked_endpoints = False
        if whole:
            self._named = {side: side.slot for side in self.life.sides if side.named}
            self._set_good()
        else:
            content = content[: self.kernel.random.randrange(len(content) - 2)]
            self._good_since = None
        self.disk.put(RELAY_JSON, content, in_place)

    def mended(self) -> None:
        """It can be read again."""
        if self._good_since is not None and self.disk.readable:
            self._set_good()

    def _set_good(self) -> None:
        self._good_since = since = self.kernel.now
        self.kernel.after(LOOK_WITHIN + EPSILON, self._check_sleeper, since)

    def _check_sleeper(self, since: float) -> None:
        """Anyone who sleeps must have woken for it by now: there may be nothing else that wakes him."""
        host_is_there = self.kernel.sleeping and not self.kernel.stopped and not slack(self.kernel, since)
        if since == self._good_since and host_is_there and self.disk.readable and not self.life.closing:
            self._check_endpoints()

    def spoil(self, content: bytes) -> None:
        """relay.json holds something else."""
        self._good_since = None
        self.disk.put(RELAY_JSON, content)

    def _content(self) -> bytes:
        endpoints = [
            {"relay_url": side.base, "slot_id": side.slot.decode(), "slot_token": side.token.decode(), "scope": "lan"}
            for side in self.life.sides
            if side.named
        ]
        return json.dumps({"self": {"endpoints": endpoints}, "peers": {}}).encode()

    # Called by the follower.

    def _joined(self, joined: Joined) -> None:
        self.kernel.tell("follower: joins %s", joined.plan.url.redacted)
        if self.disk.homeless:
            self.kernel.fail(f"subscribes to {joined.plan.url.redacted}, and there is no home folder")
        for side in self.life.sides:
            if joined.plan.url.redacted.startswith(f"{side.base}/") or joined.plan.url.socket_path == side.base[7:]:
                self.sides[joined.task] = side
                self._checked_endpoints = False
                side.stream = joined
                side.watch.follow(joined, fresh=False)
                return
        self.kernel.fail(f"subscribes to {joined.plan.url.redacted}, which relay.json has never named")

    def _leaves(self, task: Task) -> None:
        side = self.sides.pop(task)
        self._checked_endpoints = False
        self.kernel.tell("follower: leaves %s", side.name)
        if self._good_since is None or self.disk.unreadable or self.disk.failing:
            self.kernel.fail(f"{side.name} is left because of a relay.json that cannot be read")
        if self._named.get(side) == side.stream_slot:
            self.kernel.fail(f"{side.name} is left, and relay.json names it")
        side.watch.leave()

    # The promises.

    def _changed(self) -> None:
        self._changed_at = self.kernel.now
        self._checked = False

    def _look(self, path: str) -> None:
        """Something else stands at `path`: anyone who reads it now must find it whole."""
        if path != STREAM_STATE:
            return
        if self.disk.homeless:
            self.kernel.fail("stream_state.json is written, and there is no home folder")
        inode = self.disk.files.get(path)
        if inode is None:
            self.kernel.fail("stream_state.json has vanished")
        try:
            said = json.loads(inode.content)
            count = said["reconnect_count"]
        except (ValueError, KeyError):
            self.kernel.fail(f"stream_state.json is half-written: {inode.content[:60]!r}")
        if inode.mode & 0o77:
            self.kernel.fail(f"stream_state.json may be read by anybody: mode {inode.mode:o}")
        if said["pid"] != PID:
            self.kernel.fail(f"stream_state.json names the process {said['pid']}")
        if count < self._reconnects:
            self.kernel.fail(f"the count of reconnects fell from {self._reconnects} to {count}")
        self._reconnects = count
        if inode.number != self._inode and self.said is not None and not self.life.closing:
            self._check_rate(said)
        self._inode = inode.number
        self.said, self._said_at = said, self.kernel.now
        self._checked = False

    def _check_rate(self, said: dict[str, Any]) -> None:
        """At most one write in `LEAST_INTERVAL`, and without changes one in `REFRESH`; a failed write is retried
        sooner.
        """
        passed = self.kernel.now - self._said_at
        if passed < LEAST_INTERVAL - EARLY:
            self.kernel.fail(f"stream_state.json is written again after {passed:.3f} s")
        trouble = self._writable_since > self._said_at
        if passed < REFRESH - EARLY and not trouble and _news(said) == _news(self.said):
            self.kernel.fail(f"stream_state.json is written again after {passed:.3f} s, and nothing is new")

    def check(self, sleeps: bool = True) -> None:
        now, disk = self.kernel.now, self.disk
        if not disk.writable:
            self._writable_since = now
        if not disk.readable and self._good_since is not None:
            self._good_since = now
        if self.life.closing:
            return
        since = self._good_since
        if since is not None and not self._checked_endpoints and self._late(since, LOOK_WITHIN):
            self._checked_endpoints = True
            self._check_endpoints()
        if now - self._said_at > REFRESH and self._late(max(self._said_at, self._writable_since + RETRY), REFRESH):
            self.kernel.fail(f"stream_state.json is {now - self._said_at:.0f} s old")
        if not self._checked and self._late(max(self._changed_at, self._writable_since), LEAST_INTERVAL):
            self._checked = True
            self._check_state()

    def _late(self, since: float, bound: float) -> bool:
        passed = self.kernel.now - since - bound - EPSILON
        return passed > 0 and passed > slack(self.kernel, since)

    def _check_endpoints(self) -> None:
        followed = {side: side.stream_slot for side in self.sides.values()}
        if followed != self._named:
            self.kernel.fail(
                f"relay.json has named {list(self._named.values())} for {LOOK_WITHIN:g} s, "
                f"followed are {list(followed.values())}"
            )

    def _check_state(self) -> None:
        """stream_state.json, against the phases that the watch has seen, and checks against the network."""
        said = self.said
        if said is None:
            self.kernel.fail("there is no stream_state.json")
        live = {side.stream.plan.url.redacted: side.watch.record.phase == "streaming" for side in self.sides.values()}
        told = {one["relay"]: one["state"] == "connected" for one in said["endpoints"]}
        if told != live:
            self.kernel.fail(f"stream_state.json says {told}, and connected are {live}")
        if (said["state"] == "connected") != any(live.values()):
            self.kernel.fail(f"stream_state.json says {said['state']}, and connected are {live}")

    def closed(self) -> None:
        """The final check."""
        if not self.disk.writable:
            return
        if self.said is None or self.said["state"] == "connected":
            self.kernel.fail(f"closed, and stream_state.json says {self.said and self.said['state']}")
        left = [path for path in self.disk.files if path.endswith(".tmp")]
        if left:
            self.kernel.fail(f"left behind on the disk: {left}")


def _news(said: dict[str, Any] | None) -> Any:
    """The part whose change justifies a write before the refresh is due."""
    if said is None:
        return None
    parts = [said, *said["endpoints"]]
    return [(one.get("relay"), one["state"], one["last_error"], one["reconnect_count"], one["phase"]) for one in parts]
