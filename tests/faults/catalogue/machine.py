"""Failures of the daemon's own machine: its disk, its descriptors, its clock, its processor.

None of that may end a stream that is well. A failed write is repeated later, and a failed open is tried again. The wall
clock is only shown to people. A process that was stopped for longer than every deadline has not observed a silent peer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.lines import state, word
from tests.faults.tools import LabError, Missing
from tests.faults.world import mount, unmount

if TYPE_CHECKING:
    from tests.faults.cell import Cell

HOUR: Final = 3600.0
_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 32, 4096


class StateFolder(Fault):
    """The folder of `stream_state.json` is a small file system of its own. Only `from_wire` writes there."""

    group = "machine"
    consumers = ("subscriber",)
    lasts = 2.5
    blinds = True
    spares = True

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.consumer != "subscriber":
            return "an EventSource writes no file"
        return Expectation(Kind.SURVIVED, setup.strikes_in)

    def prepare(self, cell: Cell) -> None:
        self.folder = Path(cell.environment["WIRE_HOME"], "state/wire")
        mount("tmpfs", str(self.folder), "tmpfs", data="size=64k,mode=0700")

    def refused(self) -> str:
        """The result of a write to that place now."""
        probe = self.folder / "probe"
        try:
            probe.write_bytes(bytes(4096))
            probe.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                probe.unlink()
            return errno.errorcode.get(error.errno or 0, str(error))
        raise Unproven(f"{self.folder} can be written to")


class DiskFull(StateFolder):
    name, words = "disk-full", "the disk that holds the state file is full"

    def inject(self, cell: Cell) -> None:
        with contextlib.suppress(OSError), open(self.folder / "filler", "wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass

    def proof(self, cell: Cell) -> dict[str, Any]:
        free = os.statvfs(self.folder).f_bavail
        if free:
            raise Unproven(f"{free} blocks are free")
        return {"free blocks": free, "a write says": self.refused()}

    def lift(self, cell: Cell) -> None:
        (self.folder / "filler").unlink()


class ReadOnly(StateFolder):
    """The folder is mounted over itself, read-only.

    A mount through which a file is open for writing, as the daemon's lock file is, cannot be made read-only (EBUSY).
    """

    name, words = "state-read-only", "the folder of the state file is mounted read-only"

    def inject(self, cell: Cell) -> None:
        mount(str(self.folder), str(self.folder), "", _MS_BIND)
        self._remount_read_only()

    def proof(self, cell: Cell) -> dict[str, Any]:
        return {"a write says": self.refused()}

    def lift(self, cell: Cell) -> None:
        unmount(str(self.folder))

    def _remount_read_only(self) -> None:
        until = time.monotonic() + 1.0
        while True:  # EBUSY while the daemon writes its state through this mount, which takes microseconds.
            try:
                mount("none", str(self.folder), "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY)
                return
            except LabError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.005)


class NoDescriptors(Fault):
    """RLIMIT_NOFILE of the running daemon is lowered to nothing: what it has stays open, and nothing can be opened.

    A stream that lives needs no descriptor. An attempt fails at once, again and again, and the daemon lives on.
    """

    name, words, group = "no-descriptors", "no descriptor left when a connection is opened (EMFILE)", "machine"
    blinds = True
    spares = True

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.phase in ("resolving", "backing-off"):
            return Expectation(Kind.ENDED, setup.strikes_in)
        return Expectation(Kind.SURVIVED, setup.strikes_in)

    def prepare(self, cell: Cell) -> None:
        self.lasts = 1.5 if cell.expectation.kind is Kind.SURVIVED else None

    def inject(self, cell: Cell) -> None:
        self._before = resource.prlimit(cell.daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(cell.daemon.pid, resource.RLIMIT_NOFILE, (0, self._before[1]))

    def proof(self, cell: Cell) -> dict[str, Any]:
        soft, _ = resource.prlimit(cell.daemon.pid, resource.RLIMIT_NOFILE)
        held = len(os.listdir(f"/proc/{cell.daemon.pid}/fd"))
        if soft >= held:
            raise Unproven(f"{held} descriptors of {soft} are in use")
        opens = self._opens(cell) if cell.daemon.ours else ""
        if cell.daemon.ours and opens != "EMFILE":
            raise Unproven(f"the daemon opens a file, and is told {opens}")
        failures = [line.words for line in cell.daemon.log.since(cell.mark) if line.word == "failed"]
        # The C library's resolver says of a file or socket that it could not open that it failed for the moment.
        told = (os.strerror(errno.EMFILE), "ResolveError")
        ended = cell.expectation.kind is Kind.ENDED
        if ended and not any(reason in text for reason in told for text in failures):
            raise Unproven(f"nothing failed for want of a descriptor: {failures}")
        return {"limit": soft, "descriptors": held, "an open says": opens, "failures": failures}

    def _opens(self, cell: Cell) -> str:
        """The result when the daemon opens a file. It tries in every phase, whether or not it needs the file."""
        position = len(cell.daemon.log)
        cell.daemon.order("open")
        line = cell.daemon.log.wait(word("opens"), 2.0, position)
        if line is None:
            raise LabError("the daemon does not say whether it can open a file")
        return line.first

    def struck(self, cell: Cell) -> float:
        if cell.setup.phase == "backing-off":
            found = cell.daemon.log.wait(state("resolving", "connecting"), 0, cell.mark)
            return cell.injected if found is None else found.at
        return cell.injected

    def lift(self, cell: Cell) -> None:
        assert self._before is not None
        resource.prlimit(cell.daemon.pid, resource.RLIMIT_NOFILE, self._before)


class WallClock(Fault):
    """libfaketime gives the daemon a wall clock that jumps, and leaves its monotonic clock alone.

    Both are asserted: the daemon is asked for its wall clock, and its lines are stamped with its monotonic one, which
    must be that of the kernel. The machine's own clocks are never touched.

    Two things about libfaketime 0.9.10 would be taken for our doing. Its workaround for an old glibc makes each timed
    wait for a condition end at once, so that a Python thread that wants the interpreter's lock spins until it has it:
    switched off. And clock_nanosleep(2) on the monotonic clock, which is `time.sleep`, fails with EINVAL: see
    `daemons.common.sleep_under_faketime`. It reads its file again at each look at the wall clock, some 5 µs, in the
    rounds without a fault too, so those are what that costs.
    """

    group = "machine"
    lasts = 2.5
    spares = True
    jump: ClassVar[float]

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.command is not None:
            return "a daemon that is not ours cannot be asked for its wall clock"
        return Expectation(Kind.SURVIVED, setup.strikes_in)

    def prepare(self, cell: Cell) -> None:
        self._file = cell.world.folder / "faketime"
        self._set(0)
        cell.environment.update(faketime(self._file))

    def inject(self, cell: Cell) -> None:
        self._before = self._ahead(cell)
        self._set(self.jump)

    def proof(self, cell: Cell) -> dict[str, Any]:
        ahead = self._ahead(cell)
        if abs(self._before) > 1 or abs(ahead - self.jump) > 1:
            raise Unproven(f"the daemon's wall clock was {self._before:.1f} s ahead, and is {ahead:.1f} s")
        return {"wall clock ahead by": round(ahead, 3), "monotonic clock ahead by": round(self._monotonic, 6)}

    def lift(self, cell: Cell) -> None:
        self._set(0)

    def _set(self, seconds: float) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}s\n")
        new.replace(self._file)

    def _ahead(self, cell: Cell) -> float:
        """Seconds by which the daemon's wall clock is ahead of ours; its monotonic one must not be."""
        position = len(cell.daemon.log)
        began, wall = time.monotonic(), time.time()
        cell.daemon.order("wall")
        line = cell.daemon.log.wait(word("wall"), 2.0, position)
        if line is None:
            raise LabError("the daemon does not say what its wall clock shows")
        ended = time.monotonic()
        self._monotonic = max(line.at - ended, began - line.at, 0.0)
        if self._monotonic:
            raise Unproven(f"the daemon's monotonic clock is {self._monotonic:.3f} s off")
        return float(line.first) - wall


class Forward(WallClock):
    name, words, jump = "clock-forward", "the wall clock jumps an hour forward", HOUR


class Backward(WallClock):
    name, words, jump = "clock-backward", "the wall clock jumps an hour back", -HOUR


def faketime(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is as far ahead as `file` says, at any time. Raises `Missing`."""
    return {
        "LD_PRELOAD": str(faketime_library()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


def faketime_library() -> Path:
    """Raises `Missing`."""
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"):
        found = Path(folder, "faketime/libfaketimeMT.so.1")
        if found.exists():
            return found
    where = shutil.which("faketime")
    raise Missing(
        "libfaketime is not here: install it (Debian and Ubuntu: apt-get install faketime)"
        if where is None
        else f"{where} is here, but not its libfaketimeMT.so.1"
    )


class Stopped(Fault):
    """SIGSTOP, as by a suspended laptop or a debugger, for longer than every clock; then SIGCONT.

    Meanwhile its kernel goes on, the relay too: what the attempt waits for comes while nobody looks, and events fill
    the socket. So nothing is dead, and nobody may say so.
    """

    name, words, group = (
        "process-stopped",
        "the daemon is stopped for longer than every deadline, and goes on",
        "machine",
    )
    blinds = True

    def expect(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.SURVIVED, setup.strikes_in)

    def prepare(self, cell: Cell) -> None:
        clocks = cell.settings
        self.lasts = max(clocks.connect, clocks.response, clocks.read, clocks.keepalive) + 0.7

    def inject(self, cell: Cell) -> None:
        cell.daemon.suspend()

    def proof(self, cell: Cell) -> dict[str, Any]:
        status = Path(f"/proc/{cell.daemon.pid}/status").read_text()
        found = next(line for line in status.splitlines() if line.startswith("State:"))
        spoken = [line for line in cell.daemon.log.since(cell.mark) if line.at > cell.injected + 0.1]
        if "stopped" not in found or spoken:
            raise Unproven(f"the daemon was not stopped all the time: {found}, {spoken}")
        return {"state": found, "stopped for": round(time.monotonic() - cell.injected, 2)}

    def lift(self, cell: Cell) -> None:
        cell.daemon.resume()

    def close(self, cell: Cell) -> None:
        with contextlib.suppress(OSError):
            cell.daemon.resume()


FAULTS: tuple[type[Fault], ...] = (DiskFull, ReadOnly, NoDescriptors, Forward, Backward, Stopped)
