"""Network namespaces of our own: where a wire can be cut without touching the machine's. Linux; by `unshare`, `nsenter`
and `ip`, as root or, where the kernel lets a user have namespaces, as anybody.

A program that wants a link of its own is started behind `prefix()`, which puts it into a new namespace; in there it
calls `beside` for a child in one more, joined to its own by a veth pair. Nothing has to be cleaned up: namespaces end
with their last process.
"""

from __future__ import annotations

import os
import subprocess

INSIDE, OUTSIDE = "10.99.0.1", "10.99.0.2"
"""The addresses of the caller of `beside` and of its child."""
PROBE = "ip link add b0 type veth peer name b1 && unshare -n true && nsenter -t $$ -n true"
PROBE_SECONDS = 20.0


def prefix() -> list[str] | None:
    """The command that starts a program in a network namespace of its own; None where this user may not."""
    found = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
    try:
        done = subprocess.run([*found, "sh", "-c", PROBE], capture_output=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return found if done.returncode == 0 else None


def beside(argv: list[str]) -> subprocess.Popen[str]:
    """`argv` in one more namespace, where `OUTSIDE` is its address and `INSIDE` ours. Raises `OSError`,
    `subprocess.CalledProcessError`.
    """
    # The shell waits for one line, so that the address exists before the program binds it.
    waiting = ["unshare", "-n", "sh", "-c", 'read -r _ && exec "$@"', "sh", *argv]
    child = subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ours = os.stat("/proc/self/ns/net").st_ino
    while os.stat(f"/proc/{child.pid}/ns/net").st_ino == ours:
        if child.poll() is not None:
            raise OSError("unshare -n failed")
    for line in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "add", "bench0", "type", "veth", "peer", "name", "bench1", "netns", str(child.pid)],
        ["ip", "address", "add", f"{INSIDE}/24", "dev", "bench0"],
        ["ip", "link", "set", "bench0", "up"],
        [*within(child.pid), "ip", "address", "add", f"{OUTSIDE}/24", "dev", "bench1"],
        [*within(child.pid), "ip", "link", "set", "bench1", "up"],
    ):
        subprocess.run(line, check=True, capture_output=True)
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return child


def within(pid: int) -> list[str]:
    """The command that starts a program in the network namespace of a process."""
    return ["nsenter", "-t", str(pid), "-n"]
