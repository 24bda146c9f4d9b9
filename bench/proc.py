"""Figures of a process from Linux's /proc (proc(5)): memory, time on a core, threads, descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """KiB. `uss` is what nobody else has; `own` the part of it that was written, `rss` all that is mapped."""

    uss: int
    own: int
    rss: int


def memory(pid: int) -> Memory:
    fields: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0])
    return Memory(fields["Private_Clean"] + fields["Private_Dirty"], fields["Private_Dirty"], fields["Rss"])


@dataclass(frozen=True)
class Ran:
    """User and system time of all threads in nanoseconds, and how often they were put on a core. From schedstat, which
    counts each nanosecond, where utime and stime count ticks of 10 ms."""

    ns: int
    turns: int

    def __sub__(self, other: Ran) -> Ran:
        return Ran(self.ns - other.ns, self.turns - other.turns)


def ran(pid: int) -> Ran:
    ns = turns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        on_core, _, slices = (task / "schedstat").read_text().split()
        ns += int(on_core)
        turns += int(slices)
    return Ran(ns, turns)


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def unavailable() -> str:
    """Empty where the kernel gives these figures, otherwise why not."""
    for needed in ("smaps_rollup", "schedstat"):
        if not Path(f"/proc/self/{needed}").exists():
            return f"this system has no /proc/PID/{needed}"
    return ""
