"""More bugs by somebody who had read the shipped code and nothing in this folder, as they were handed in.

Two of the thirty-five are among ours, word for word, and left out: a connect budget of TLS's own, and a deadline that
is judged by a poll that began before it. Those here are found by a few days of storms, the others are in
`planted_before_exact_tests`.
"""

from __future__ import annotations

from typing import Final

from tests.simulation.planting import STRANGER, Change, Plant

MORE: Final[list[Plant]] = [
    Plant(
        "once the host has woken by a hint, what only the parser can see wakes nobody on that connection",
        [
            Change(
                "connection:_read",
                "        news = receive.woke_early = False\n",
                "        news = False\n",
            )
        ],
        STRANGER,
        "`woke_early` is never taken back, so from the first early wake on every wake of the parser counts as given "
        "already. An event whose field name `data` is cut over two reads is lost without a wake, "
        "and each heartbeat is noted as the last wake.",
    ),
    Plant(
        "min_rate judges all bytes of an unfinished line together, not those of each window",
        [
            Change(
                "connection:Silence.passed",
                "        self._window_ends = now + read\n        self._window_bytes = 0\n",
                "        self._window_ends = now + read\n",
            )
        ],
        STRANGER,
        "The count is carried over from window to window. A line that once brought 7500 bytes in its first window may "
        "then drip one byte a minute for ever: each later window is paid for by the first, and neither `read` nor "
        "`min_rate` runs out.",
    ),
    Plant(
        "where the pace owes a connection, its delay replaces a longer Retry-After or retry:",
        [
            Change(
                "reconnect:_pause_after",
                "return max(decision.delay, record.pace.delay(services.now()))",
                "return record.pace.delay(services.now()) or decision.delay",
            )
        ],
        STRANGER,
        "As long as the bucket has tokens nothing is wrong. Once a streak of failures has emptied it, the pause is "
        "what the bucket says (21 s at the most, and sometimes a fraction of a second) although the server has asked "
        "for ten minutes, or the back-off stands at 30 s.",
    ),
    Plant(
        "how long a connection took to be accepted counts as health",
        [
            Change(
                "record:Record.accepted",
                "        self._accepted = self._last_life = now\n",
                "        self._last_life = now\n",
            )
        ],
        STRANGER,
        "Health is then measured from the first look-up. A relay that needs more than 10 s to resolve, connect and "
        "answer, and drops the stream at once after its head, counts as healthy each time: the back-off starts over, "
        "tokens are given for it, and the overloaded relay is asked twice as often as is promised.",
    ),
    Plant(
        "deadline() does not know of bytes that were caught and are still unparsed",
        [
            Change(
                "hosts.inline:Loop.deadline",
                " or self._in_hand or self._caught is not None:",
                " or self._in_hand:",
            )
        ],
        STRANGER,
        "After a wake, a host with a select loop of its own is told to sleep until the stream's own deadline while the "
        "received bytes wait unparsed. An end of the stream or a broken chunk in the same reception, a new id, the "
        "last event's moment: all of it is noticed only when something else becomes readable, up to 75 s later.",
    ),
    Plant(
        "the state file is closed before the streams are, and says connected for ever",
        [
            Change(
                "hosts.inline:Loop._tear_down_if_idle",
                "                for task in self._tasks:\n"
                "                    self._end(task)\n"
                "                self._tasks = []\n"
                "                self.resolver = None  # It knows us, and a loop that is let go of "
                "shall not wait for the collector.\n"
                "                chore, self.chore = self.chore, None\n"
                "                if chore is not None:\n"
                "                    chore.close()\n",
                "                chore, self.chore = self.chore, None\n"
                "                if chore is not None:\n"
                "                    chore.close()\n"
                "                for task in self._tasks:\n"
                "                    self._end(task)\n"
                "                self._tasks = []\n"
                "                self.resolver = None\n",
            )
        ],
        STRANGER,
        "The last state that is written is that of the living streams. A process that closes its subscriber and goes "
        "on living leaves `connected` in stream_state.json, and `wire status` believes it until the file is stale, "
        "ten minutes later.",
    ),
    Plant(
        "the poller's table keeps all that a descriptor was ever registered for",
        [
            Change(
                "hosts.poller:Watch.arm",
                "self.interest[fd] = mask",
                "self.interest[fd] = self.interest.get(fd, 0) | mask",
            )
        ],
        STRANGER,
        "Every socket is first registered for writability, then for readability. After that a wait for both (a full "
        "send buffer under TLS) looks as if it stood already, so the poller waits for bytes only: what has to be "
        "sent stays unsent until the peer says something.",
    ),
    Plant(
        "a relay.json that could once not be read is not read again",
        [
            Change(
                "wire.follow:Follower._read",
                "            self._unreadable = isinstance(error.__cause__, OSError)\n",
                "            self._unreadable = False\n",
            )
        ],
        STRANGER,
        "The file is read again only when its stat changes. After EMFILE or EIO, which say nothing about the file, it "
        "never does: a daemon that started in such a moment has no endpoint, and one that missed a rotation stays on "
        "the dead slot, until somebody touches the file.",
    ),
]
