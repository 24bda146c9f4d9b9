"""Is the process that wrote a file still there, and does it run? For readers of the file, and for its clean-up."""

from __future__ import annotations

import os
import sys

from wire_rawsse.wire.file_system import FileSystem


def alive(pid: int, file_system: FileSystem = os) -> bool:
    """True if a process `pid` exists, of any user; a zombie counts, since it is one until it is waited for.

    Never raises. Only for processes of the same PID namespace (see `pid_namespace`): another container's are not seen,
    or are taken for ours of the same number.
    """
    return pid > 0 and _exists(pid, file_system)  # To kill(2), 0 and less mean a whole group, or everybody.


def stopped(pid: int) -> bool:
    """True if the process `pid` is stopped by a signal (SIGSTOP, Ctrl-Z); False where that cannot be seen.

    Only Linux tells (proc_pid_stat(5)), and only of the same PID namespace.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(4096).rpartition(b") ")[2][:1] == b"T"
    except OSError:
        return False


def pid_namespace() -> str | None:
    """A name for the PID namespace of this process, another one on each kernel and after each boot (Linux).

    A pid means something only to processes whose name for it is the same. None where the system does not tell.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read(64).strip()}/{os.stat('/proc/self/ns/pid').st_ino}"
    except (OSError, ValueError):
        return None


if sys.platform == "win32":

    def _exists(pid: int, file_system: FileSystem) -> bool:
        """`os.kill(pid, 0)` would end the process here: Windows takes the 0 for CTRL_C_EVENT or for an exit status."""
        import ctypes

        query_limited_information, access_denied, still_active = 0x1000, 5, 259
        if pid > 0xFFFFFFFF:
            return False
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = ctypes.c_void_p(kernel.OpenProcess(query_limited_information, False, ctypes.c_ulong(pid)))
        if not handle:
            return ctypes.get_last_error() == access_denied
        try:
            status = ctypes.c_ulong()
            return bool(kernel.GetExitCodeProcess(handle, ctypes.byref(status))) and status.value == still_active
        finally:
            kernel.CloseHandle(handle)

else:

    def _exists(pid: int, file_system: FileSystem) -> bool:
        try:
            file_system.kill(pid, 0)
        except PermissionError:
            return True  # It exists, and belongs to another user.
        except (OSError, OverflowError):
            return False
        return True
