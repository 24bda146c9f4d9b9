"""Whether a connection that was given up over a change of the machine had to be, and a stream has to wait for its turn.

The true state of the machine is asked, and no announcement.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from tests.simulation.lateness import EARLY
from wire_rawsse.errors import HeartbeatTimeout, StaleConnectionError, WireRawSSEError
from wire_rawsse.gate import MAX_CONNECTING
from wire_rawsse.hosts.consequences import DOUBT

if TYPE_CHECKING:
    from tests.simulation.watch import Watch

SOON: Final = 1.0
"""Seconds. A connection that is so young may be given up for a change of the network that came before it: the streams
are checked one after the other, and the kernel is asked once for all."""
CAUSES: Final = ("heartbeat", "suspend", "address", "doubt", "max_age")
"""Why a connection is replaced that its socket calls healthy."""
_CONNECTING: Final = ("resolving", "connecting", "tunnel", "handshake", "head")


def note(watch: Watch, error: WireRawSSEError, waited_since: float) -> None:
    """Count this end, if it has one of `CAUSES`, and check that the cause is a fact. `waited_since`: see `check`."""
    if isinstance(error, StaleConnectionError):
        check(watch, error, waited_since)
    if found := cause(error):
        count(watch, found)


def count(watch: Watch, found: str) -> None:
    watch.causes[found] = watch.causes.get(found, 0) + 1


def cause(error: WireRawSSEError) -> str | None:
    """One of `CAUSES`, or None for an end of any other kind."""
    if isinstance(error, HeartbeatTimeout):
        return "heartbeat"
    if not isinstance(error, StaleConnectionError):
        return None
    text = str(error)
    return "suspend" if "was suspended" in text else "address" if "is gone" in text else "doubt"


def check(watch: Watch, error: StaleConnectionError, waited_since: float) -> None:
    """Each reason that a `StaleConnectionError` may name is a fact, and of the lifetime of this connection.

    `waited_since`: when the phase began that has ended now.
    """
    machine, live, now, text = watch.machine, watch.live, watch.kernel.now, str(error)
    since = watch.begun_at
    if "was suspended" in text:
        if machine.suspended_at < since:
            watch.fail(f"given up over a suspend that was before it: {error}")
        return
    if now - since <= SOON:
        since -= SOON
    if "is gone" in text:
        address = text.partition("its local address ")[2].partition(" is gone")[0]
        if live is not None and live.local != address:
            watch.fail(f"given up over an address that is not its own, {live.local}: {error}")
        if not machine.lacked(address, since):
            watch.fail(f"given up, and its address was never gone: {error}")
    else:
        silent = now - (waited_since if live is None else max(live.last_life, watch.accepted))
        if silent < DOUBT - EARLY:
            watch.fail(f"in doubt after {silent:.3f} s of silence: {error}")
        if live is None:
            return  # It waited for a head.
        if live.unread_life and not watch.stream.task.out_of_grace:
            watch.fail(f"its bytes lay there unread: {error}")
        if machine.changed_at < since and machine.source(live.family) == live.local:
            watch.fail(f"in doubt, and no route has changed: {error}")


def check_turns(watches: Iterable[Watch]) -> None:
    """A stream that waits for a turn has no deadline. As many connect as may, and each of those has one."""
    present = [watch for watch in watches if not (watch.absent or watch.closing or watch.over)]
    connecting = sum(watch.record.phase in _CONNECTING for watch in present)
    for watch in present:
        task = watch.stream.task
        bounded = task.wait is None or task.wait.deadline < float("inf") or task.runnable
        if watch.record.phase == "waiting" and not bounded and connecting < MAX_CONNECTING:
            watch.fail(f"waits for a turn, and {connecting} streams connect")
