"""The needs of a test. If one is missing the test is skipped, with what to install; in CI it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import missing


def linux() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has it")


def told_by(code: str, *arguments: str, why: str) -> str:
    """The output of a Python that becomes another user. It ends with status 77 if it cannot: see `why`."""
    linux()
    told = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if told.returncode == 77:
        missing(why)
    assert told.stderr == ""
    return told.stdout


def mount_namespace() -> list[str]:
    """The words to put before a command, so that it may mount what nobody else sees."""
    linux()
    for flags in (["-m"], ["-Urm"]):
        command = ["unshare", *flags]
        if shutil.which("unshare") and shutil.which("mount"):
            tried = subprocess.run([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
            if tried.returncode == 0:
                return command
    return missing("needs unshare and mount (util-linux), and root or unprivileged user namespaces")


def pid_namespace() -> list[str]:
    """The words to put before a command, so that it is PID 1 of a PID namespace of its own (pid_namespaces(7))."""
    linux()
    for flags in (["-pf"], ["-Urpf"]):
        command = ["unshare", *flags, "--mount-proc", "--kill-child"]
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return missing("needs unshare (util-linux), and root or unprivileged user namespaces")


def wire() -> str:
    """The path of the real wire."""
    found = os.environ.get("WIRE_BIN") or shutil.which("wire")
    if found:
        told = subprocess.run([found, "--version"], capture_output=True, text=True)
        if told.stdout.startswith("wire "):
            return found
    return missing("needs the real wire on PATH or in WIRE_BIN: cargo install slancha-wire --locked")
