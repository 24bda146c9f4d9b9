"""The kernel's own counters of one host, as nstat(8) shows them (RFC 1213 and Linux's additions)."""

from __future__ import annotations

from tests.faults.tools import LabError
from tests.faults.world import Host


def counter(host: Host, group: str, name: str) -> int:
    """For example `Tcp`, `InCsumErrors`. Raises `LabError` where this kernel has no such counter."""
    with host.entered():
        for path in ("/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"):
            with open(path) as file:
                lines = file.read().splitlines()
            for names, values in zip(lines[::2], lines[1::2], strict=True):
                found = dict(zip(names.split(), values.split(), strict=True))
                if f"{group}:" in found and name in found:
                    return int(found[name])
    raise LabError(f"this kernel does not count {group} {name}")
