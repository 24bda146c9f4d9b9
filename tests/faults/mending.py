"""Within what time a stream must be back, read off what its daemon had said by the end of the fault."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults import bounds
from tests.faults.bounds import Settings
from tests.faults.lines import Line


def mend_bound(lines: Sequence[Line], lifted: float, settings: Settings) -> tuple[str, float]:
    """In which phase the stream was when the fault was lifted, and within how many seconds it must be back."""
    now_in, since, failures, pause = present(lines, lifted)
    if now_in == "backing-off":
        return now_in, bounds.mended_within(now_in, 0.0, max(0.0, since + pause - lifted), settings)
    longest = bounds.longest_pause(failures, settings)
    return now_in, bounds.mended_within(now_in, lifted - since, longest, settings)


def present(lines: Sequence[Line], moment: float) -> tuple[str, float, int, float]:
    """At `moment`: the phase, when its clock began, the attempts that failed in a row, the last pause ordered."""
    now_in, since, failures, pause = "idle", moment, 0, 0.0
    for line in lines:
        if line.at > moment:
            break
        if line.word == "failed":
            failures += 1
            pause = line.named("pause") or 0.0
        elif line.word == "state":
            if line.first == "streaming":
                failures = 0
            # One clock runs from the name to the end of the handshake.
            if line.first not in ("connecting", "tunnel", "handshake") or now_in == "backing-off":
                since = line.at
            now_in = line.first
    return now_in, since, failures, pause
