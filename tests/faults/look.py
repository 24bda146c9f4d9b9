"""The kernel's view of a process and its sockets: evidence that does not depend on the program's own report."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

from tests.faults.world import Host


@dataclasses.dataclass(frozen=True)
class Held:
    """The resources of a process at one moment. Memory in KiB, `cpu` in seconds since it began."""

    threads: int
    descriptors: int
    sockets: int
    memory: int
    cpu: float

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def held(pid: int) -> Held:
    """Raises `OSError` where the process is gone."""
    links = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(entry.path))
        except OSError:
            continue  # Closed just now.
    status = facts(pid)
    return Held(
        threads=int(status["Threads"]),
        descriptors=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
        memory=int(status.get("RssAnon", "0 kB").split()[0]),
        cpu=cpu(pid),
    )


def facts(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status. Raises `OSError`."""
    pairs = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in pairs}


def cpu(pid: int) -> float:
    """Seconds of processor that all threads of a process have used, those that have ended too.

    The clock of another process (clock_getcpuclockid(3)) counts nanoseconds; /proc/PID/stat would count ticks. Raises
    `OSError`.
    """
    return time.clock_gettime((~pid << 3) | 2)


def stopped(pid: int) -> bool:
    """Whether a signal has stopped it (state T in proc(5)). Raises `OSError`."""
    return facts(pid)["State"].startswith("T")


def sockets(host: Host) -> list[str]:
    """The connections of a host as ss(8) lists them, including half-open and half-closed ones and the resolver's."""
    return [" ".join(line.split()) for line in host.run("ss", "-tunoiOH", "state", "connected").splitlines()]
