"""Bugs by somebody who had read the shipped code and nothing in this folder: neither the invariants nor the weather.

They stand here as they were handed in, with what their author says of each. Two follow changes of the code since then
(the words around the answer to a look-up and the count of doubts are today's). One more was handed in that a world of
memory cannot know, as it has a poller of its own: an epoll that reports sixteen descriptors and no more.
"""

from __future__ import annotations

from typing import Final

from tests.simulation.planting import STRANGER, Change, Plant

STRANGERS: Final[list[Plant]] = [
    Plant(
        "once one line of a stream has ended, min_rate never trips again on that connection",
        [
            Change(
                "connection:Silence.heard",
                "            self._window_ends = None\n            self._line_ended = False\n",
                "            self._window_ends = None\n",
            )
        ],
        STRANGER,
        "The note that a line has ended is never taken back, so each later byte of an unfinished line begins a window "
        "of its own, which is empty when it is judged. A peer (or a half-dead proxy) that has sent one good line and "
        "then drips one byte each minute into a line that never ends holds the stream 'connected' for ever: neither "
        "`read` nor `min_rate` runs out.",
    ),
    Plant(
        "a reconnect of a wake stream gives no wake where an event id is known",
        [
            Change(
                "wake_streams:WakeSink.opened",
                "        self._parser = WakeParser(last_event_id=self.last_event_id)\n        return True",
                "        known = self._parser.last_event_id\n"
                "        self._parser = WakeParser(last_event_id=self.last_event_id)\n"
                "        return not known",
            )
        ],
        STRANGER,
        "The author trusted Last-Event-ID to replay what was missed; the relay never replays. From the first `id:` "
        "on, every event posted between two connections is missed without a wake, until something else happens to be "
        "posted. A first connection, and any server without ids, behaves as before.",
    ),
    Plant(
        "restart() of a live stream waits out the back-off that came before that stream",
        [
            Change(
                "reconnect:_one_after_another",
                "            pause = 0\n            continue",
                "            continue",
            )
        ],
        STRANGER,
        "`pause` still holds the delay before the present connection, so after a Restart the loop sleeps it once more "
        "(up to 30 s, an hour after a Retry-After or a retry:) while the state says that the next attempt is due now. "
        "It happens only on a connection that was itself a reconnect; the first one restarts at once, and a second "
        "restart() cuts the sleep short.",
    ),
    Plant(
        "a restart that meets received bytes not yet handed over is swallowed",
        [
            Change(
                "hosts.turns:Turns._resume",
                "if reason is not None:",
                "if task.throw is not None:",
            )
        ],
        STRANGER,
        "Where bytes have been received but not yet handed to the coroutine, the interruption is cleared without "
        "having been thrown. restart() is then lost: always when the host calls it right after the wait that brought "
        "a hinted wake, or when another thread calls it on a busy stream; the host believes in a new connection and "
        "stays on the old one.",
    ),
    Plant(
        "a socket is closed before it is taken out of the poller, and then cannot be found there",
        [
            Change(
                "hosts.task:Task.release",
                "        self._loop.forget(sock.fileno())\n        try:\n            sock.close()\n",
                "        try:\n            sock.close()\n            self._loop.forget(sock.fileno())\n",
            )
        ],
        STRANGER,
        "A closed socket's fileno is -1, so the loop keeps believing that the old number is watched. Where the next "
        "socket gets the same number and is first waited for with the same interest, with no wait in between "
        "(restart() over a Unix-domain socket: it connects and sends at once), it is never registered: the new "
        "connection is deaf until response= has run out. Where a forked child still holds a copy, the epoll reports "
        "the dead descriptor for ever and the loop spins.",
    ),
    Plant(
        "a connect budget that runs out while addresses are left is not noticed: the loop spins for ever",
        [
            Change(
                "transport.dial:dial",
                "if ready is None and services.now() >= deadline.at:",
                "if ready is None and not waiting:",
            )
        ],
        STRANGER,
        "The author took 'no address left' for 'the budget is over'. Where the budget ends less than 250 ms after an "
        "attempt began and another address is waiting (a slow look-up that ate the budget, a small connect=, or a "
        "name with many silent addresses), the wait ends at the budget, the stream's clock never reaches the next "
        "start, and the same expired wait is yielded for ever: CPU at 100 %, never a ConnectTimeout, no reconnect.",
    ),
    Plant(
        "a `data` field name that is cut over two reads gives no wake",
        [
            Change(
                "protocol.sse:WakeParser._read",
                "elif not self.data_line:",
                "else:",
            )
        ],
        STRANGER,
        "That the open line has just turned out to be a `data` line is overwritten by the search over the rest of the "
        "piece, which finds none where it held one event only. The raw search misses a cut name as well, so the event "
        "gives no wake: `da` | `ta: x` + blank line, as any cut at a segment, TLS record or chunk border may have it, "
        "a few times a year on a busy relay.",
    ),
    Plant(
        "the back-off's power of two overflows after 1024 failures in a row, and the stream is over for good",
        [
            Change(
                "policy:decide",
                "2.0 ** min(attempt, 60)",
                "2.0**attempt",
            )
        ],
        STRANGER,
        "2.0 ** 1024 raises OverflowError, outside of what the loop catches around a connection; the coroutine ends, "
        "nothing is left in the loop, and wait() sleeps for ever with the state 'closed'. It takes an outage of some "
        "six hours in which no connection is ever healthy: a night without network.",
    ),
    Plant(
        "how healthy the last stream was is counted again for each connection that fails after it",
        [
            Change(
                "record:Record.begin",
                "self.next_attempt_at = None\n        self._accepted = self._last_life = now",
                "self.next_attempt_at = None",
            )
        ],
        STRANGER,
        "An attempt that never gets a head keeps the moments of the last live stream, so it counts as healthy: the "
        "back-off starts anew each time, and the pace earns that stream's tokens once more. After any stream that "
        "lived 10 s, a relay that then refuses connections is met with one each 0.5 to 1 s for as long as it is down, "
        "by every daemon; an outage from the very start backs off properly.",
    ),
    Plant(
        "the first fileno() of a WakeChannel takes a wake that was pending already",
        [
            Change(
                "wake:WakeChannel.fileno",
                "if not self._pending.locked():",
                "if self._pending.acquire(False):",
            )
        ],
        STRANGER,
        "Looking whether a wake is pending now takes it: the descriptor turns readable, wait(0) then says that there "
        "was nothing, and the wake is lost. It needs a wake before the descriptor is first asked for, as when the "
        "subscriber's thread is started (and connects, which is a wake) before the host builds its select loop.",
    ),
    Plant(
        "relay.json is looked at only when the state file is due",
        [
            Change(
                "wire.follow:Follower._run",
                "min(self._due, self._state_file.due() or self._due)",
                "self._state_file.due() or self._due",
            )
        ],
        STRANGER,
        "The later of two moments takes the place of the nearer, so without any other wake-up the file is looked at "
        "after 300 s rather than 29 s. It hurts whoever sleeps without a time-out (the thread host) while nothing is "
        "heard: a daemon started before `wire up` finds its first endpoint, and one whose only stream is silent or "
        "backing off finds a rotated slot, up to five minutes late; heartbeats each 30 s hide it.",
    ),
    Plant(
        "a state file that could once not be written counts as failing for ever",
        [
            Change(
                "wire.state_file:StateFile._write",
                "self._failing = False\n        if not self._swept:",
                "if not self._swept:",
            )
        ],
        STRANGER,
        "The flag is never taken back after a write that worked. After one full disk (or a folder that was read-only "
        "for a second) the file is rewritten every 30 s rather than every 300 s for the rest of the process's life, "
        "2880 writes a day on a flash chip, and no later failure is ever told in the log.",
    ),
    Plant(
        "an answer to a name look-up goes to whoever asked first, not to whoever still waits",
        [
            Change(
                "transport.resolve:Resolver._finish",
                "asked, late = [*asked, *late], []",
                "late = []",
            )
        ],
        STRANGER,
        "A retry that joins a look-up under way is never answered: the answer goes to the attempt that has given up. "
        "Where the resolver needs longer than connect= (first name server dead, 10 to 20 s), the first attempt runs "
        "out, the second joins and runs out as well although the answer came in time, the third begins a new look-up: "
        "the stream never connects again.",
    ),
    Plant(
        "a final response in the same read as an interim one is not looked for",
        [
            Change(
                "protocol.http:Exchange._next_head",
                "continue",
                "return None",
            )
        ],
        STRANGER,
        "After a 1xx the rest of the same read stays unparsed until more bytes come. A server or proxy that sends 103 "
        "(or 100) and the 200 in one segment and is quiet afterwards is dropped with ResponseTimeout after 15 s, on "
        "every attempt: never connected; split over two reads, or with an event close behind, it works.",
    ),
    Plant(
        "how often a host came late is counted over the task's whole life",
        [
            Change(
                "hosts.task:Task._doubt",
                "self._doubts = 1 if wait.renewed or wait.deadline != self._doubted else self._doubts + 1",
                "self._doubts += 1",
            )
        ],
        STRANGER,
        "The count of the benefit of the doubt is not begun anew for a new deadline. After sixteen late returns in "
        "all, the second late look at one connect or response budget is judged unheard: a host that is regularly away "
        "for longer than the budget connected fine for weeks and then cannot get through a handshake any more.",
    ),
]
