"""Bugs, put into the shipped code on purpose: what simulates years must find them, and says after how long.

Some were thought up by whoever wrote the invariants, some are slips that were really made on the way (`MADE`), and some
are from people who have read neither: see `planted_by_a_stranger`, `planted_by_another_stranger`
and `planted_before_exact_tests`.
"""

from __future__ import annotations

from typing import Final

from tests.simulation.planted_by_a_stranger import STRANGERS
from tests.simulation.planted_by_another_stranger import MORE
from tests.simulation.planted_from_reports import REPORTS
from tests.simulation.planting import MADE, Plant, plant

OURS: Final[list[Plant]] = [
    plant(
        "the silence clock is not restarted by bytes",
        "connection:Silence.heard",
        "self._silent_at = now + self._timeouts.read\n",
        "pass\n",
    ),
    plant(
        "the silence clock is restarted by a chunk extension",
        "connection:_read",
        "if size:\n            wall",
        "if data:\n            wall",
    ),
    plant(
        "a line that drips is never judged",
        "connection:Silence.passed",
        "if self._window_bytes < self._timeouts.min_rate * read:",
        "if False:",
    ),
    plant(
        "the response clock is restarted by a head that drips",
        "connection:final_head",
        "        heard(data)\n",
        "        receive.deadline += 0 if heard(data) else 15\n",
    ),
    plant(
        "the connect clock begins anew with TLS",
        "connection:_connect",
        "secure(services, sock, context, url.server_name, deadline)",
        "secure(services, sock, context, url.server_name, Deadline(services.now(), plan.timeouts.connect, place))",
    ),
    plant(
        "the backoff is reset by a connection",
        "record:Record.accepted",
        "self.enter(",
        "self.attempt = 0; self.enter(",
    ),
    plant(
        "every clean close is followed at once",
        "policy:decide",
        "elif error is None and was_healthy:",
        "elif error is None:",
    ),
    plant(
        "the wake that is owed for a reconnect is lost",
        "wake_streams:WakeSink.opened",
        "return True",
        "return False",
    ),
    plant(
        "a hint is taken for a wake that was given",
        "hosts.inline:Loop.run",
        "woken = True\n                            if tell",
        "receive.woke_early = True\n                            if tell",
    ),
    plant(
        "a field name that is cut over two reads wakes nobody",
        "wake_streams:WakeSink.feed",
        "return news",
        "return False",
    ),
    plant(
        "a CR is held back for the LF that may follow",
        "event_source:EventSink.feed",
        "items = parser.feed(piece)",
        "piece = self.__dict__.pop('held', b'') + piece\n"
        "        if piece.endswith(b'\\r'):\n"
        "            self.__dict__['held'], piece = b'\\r', piece[:-1]\n"
        "        items = parser.feed(piece)",
    ),
    plant(
        "what TLS still holds is not read before a wait",
        "hosts.turns:Turns._step",
        "receive.pending and receive.pending()",
        "False",
    ),
    plant(
        "what TLS has to send is not waited for",
        "hosts.turns:Turns._refused",
        "READ | WRITE if isinstance(error, WriteToo) else READ",
        "READ",
    ),
    plant(
        "the parser of the last connection goes on with the next",
        "event_source:EventSink.opened",
        "self._parser = self._new_parser(self.last_event_id, self.retry_ms)\n",
        "pass\n",
    ),
    plant(
        "a restart throws the answer of the old connection at the new one",
        "hosts.turns:Turns._resume",
        "given, task.given = task.given, None",
        "given = task.given",
    ),
    plant(
        "the last event id does not outlive the connection",
        "event_source:EventSink.opened",
        "self._new_parser(self.last_event_id, self.retry_ms)",
        "self._new_parser('', self.retry_ms)",
    ),
    plant(
        "each retry of a silent name starts another thread",
        "transport.resolve:Resolver.resolve",
        "if under_way is mine:\n                self._start",
        "if True:\n                self._start",
    ),
    plant(
        "an answer from another thread is not looked for",
        "hosts.turns:Turns._answer_bell",
        "if wait is not None and wait.future is not None",
        "if False and wait is not None and wait.future is not None",
    ),
    plant(
        "deadlines are kept on the wall clock",
        "hosts.turns:Turns.__init__",
        "self._monotonic = system.monotonic",
        "self._monotonic = system.time",
    ),
    plant(
        "a silent stream stays 'connected'",
        "record:Record.ended",
        'self.enter("backing off", wall)',
        'None if isinstance(error, TimeoutError) else self.enter("backing off", wall)',
    ),
    plant(
        "a deadline is judged by a poll that began before it",
        "hosts.turns:Turns._after_sleep",
        "self._overdue(self._began, real) if self._soonest <= self._began else []",
        "self._overdue(real, real) if self._soonest <= real else []",
    ),
    plant(
        "a late host judges before it looks",
        "hosts.turns:Turns._before_sleep",
        "        self._soonest = soonest = self._nearest()\n",
        "        for task in self._tasks:\n"
        "            if not task.due and task.throw is None and task.deadline() <= began:\n"
        "                task.expired(began)\n"
        "        self._soonest = soonest = self._nearest()\n",
    ),
    plant(
        "a socket is closed before it leaves the poller",
        "hosts.task:Task.release",
        "        self._loop.forget(sock.fileno())\n        try:\n            sock.close()\n",
        "        fd = sock.fileno()\n        try:\n            sock.close()\n            self._loop.forget(fd)\n",
    ),
    plant(
        "a socket is not given back where TLS fails",
        "transport.tls:secure",
        "    except (OSError, ValueError) as error:\n        services.release(sock)\n",
        "    except (OSError, ValueError) as error:\n",
    ),
    plant(
        "the losers of an address race stay open",
        "transport.dial:dial",
        "            if sock is not winner:\n                services.release(sock)",
        "            pass",
    ),
    plant(
        "a restart has the clock of the last byte",
        "hosts.turns:Turns._step",
        " or task.given is None or task.throw is not None:",
        " or (task.given is None and task.throw is None):",
        by=MADE,
    ),
    plant(
        "a restart while somebody is told of an end ends the stream",
        "reconnect:_tell_end",
        "        except Restart:\n            return True\n",
        "        except ZeroDivisionError:\n            return True\n",
        by=MADE,
    ),
    plant(
        "what drips stops the clock of a host that looks in",
        "hosts.turns:Turns._overdue",
        "if task.beyond_doubt:",
        "if False:",
        by=MADE,
    ),
    plant(
        "what drips in step with a deadline pushes it ahead",
        "hosts.task:Task.found",
        "if now - deadline < NO_DOUBT and self._loop.slept_until(deadline + self._lag):",
        "if False:",
        by=MADE,
    ),
    plant(
        "a host's absence is charged to a stream that has its answer",
        "hosts.task:Task.resumed",
        "        self._lag = real - self._now\n",
        "",
        by=MADE,
    ),
    plant(
        "restarts run up a debt",
        "policy:TokenBucket.excuse",
        "self._add(self._reserved)",
        "pass",
        by=MADE,
    ),
    plant(
        "whoever looks in just when a deadline passes is taken for one that slept until then",
        "hosts.inline:Loop.slept_until",
        "return self._handed_out or self._began < moment",
        "return True",
        by=MADE,
    ),
    plant(
        "each stream of a subscriber has its own look-ups",
        "hosts.task:Task.resolve",
        "if loop.resolver is None:",
        "if True:",
        by=MADE,
    ),
    plant(
        "each slot of a relay begins with a pace of its own",
        "wake_streams:Streams.add",
        "if self._paces.get(relay):",
        "if False:",
        by=MADE,
    ),
    plant(
        "a deadline that was begun anew is doubted as the one before it was",
        "connection:Silence.heard",
        "self.renewed = self._window_ends is None",
        "self.renewed = False",
        by=MADE,
    ),
    plant(
        "each look at a relay.json that cannot be read puts its next reading off",
        "wire.follow:Follower._run",
        "self._looked_at = now",
        "self._looked_at = self._read_at = now",
        by=MADE,
    ),
    plant(
        "what a signal handler interrupts is not looked at again",
        "wire.follow:Follower.run",
        "            self._changed = self._unreadable = True\n            self._read_at = -LOOK_EVERY\n",
        "",
        by=MADE,
    ),
    plant(
        "a state file that a signal handler interrupts counts as written",
        "wire.state_file:StateFile._write",
        "        import json\n",
        "        import json\n\n        self._tried_at, self._written_news = now, self._news\n",
        by=MADE,
    ),
    plant(
        "a reset under TLS is told as an end",
        "transport.tls:TlsChannel.recv",
        "            raise self._nothing_yet() from None\n",
        "            raise self._nothing_yet() from None\n        except OSError:\n            ciphertext = b''\n",
        by=MADE,
    ),
    plant(
        "a heartbeat wakes the host",
        "wake_streams:WakeSink.feed",
        "return news",
        "return True",
    ),
    plant(
        "the consumer of events is woken where there is none",
        "event_source:EventSink.feed",
        "return bool(items)",
        "return True",
    ),
    plant(
        "where there is no home folder it is looked for without a pause",
        "wire.follow:Follower._begin",
        "            self._report(str(error))\n            return\n",
        "            self._report(str(error))\n            self._changed = True\n            return\n",
    ),
    plant(
        "a home folder that was not there at first is never looked for again",
        "wire.follow:Follower._run",
        "if self._watch is None:",
        "if self._watch is None and not self._problem:",
    ),
    plant(
        "stream_state.json is written in place",
        "wire.files:replace_whole",
        "descriptor = _create(file_system, temporary)",
        "temporary = path; remove(path, file_system); descriptor = _create(file_system, temporary)",
    ),
    plant(
        "a relay.json that is half there is taken for one without endpoints",
        "wire.follow:Follower._read",
        "            self._report(str(error))\n            return\n",
        "            self._report(str(error))\n"
        "            for endpoint in list(self._tasks):\n"
        "                self._leave(endpoint)\n"
        "            return\n",
    ),
]

PLANTS: Final = [*OURS, *STRANGERS, *MORE, *REPORTS]


def by_name(name: str) -> Plant:
    """The one whose name holds these words. Raises `LookupError` where there is none, or more than one."""
    found = [one for one in PLANTS if name in one.name]
    if len(found) != 1:
        raise LookupError(f"{len(found)} plants have {name!r} in their name")
    return found[0]
