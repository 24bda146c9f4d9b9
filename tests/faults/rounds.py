"""The rounds of a cell, from an empty world to what was measured.

Four rounds without any fault come first. The first loads the modules, two only connect, and the last is the baseline
for the rest: what a live stream holds, what an event costs, and that nothing is left when it is closed. The cost of a
connection is the median of those three. The fifth round is the test. During it an event is posted every fifth of a
second, regardless of the state of the stream.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

from tests.faults import bounds
from tests.faults.cell import SETTLE, Cell
from tests.faults.lines import state, word
from tests.faults.look import Held
from tests.faults.measured import Measured, events_in, handled
from tests.faults.mending import mend_bound
from tests.faults.phases import HOLDS

MEASURED_EVENTS: Final = 8
STATE_SECONDS: Final = bounds.STATE_FILE_INTERVAL + 2 * bounds.SLACK
"""Seconds for which the state file is watched at the least, after what kept it from being written is over."""
ROUND_SECONDS: Final = 2.0
"""The tested round lasts at least so long: what one attempt costs, held against a moment, is no share of a core."""
LINGER: Final = 0.3
"""Seconds that a fault stays after it was noticed."""
MOMENT: Final = 1.0
"""Seconds for which a fault stays that the stream is to live through, where it says nothing else."""
LATE: Final = 4.0
"""Seconds beyond a bound for which the lab goes on waiting, so that it can say how late it was."""


class Stuck(Exception):
    """The daemon did not come back. Not the lab's fault: `found` is what there is for the verdict."""

    def __init__(self, text: str, found: Measured) -> None:
        super().__init__(text)
        self.found = found


def measure(cell: Cell) -> Measured:
    """Run it. Raises `LabError`, `Unproven` among them, and `Stuck`."""
    cell.start()
    if cell.daemon.ours:
        _rounds_without_fault(cell)
    _test(cell)
    return cell.measured


def _rounds_without_fault(cell: Cell) -> None:
    found = cell.measured
    cell.daemon.ready()
    _calm_round(cell, first=True)
    costs = [_calm_round(cell, events=False), _calm_round(cell, events=False), _calm_round(cell)]
    found.per_connection = statistics.median(costs)
    found.known = {event for line in cell.daemon.log.since() for event in events_in(line)}


def _calm_round(cell: Cell, *, events: bool = True, first: bool = False) -> float:
    """Open a stream, receive `events`, close it; return the cost of opening."""
    found = cell.measured
    before = cell.daemon.held()
    position = cell.go()
    cell.until_said(state("streaming"), position, "connect")
    time.sleep(0.05)
    connected = cell.daemon.held()
    if events:
        cell.poster.several(MEASURED_EVENTS, gap=0.03)
        cell.fetched()
        found.living = cell.daemon.held()
        found.per_event = (found.living.cpu - connected.cpu) / MEASURED_EVENTS
    if first:
        mark, before_it = len(cell.daemon.log), cell.daemon.held()
        cell.fault.move_the_same(cell)
        found.bulk = cell.daemon.held().cpu - before_it.cpu
        found.bulk_events = handled(cell.daemon.log.since(mark))
    cell.stop(position)
    found.idle = cell.daemon.held()
    return connected.cpu - before.cpu


def _test(cell: Cell) -> None:
    found, setup = cell.measured, cell.setup
    early = setup.phase in cell.fault.early and not cell.expectation.stranger
    hold = HOLDS[setup.phase](cell, early)
    hold.arrange()
    if early and setup.phase not in ("streaming", "mid-line", "backing-off", "reconnecting"):
        cell.begun = len(cell.daemon.log)
        cell.inject()
    cpu, found.round_began = cell.daemon.held().cpu, time.monotonic()
    cell.begun = cell.go()
    hold.reach()
    cell.inject()
    cell.poster.go()
    hold.release()
    if found.promise.survives:
        _survive(cell)
    else:
        _notice(cell)
    cell.note(sockets_after=cell.sockets())
    cell.note(proof=cell.fault.proof(cell))
    found.struck = cell.fault.struck(cell)
    cell.fault.lift(cell)
    found.lifted = time.monotonic()
    _mend(cell, found.lifted)
    cell.poster.pause()
    cell.opening_has_woken()
    _flows(cell)
    found.flowed = time.monotonic()
    found.silence = cell.fault.silence(cell)  # Now: TCP may go on waiting for what was lost before.
    cell.calm_events(3)
    found.stored = cell.relay.stored()
    cell.fetched()
    if cell.fault.blinds and setup.consumer == "subscriber":  # The state file must be seen repaired.
        time.sleep(max(0.0, found.lifted + STATE_SECONDS - time.monotonic()))
    time.sleep(max(0.0, found.round_began + ROUND_SECONDS - time.monotonic()))
    found.wall = time.monotonic() - found.round_began
    found.cpu = cell.daemon.held().cpu - cpu
    found.living_after = _settled(cell, found.living)
    cell.stop(cell.begun)
    found.idle_after = _settled(cell, found.idle)
    found.lines = cell.daemon.log.since(cell.begun)
    found.mark = cell.mark - cell.begun
    found.posts = cell.poster.posts
    found.own = cell.fault.checks(cell)
    cell.note(relay=cell.relay.report())
    found.ended = cell.daemon.close()


def _survive(cell: Cell) -> None:
    until = time.monotonic() + (cell.fault.lasts or MOMENT)
    cell.note(sockets=cell.sockets())
    limit = until + cell.fault.patience
    while (now := time.monotonic()) < until or (now < limit and not cell.fault.done(cell)):
        time.sleep(0.02)


def _notice(cell: Cell) -> None:
    wait = cell.measured.promise.within + LATE + cell.settings.maximum
    cell.note(sockets=cell.sockets())
    ends = word("failed")
    if not cell.daemon.ours:  # It need not say more than its states.
        ended, left = ends, state("backing-off", "resolving", "connecting", "closed")
        ends = (lambda line: ended(line) or left(line)) if cell.setup.live else ended
    cell.measured.noticed = cell.daemon.log.wait(ends, wait, cell.mark)
    if cell.measured.noticed is not None:
        time.sleep(LINGER)


def _mend(cell: Cell, lifted: float) -> None:
    """Wait until the stream is back; how long that may take follows from what it was doing."""
    found = cell.measured
    now_in, bound = mend_bound(cell.daemon.log.since(cell.begun), lifted, cell.settings)
    found.mend_bound = bound
    if found.noticed is None and now_in == "streaming":
        return  # It never was away.
    position = cell.mark
    if found.noticed is not None:
        position = cell.daemon.log.since().index(found.noticed)
    found.back = cell.daemon.log.wait(state("streaming"), bound + LATE, position)
    # Once more: what the daemon said just before the lifting may have been on its way to us then.
    found.mend_bound = mend_bound(cell.daemon.log.since(cell.begun), lifted, cell.settings)[1]
    if found.back is None:
        raise Stuck("the stream did not come back", found)


def _flows(cell: Cell) -> None:
    """Wait until an event comes through: TCP may still be waiting to send again what was lost."""
    post = cell.poster.one()
    position, until = cell.begun, time.monotonic() + SETTLE
    while time.monotonic() < until:
        if cell.said(post.event_id):
            return
        if not cell.daemon.ours and cell.daemon.log.wait(
            lambda line: line.word == "wake" and line.at >= post.began, 0.0, position
        ):
            return
        time.sleep(0.01)


def _settled(cell: Cell, before: Held | None) -> Held:
    """The resources held after everything has settled, or at the end of `SETTLE`."""
    until = time.monotonic() + SETTLE
    while True:
        now = cell.daemon.held()
        if before is None or time.monotonic() > until:
            return now
        if now.threads <= before.threads and now.descriptors <= before.descriptors:
            return now
        time.sleep(0.02)
