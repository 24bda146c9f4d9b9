"""A cell's packets in a file, for anyone who wants to look at them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from tests.faults.tools import program
from tests.faults.world import World


@contextlib.contextmanager
def recorded(world: World, path: str | None) -> Iterator[None]:
    """Packets of the middle host into a pcap file, by tcpdump, while this lasts."""
    if path is None:
        yield
        return

    with world.middle.entered():
        dump = subprocess.Popen(
            [program("tcpdump"), "-i", "any", "-U", "-w", path], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    assert dump.stderr is not None
    dump.stderr.readline()  # "listening on any …": from now on nothing is missed.
    try:
        yield
    finally:
        dump.terminate()
        dump.communicate()
