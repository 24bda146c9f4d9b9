"""The programs of the system that the lab uses, and what to say where one is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

PACKAGES: Final = {
    "ip": "iproute2",
    "ss": "iproute2",
    "nft": "nftables",
    "unshare": "util-linux",
    "tcpdump": "tcpdump",
    "faketime": "faketime",
    "ping": "iputils-ping",
}
"""A program, and the Debian package that brings it."""

SEARCHED: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


class LabError(Exception):
    """The lab itself cannot do what it was asked to, or could not prove that it did. Never a verdict on a daemon."""


class Missing(LabError):
    """A program or a right that the lab needs is not there. The text says how to get it."""


def program(name: str) -> str:
    """The path of a program. Raises `Missing`."""
    found = shutil.which(name, path=SEARCHED)
    if found is None:
        raise Missing(f"{name} is not here: install it (Debian and Ubuntu: apt-get install {PACKAGES.get(name, name)})")
    return found


def run(name: str, *arguments: str, given: str | None = None) -> str:
    """Run a program to its end; its standard output. Raises `LabError` with its own words where it fails."""
    done = subprocess.run([program(name), *arguments], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{name} {' '.join(arguments)}: {told[0] if told else f'exit status {done.returncode}'}")
    return done.stdout


def require(names: Sequence[str]) -> None:
    """Raises `Missing` for the first of these programs that is not there."""
    for name in names:
        program(name)
