"""The rest of what that stranger handed in: each is found by an exact test, with the plant in place.

For one of these reasons:

* It takes what a life does not have: redirects between origins, NO_PROXY, a CA file, a name with addresses of two
  families in unequal numbers, a `StreamSubscriber` or a `SubscriberThread` around the loop.
* It takes two threads within a system call of each other.
* It takes a coincidence of bytes or moments that nobody draws in days: two writes of a file in one tick of its clock, a
  reset just behind a read that filled its room, a look-up that is stopped with its host and joined by the next attempt.

Those tests were written after the plants were handed in, out of what the README, the design and the standards promise,
and each over all cuts, sizes, framings or settings that the promise is about, not over the one of the plant.
"""

from __future__ import annotations

from typing import Final

from tests.simulation.planted_from_reports import EXACT_REPORTS
from tests.simulation.planting import MADE, STRANGER, Change, Plant

EXACT: Final[list[Plant]] = [
    *EXACT_REPORTS,
    Plant(
        "a wake stream keeps id: and retry: only of receptions that hold a data line",
        [
            Change(
                "wake_streams:WakeSink.feed",
                "        news = parser.feed(piece)\n",
                "        news = parser.feed(piece)\n        if not news:\n            return False\n",
            )
        ],
        STRANGER,
        "Where an event is cut behind its data line, the id commits with the second half, which is no news. The sink "
        "keeps the old id, and a reconnect right then sends a stale Last-Event-ID, so the server replays what was "
        "seen. A `retry:` that comes alone is lost for good if the connection ends before the next event.",
        exact="requests:test_a_reconnect_asks_for_what_came_behind_the_last_event_that_was_whole",
    ),
    Plant(
        "close() of a subscriber that nobody waits on gives nothing back",
        [
            Change(
                "subscriber:StreamSubscriber.close",
                "        self._loop.close()",
                "        self._loop.closing = True  # Whoever is in `wait` tidies up.\n        self._loop.announce()",
            )
        ],
        STRANGER,
        "A wait under way ends as it should and tears down. Where the host closes between two waits, which is the "
        "usual way with one thread, the socket, the poller and the state file stay as they are: the server keeps a "
        "stream, and stream_state.json says `connected` of a stream that is closed.",
        exact="threads:test_a_subscriber_that_nobody_waits_on_gives_everything_back_when_it_is_closed",
    ),
    Plant(
        "a pace that is handed over stays on the clock of the stream that is gone",
        [
            Change(
                "policy:TokenBucket.hand_over",
                "self._since = clock",
                "self._since = now",
            )
        ],
        STRANGER,
        "A stream's clock stands still while its host is away, so it may lie hours behind that of its successor, and "
        "the difference is taken for rest: the bucket is full at once. A slot that is rotated again and again under a "
        "busy host has the relay hammered with a fresh burst each time. With a punctual host nothing is to be seen.",
        exact="rotations:test_slots_that_are_rotated_under_a_host_that_was_away_for_an_hour_stay_below_the_pace",
    ),
    Plant(
        "a look-up's answer is announced before it can be seen",
        [
            Change(
                "waits:Future._set_done",
                "        self.done = True  # Last: the host reads it without a lock.\n        self._announce()",
                "        self._announce()\n        self.done = True",
            )
        ],
        STRANGER,
        "The bell is rung by a system call that lets the host's thread run. Where the host is quicker it silences the "
        "bell, finds no answer and sleeps on; nobody rings again. The look-up has succeeded in a millisecond and the "
        "attempt fails after the whole connect budget, now and then and only on a loaded machine.",
        exact="threads:test_a_host_that_is_quicker_than_the_thread_that_tells_it_of_an_answer_finds_it",
    ),
    Plant(
        "the last event of an endpoint that is gone is forgotten",
        [
            Change(
                "state:summarise",
                "last_event_at=_latest(one.last_event_at for one in counted)",
                "last_event_at=_latest(one.last_event_at for one in found)",
            )
        ],
        STRANGER,
        "After a slot has been rotated, the state and stream_state.json say that there has never been an event, until "
        "the new slot gets one. The counts, the last byte and the last wake are still carried over.",
        exact="rotations:test_the_last_event_of_a_slot_that_is_gone_is_not_forgotten",
    ),
    Plant(
        "the descriptor of a WakeChannel is silenced only where a wake is pending",
        [
            Change(
                "wake:WakeChannel.wait",
                "            if bell is not None:\n                bell.silence()",
                "            if bell is not None and there:\n                bell.silence()",
            )
        ],
        STRANGER,
        "A wake that comes while somebody is blocked in `wait`, or is taken between the release of the lock and the "
        "ring, leaves the descriptor readable with nothing pending. From then on `wait(0)` says False and silences "
        "nothing: a select loop on that descriptor spins at full load until the next wake.",
        exact="threads:test_a_wake_that_was_taken_before_its_ring_leaves_nothing_to_be_looked_for",
    ),
    Plant(
        "what a look-up's thread was spared outlasts the deadline that it was spared for",
        [
            Change(
                "hosts.task:Task.expired",
                "        self._spared = None\n        self._now = self.wait.deadline\n",
                "        self._now = self.wait.deadline\n",
            )
        ],
        STRANGER,
        "Where the host was stopped during a look-up and no answer came in the moment that was left for it, the next "
        "answer, of the attempt after, sets the clock back to the lag of that time: the host's absence is charged to "
        "the new attempt after all. A name that resolves and a server that accepts at once give a ConnectTimeout.",
        exact="hosts:test_what_a_look_up_was_spared_is_not_charged_to_the_attempt_behind_it",
    ),
    Plant(
        "a ring of the bell while another thread rings or closes it is not looked for",
        [
            Change(
                "hosts.bell:Bell._settle",
                "            finally:\n                if taken:\n                    self._busy.release()\n",
                "            finally:\n                if taken:\n                    self._busy.release()\n"
                "            return\n",
            )
        ],
        STRANGER,
        "Whoever does not get the lock leaves a note and relies on the holder to look again after letting go. If the "
        "note comes after the holder has looked, nobody does: a restart(), a close() or a look-up's answer is noticed "
        "only at the next deadline, and a bell whose close() was the note leaks its descriptor.",
        exact="threads:test_who_rings_while_another_rings_is_heard_all_the_same",
    ),
    Plant(
        "the end of the thread sets the WakeChannel",
        [
            Change(
                "hosts.thread:SubscriberThread._run",
                "        while run(None, tell):\n            let_go(LET_GO)\n",
                "        try:\n            while run(None, tell):\n                let_go(LET_GO)\n"
                "        finally:\n            tell()\n",
            )
        ],
        STRANGER,
        "Meant kindly, so that whoever sleeps notices the end; but the channel outlives the subscriber and says "
        "nothing about it. A daemon that stops one subscriber and starts the next gets a wake for which nothing "
        "has come, and a `wait` that was to sleep its time returns True.",
        exact="threads:test_the_end_of_a_subscriber_is_no_wake",
    ),
    Plant(
        "a reset behind a reception that filled its room is left to be met again",
        [
            Change(
                "hosts.turns:Turns._with_rest",
                "            self._watch.owners[receive.fd].behind = receive.sock, error\n",
                "            pass  # The next reception meets it again.\n",
            )
        ],
        STRANGER,
        "The kernel tells of a reset once; the next recv gives an end of file. On a body that ends with its connection "
        "the broken stream is taken for one that the server has ended cleanly: no error in the state or the log, and "
        "no back-off where it was healthy. It takes a read of just the asked-for length in front of the reset.",
        exact="bodies:test_a_reset_is_told_as_one_however_much_came_before_it",
    ),
    Plant(
        "what is left of a request after a partial send is never sent",
        [
            Change(
                "transport.channel:Channel.send",
                "                    left = left[channel.send(left) :]\n                    continue\n",
                "                    channel.send(left)\n                    return True\n",
            )
        ],
        STRANGER,
        "A request nearly always fits into the socket's buffer. A large body (or a small buffer) does not: the server "
        "waits for the rest, we wait for the head, and the attempt ends after 15 s as a ResponseTimeout, for ever.",
        exact="requests:test_a_request_is_sent_whole_however_little_a_socket_takes_at_once",
    ),
    Plant(
        "of several addresses only as many of each family are tried as the smaller family has",
        [
            Change(
                "transport.addresses:interleaved",
                "    longest = max(map(len, queues), default=0)\n",
                "    longest = min(map(len, queues), default=0)\n",
            )
        ],
        STRANGER,
        "A name with one IPv6 and three IPv4 addresses gives one of each; the other two are never tried. Where the "
        "first ones are dead the relay is out of reach although it answers, until the resolver changes the order. "
        "Names with one family or with equal numbers are as before.",
        exact="attempts:test_every_address_is_tried_however_unequal_the_families_are",
    ),
    Plant(
        "a look-up whose thread cannot be started is under way for ever",
        [
            Change(
                "transport.resolve:Resolver._start",
                "            self._finish(host, port, under_way, under_way.take(), [], OSError(str(error)))",
                "            for answer in under_way.take():\n"
                "                answer.set_exception(OSError(str(error)))",
            )
        ],
        STRANGER,
        "Whoever asked is told, but the name stays in the table of look-ups under way. Every later attempt joins a "
        "thread that does not exist and fails after its whole connect budget: one moment without a free thread, and "
        "the stream never connects again until the process is restarted.",
        exact="attempts:test_a_moment_without_a_thread_for_a_look_up_is_only_a_moment",
    ),
    Plant(
        "a CA file that was replaced on disk is never read again",
        [
            Change(
                "transport.trust:context_for",
                "    if known.young or found != known.stamps:\n",
                "    if False:\n",
            )
        ],
        STRANGER,
        "The context is kept by path alone. When a company's CA is rolled over, the daemon goes on with the old one "
        "and each connection fails with a CertificateError, at the slowest pace and for good, although the right file "
        "has been there for days.",
        exact="trust:test_a_ca_file_that_was_replaced_is_trusted_at_the_next_attempt",
    ),
    Plant(
        "body bytes beyond the first 64 KiB are dropped where they came with the head",
        [
            Change(
                "protocol.http:Exchange.head",
                "            elif len(data) > len(allowed):\n"
                "                self._h11.receive_data(data[len(allowed) :])\n",
                "",
            )
        ],
        STRANGER,
        "A head that comes in two reads, the second of them full, leaves fewer than 64 KiB of allowance; what is read "
        "beyond that never reaches the body, if that is not chunked. The events around the hole are run together or "
        "cut, with no error at all.",
        exact="bodies:test_events_without_number_behind_a_head_in_two_pieces_all_arrive",
    ),
    Plant(
        "the last chunk, alone in its read, is taken for an empty one",
        [
            Change(
                "protocol.chunked:ChunkedBody.whole",
                "            if size.isalnum() and size[0] != _ZERO:\n",
                "            if size.isalnum():\n",
            )
        ],
        STRANGER,
        "`0 CRLF CRLF` fits the short way: zero bytes of data and a line end. So the end of the stream is not noticed. "
        "Over a connection that the server keeps open we wait 75 s for the next byte; where it closes, the clean end "
        "is told as a truncated body and backed off from.",
        exact="bodies:test_the_last_chunk_ends_a_stream_when_it_comes_alone",
    ),
    Plant(
        "an id that came in a read of its own does not commit with the data line that follows",
        [
            Change(
                "protocol.sse:WakeParser.feed",
                '                self._id == self.last_event_id\n                and data[:5] == b"data:"\n',
                '                data[:5] == b"data:"\n',
            )
        ],
        STRANGER,
        "The short way for `data: ...` and a blank line does not look whether an id waits to be committed. Where a "
        "server flushes `id:` and `data:` apart, last_event_id stays what it was, and the next connection asks for "
        "what was seen already.",
        exact="requests:test_a_reconnect_asks_for_what_came_behind_the_last_event_that_was_whole",
    ),
    Plant(
        "an event that is cut between two of its lines loses its first lines",
        [
            Change(
                "protocol.sse:EventParser._read",
                "        if self._size or self._line:\n",
                "        if self._line:\n",
            )
        ],
        STRANGER,
        "With the cut behind a line end there is no open line, so the rest is parsed as if a block began there. "
        "`event: a` in one read and `data: b` in the next give a `message`, and the `a` (or an earlier data line) "
        "turns up in whichever later event goes the long way.",
        exact="bodies:test_an_event_is_the_same_wherever_it_is_cut_into_two_receptions",
    ),
    Plant(
        "credentials are sent again at the second redirect within a foreign origin",
        [
            Change(
                "protocol.redirect:follow",
                "Hop(url, method, body, hop.credentials and same, secrets)",
                "Hop(url, method, body, same, secrets)",
            )
        ],
        STRANGER,
        "Only the last step is looked at. The first hop to another origin goes without the token; a second one from "
        "there to a path of its own, which any server may send, is `same` and gets it. The bearer token is given to a "
        "stranger.",
        exact="requests:test_a_stranger_never_gets_the_token_however_often_it_redirects",
    ),
    Plant(
        "a host name keeps its case, so the same host in other letters is another origin",
        [
            Change(
                "protocol.url:_host_and_port",
                "        host = host.lower()\n",
                "",
            )
        ],
        STRANGER,
        "A redirect from http://Relay.example/ to http://relay.example/live, as servers write it that know their name "
        "in one spelling, drops the token: the relay answers 401 and an EventSource is over for good. Two endpoints "
        "that differ in case only do not share a pace either.",
        exact="requests:test_a_redirect_to_the_same_host_in_other_letters_keeps_the_token",
    ),
    Plant(
        "a name in NO_PROXY hides the addresses and networks behind it",
        [
            Change(
                "protocol.proxy:_address_in",
                "            continue  # A name, not an address.",
                "            return False  # A name, not an address.",
            )
        ],
        STRANGER,
        "`NO_PROXY=localhost,10.0.0.0/8` is the usual order. The stream to a relay at 10.1.2.3 goes through the proxy, "
        "which refuses it or cannot reach it, and no attempt ever succeeds. A list that begins with the network works.",
        exact="requests:test_what_no_proxy_names_is_reached_without_one",
    ),
    Plant(
        "a Last-Event-ID beyond Latin-1 is sent with question marks",
        [
            Change(
                "protocol.request:compose",
                'last_event_id.encode("utf-8")',
                'last_event_id.encode("latin-1", "replace")',
            )
        ],
        STRANGER,
        "Field values are Latin-1 for the rest of HTTP, the standard wants UTF-8 here. The server is told an id that "
        "it has never given, so it replays everything or nothing; plain ASCII ids never show it.",
        exact="requests:test_a_reconnect_asks_for_what_came_behind_the_last_event_that_was_whole",
    ),
    Plant(
        "a short write puts half a file in place",
        [
            Change(
                "wire.files:replace_whole",
                "            rest = memoryview(content)\n"
                "            while rest:\n"
                "                rest = rest[file_system.write(descriptor, rest) :]\n",
                "            file_system.write(descriptor, memoryview(content))\n",
            )
        ],
        STRANGER,
        "write(2) may take less than it was given, on a disk that fills up for instance, and says so by its result "
        "alone. The half is renamed over the good file, nobody is warned, and `wire status` finds no JSON until the "
        "next transition or for five minutes.",
        exact="rotations:test_a_state_is_whole_however_little_of_it_a_write_takes",
    ),
    Plant(
        "a second write to relay.json in the same tick of the clock as a noticed change is never seen",
        [
            Change(
                "wire.relay_json:Watch.changed",
                "            self._seen = seen\n            self._doubt = self._young()\n            return True\n",
                "            self._seen = seen\n            return True\n",
            )
        ],
        STRANGER,
        "That a young file must be looked at once more is noted for the first look only. A slot that is rotated in "
        "place twice, with a look in between and stamps that do not differ, leaves the daemon on the slot of the first "
        "rotation: a healthy stream that never carries an event again.",
        exact="rotations:test_a_slot_that_is_rotated_twice_in_one_tick_of_the_disks_clock_is_joined",
    ),
    Plant(
        "a renewed deadline is doubted from zero after looks that found no data",
        [Change("hosts.task:Task._doubt", "        wait.renewed = False\n", "")],
        MADE,
        "A look that finds a part of a TLS record counts as a doubt, but the deadline stays marked as renewed. The "
        "first look that finds data begins the count again: a drip in large records outlives its clock.",
        exact="hosts:test_a_drip_in_large_records_has_as_many_doubts_as_any_other",
    ),
    Plant(
        "a state that was offered within the last second is lost when the file is closed",
        [
            Change(
                "wire.state_file:StateFile.close",
                "written = not self._closed and self._write(now)",
                "written = not self._closed and self.flush(now)",
            )
        ],
        STRANGER,
        "`flush` keeps the least interval of a second. A subscriber that is closed within a second of its last write "
        "leaves that one as its last word: `connected`, for a stream that is closed.",
        exact="rotations:test_a_file_that_is_closed_right_after_a_write_says_so",
    ),
]
