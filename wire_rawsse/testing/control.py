"""The local control call: how a test or a demonstration makes the relay fail, and asks what really happened.

It is off unless asked for (`--control`), and then listens on a loopback port of its own, so that no fault of the
ordinary listeners can touch it. It takes `POST /control` with a JSON object whose `do` says what to do; the media type
must be JSON. A web page in a browser of the same machine is refused by its `Host`, `Origin` or `Sec-Fetch-Site`
(`guard.refusal`). The answer is 200 with a JSON
object, or 400 with `{"error": …}` that says what was expected (500 where a listener that refused cannot open again).
Whoever can reach the port can use it: it is a tool for one machine.

    {"do": "misbehave", "faults": [{"action": "cut", "at": "event", …}, …]}   see `faults`
    {"do": "normal"}                  no fault any more
    {"do": "release"}                  what is silenced or drips goes on; the faults in force stay in force
    {"do": "storm", "slot_id": ID, "count": N, "prefix": TEXT}
                                      N events at once, as if posted in one moment, with ids TEXT1 to TEXTN
    {"do": "report"}                  counters, faults in force, slots, and a log for each connection
    {"do": "published", "slot_id": ID, "start": N}
                                      [[event_id, seconds], …] from position N on, at CLOCK_MONOTONIC: the moment
                                      just before the event was written to the first of the streams
    {"do": "await", "counter": NAME, "at_least": N, "at_most": N, "slot_id": ID, "seconds": S}
                                      answers once the counter (accepted, requests, injected, open, streams) is there,
                                      or after S seconds: {"reached": true or false, "value": N}
    {"do": "adopt", "slot_id": ID, "slot_token": TOKEN}
                                      an empty slot with these credentials: a relay started again becomes the old one
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from wire_rawsse.errors import ConnectError
from wire_rawsse.relay.event_log import EventLog
from wire_rawsse.relay.http import ServerConnection
from wire_rawsse.relay.messages import Reply, ServerRequest
from wire_rawsse.relay.replies import Refused, json_body, json_reply
from wire_rawsse.relay.store import Store, StoredSlot
from wire_rawsse.testing.faults import read_fault
from wire_rawsse.testing.injector import FaultInjector

_LONGEST_AWAIT = 600.0


class Control:
    """The handler of the control listener."""

    def __init__(
        self, store: Store, log: EventLog, injector: FaultInjector, pump: Callable[[StoredSlot], None]
    ) -> None:
        """`pump` sends what is new in a slot to its streams."""
        self._pump = pump
        self._store = store
        self._log = log
        self._injector = injector
        self._tasks: dict[ServerConnection, asyncio.Task[None]] = {}

    def accepted(self, connection: ServerConnection) -> None: ...

    def gone(self, connection: ServerConnection) -> None:
        task = self._tasks.pop(connection, None)
        if task is not None:
            task.cancel()

    def requested(self, connection: ServerConnection, request: ServerRequest) -> None:
        self._tasks[connection] = asyncio.get_running_loop().create_task(self._serve(connection, request))

    async def _serve(self, connection: ServerConnection, request: ServerRequest) -> None:
        answer = json_reply(500, {"error": "internal error; the relay's standard error has the traceback"})
        try:
            answer = json_reply(200, await self._do(request))
        except Refused as refused:
            answer = refused.answer
        except (KeyError, TypeError, ValueError) as error:
            text = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            answer = json_reply(400, {"error": text})
        except ConnectError as error:  # A listener that was refusing did not open again.
            answer = json_reply(500, {"error": str(error)})
        finally:
            self._tasks.pop(connection, None)
            connection.answer(answer)

    async def _do(self, request: ServerRequest) -> object:
        if request.path != "/control":
            raise Refused(Reply(404))
        if request.method != "POST":
            raise Refused(Reply(405, (("allow", "POST"),)))
        call = json_body(request)
        if not isinstance(call, dict):
            raise ValueError('the call must be an object with a "do"')
        deed = call.get("do")
        if deed == "misbehave":
            faults = call["faults"]
            if not isinstance(faults, list):
                raise ValueError("faults must be a list")
            await self._injector.misbehave([read_fault(fault) for fault in faults])
        elif deed == "normal":
            await self._injector.normal()
        elif deed == "release":
            self._injector.release_held()
        elif deed == "storm":
            slot, prefix = self._slot(call), _text(call, "prefix")
            for number in range(_number(call, "count", 1)):
                slot.add({"event_id": f"{prefix}{number + 1}"})
            self._pump(slot)
        elif deed == "report":
            return self._report()
        elif deed == "published":
            slot, start = self._slot(call), _number(call, "start", 0)
            stamped = zip(slot.event_ids[start:], slot.published[start:], strict=True)
            return {"published": list(stamped)}
        elif deed == "await":
            return await self._await(call)
        elif deed == "adopt":
            self._store.adopt(_text(call, "slot_id"), _text(call, "slot_token"))
        else:
            raise ValueError("do must be one of misbehave, normal, release, storm, report, published, await, adopt")
        return {}

    def _slot(self, call: Mapping[str, Any]) -> StoredSlot:
        slot = self._store.slots.get(_text(call, "slot_id"))
        if slot is None:
            raise ValueError("no such slot")
        return slot

    def _report(self) -> dict[str, Any]:
        slots = {slot.slot_id: {"events": len(slot.bodies), "bytes": slot.size} for slot in self._store.slots.values()}
        return {**self._log.as_json(), "faults": self._injector.as_json(), "slots": slots}

    async def _await(self, call: Mapping[str, Any]) -> dict[str, Any]:
        counter, slot_id = _text(call, "counter"), call.get("slot_id")
        at_least = _number(call, "at_least", 0)
        at_most = None if call.get("at_most") is None else _number(call, "at_most", 0)
        seconds = call.get("seconds", 5.0)
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= _LONGEST_AWAIT:
            raise ValueError(f"seconds must be 0 to {_LONGEST_AWAIT:g}")

        def there() -> bool:
            value = self._log.count(counter, slot_id)
            return at_least <= value and (at_most is None or value <= at_most)

        changed = asyncio.Event()
        self._log.watchers.append(changed.set)
        try:
            deadline = asyncio.get_running_loop().time() + seconds
            while not there():
                changed.clear()
                await asyncio.wait_for(changed.wait(), deadline - asyncio.get_running_loop().time())
        except asyncio.TimeoutError:
            pass
        finally:
            self._log.watchers.remove(changed.set)
        return {"reached": there(), "value": self._log.count(counter, slot_id)}


def _text(call: Mapping[str, Any], name: str) -> str:
    value = call[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a string that is not empty")
    return value


def _number(call: Mapping[str, Any], name: str, default: int) -> int:
    value = call.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a number, 0 or more")
    return value
