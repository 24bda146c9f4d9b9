"""Bugs, put into the shipped code on purpose: what simulates years must find them, and says after how long.

A plant is a change of the source, as small as the slip of a hand would be: in this function, these words become those.
Where the words are no longer there the plant is out of date, and says so. The changed function takes the place of the
shipped one wherever that is known, and everything is put back afterwards.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final
from unittest import mock

US: Final = "us"
MADE: Final = "us, on the way"
"""A slip that was made while this was written."""
STRANGER: Final = "a stranger"
"""By somebody who had not read what is in this folder."""


@dataclass(frozen=True)
class Change:
    """In `where` ("module:function" or "module:Class.method", below `wire_rawsse`), `old` becomes `new`."""

    where: str
    old: str
    new: str


@dataclass(frozen=True)
class Plant:
    name: str
    changes: Sequence[Change]
    by: str = US
    why: str = ""
    """What its author meant."""


def plant(name: str, where: str, old: str, new: str, by: str = US) -> Plant:
    return Plant(name, [Change(where, old, new)], by)


PLANTS: Final[list[Plant]] = [
    plant(
        "the silence clock is not restarted by bytes",
        "stream:Silence.heard",
        "self._silent_at = now + self._timeouts.read\n",
        "pass\n",
    ),
    plant(
        "the silence clock is restarted by a chunk extension",
        "stream:_read",
        "if size:\n            wall",
        "if data:\n            wall",
    ),
    plant(
        "a line that drips is never judged",
        "stream:Silence.passed",
        "if self._window_bytes < self._timeouts.min_rate * read:",
        "if False:",
    ),
    plant(
        "the response clock is restarted by a head that drips",
        "stream:_ask",
        "        if response is not None:\n            return exchange, response\n",
        "        if response is not None:\n            return exchange, response\n"
        "        receive.deadline = world.now() + seconds\n",
    ),
    plant(
        "the connect clock begins anew with TLS",
        "stream:_connect",
        "secure(world, sock, context, url.host, budget)",
        "secure(world, sock, context, url.host, Budget(world.now(), plan.timeouts.connect, place))",
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
        "streams:WakeSink.opened",
        "return True",
        "return False",
    ),
    plant(
        "a hint is taken for a wake that was given",
        "hosts.inline:Loop._take",
        "            receive.hinted = True\n            return True\n",
        "            receive.hinted = True\n            return False\n",
    ),
    plant(
        "a field name that is cut over two reads wakes nobody",
        "streams:WakeSink.feed",
        "return news",
        "return False",
    ),
    plant(
        "a CR is held back for the LF that may follow",
        "source:EventSink.feed",
        "items = parser.feed(piece)",
        "piece = self.__dict__.pop('held', b'') + piece\n"
        "            if piece.endswith(b'\\r'):\n"
        "                self.__dict__['held'], piece = b'\\r', piece[:-1]\n"
        "            items = parser.feed(piece)",
    ),
    plant(
        "what TLS still holds is not read before a wait",
        "hosts.inline:Loop._step",
        "task.receive.drain and task.throw is None",
        "False",
    ),
    plant(
        "TLS that must write is waited for as if it must read",
        "hosts.inline:Loop._take",
        "WRITE if isinstance(reason, receive.again_write) else READ",
        "READ",
    ),
    plant(
        "the parser of the last connection goes on with the next",
        "source:EventSink.opened",
        "self._parser = self._new_parser()\n",
        "pass\n",
    ),
    plant(
        "a restart throws the answer of the old connection at the new one",
        "hosts.inline:Loop._resume",
        "given, task.given = task.given, None",
        "given = task.given",
    ),
    plant(
        "the last event id does not outlive the connection",
        "source:EventSink._new_parser",
        "last_event_id=self.last_event_id",
        "last_event_id=''",
    ),
    plant(
        "each retry of a silent name starts another thread",
        "transport.resolve:Resolver.resolve",
        "if not under_way:",
        "if True:",
    ),
    plant(
        "an answer from another thread is not looked for",
        "hosts.inline:Loop._answer_bell",
        "if wait is not None and wait.answer is not None",
        "if False and wait is not None and wait.answer is not None",
    ),
    plant(
        "deadlines are kept on the wall clock",
        "hosts.inline:Loop.__init__",
        "self._monotonic = system.monotonic",
        "self._monotonic = system.wall",
    ),
    plant(
        "a silent stream stays 'connected'",
        "record:Record.ended",
        'self.enter("backing off", wall)',
        'None if isinstance(error, TimeoutError) else self.enter("backing off", wall)',
    ),
    plant(
        "a deadline is judged by a poll that began before it",
        "hosts.inline:Loop._run",
        "self._overdue(began, real) if nearest <= began else ()",
        "self._overdue(real, real) if nearest <= real else ()",
    ),
    plant(
        "a late host judges before it looks",
        "hosts.inline:Loop._run",
        "            events = poller.poll(limit if limit > 0 else 0)\n",
        "            for task in self._tasks:\n"
        "                if not task.due and task.throw is None and task.deadline() <= began:\n"
        "                    task.expired(began)\n"
        "            events = poller.poll(limit if limit > 0 else 0)\n",
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
        "    except (OSError, ValueError) as error:\n        world.release(owned)\n",
        "    except (OSError, ValueError) as error:\n",
    ),
    plant(
        "the losers of an address race stay open",
        "transport.dial:dial",
        "            if sock is not winner:\n                world.release(sock)",
        "            pass",
    ),
    plant(
        "a restart has the clock of the last byte",
        "hosts.inline:Loop._step",
        " or task.given is None or task.throw is not None:",
        " or (task.given is None and task.throw is None):",
        by=MADE,
    ),
    plant(
        "a restart while somebody is told of an end ends the stream",
        "source:_tell_end",
        "        except Restart:\n            return True\n",
        "        except ZeroDivisionError:\n            return True\n",
        by=MADE,
    ),
    plant(
        "what drips stops the clock of a host that looks in",
        "hosts.inline:Loop._overdue",
        "if task.beyond_doubt:",
        "if False:",
        by=MADE,
    ),
    plant(
        "what drips in step with a deadline pushes it ahead",
        "hosts.task:Task.found",
        "if now - deadline < NO_DOUBT:",
        "if False:",
        by=MADE,
    ),
    plant(
        "a host's absence is charged to a stream that has its answer",
        "hosts.task:Task.resumed",
        "            self._lag += real - self.looked\n",
        "            pass\n",
        by=MADE,
    ),
    plant(
        "restarts run up a debt",
        "policy:Pace.delay",
        "max(0.0, min(self.BURST, self._tokens + (now - self._since) / self._slow)) - 1",
        "min(self.BURST, self._tokens + (now - self._since) / self._slow) - 1",
        by=MADE,
    ),
]


def by_name(name: str) -> Plant:
    """The one whose name holds these words. Raises `LookupError` where there is none, or more than one."""
    found = [one for one in PLANTS if name in one.name]
    if len(found) != 1:
        raise LookupError(f"{len(found)} plants have {name!r} in their name")
    return found[0]


@contextmanager
def planted(bug: Plant) -> Iterator[None]:
    """The shipped code with this bug in it."""
    with ExitStack() as stack:
        for change in bug.changes:
            for owner, name, changed in _places(change):
                stack.enter_context(mock.patch.object(owner, name, changed))
        yield


def _places(change: Change) -> Iterator[tuple[Any, str, Any]]:
    """Where the shipped function is known, and by which name, with what is to take its place."""
    module_name, _, path = change.where.partition(":")
    module = importlib.import_module(f"wire_rawsse.{module_name}")
    owner: Any = module
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    shipped = inspect.getattr_static(owner, name)
    changed = _changed(shipped, change, vars(module))
    yield owner, name, changed
    if not classes:
        for other_name, other in list(sys.modules.items()):
            if other_name.startswith("wire_rawsse.") and other is not module and vars(other).get(name) is shipped:
                yield other, name, changed


def _changed(shipped: Any, change: Change, globals_: dict[str, Any]) -> Any:
    assert isinstance(shipped, FunctionType), f"{change.where} is no function"
    source = inspect.getsource(shipped)
    if source.count(change.old) != 1:
        raise LookupError(f"{change.where} has changed: the plant expects {change.old!r} in it, once")
    scope: dict[str, Any] = {}
    text = textwrap.dedent(source.replace(change.old, change.new))
    exec(compile(text, f"<planted in {change.where}>", "exec"), globals_, scope)
    return scope[shipped.__name__]
