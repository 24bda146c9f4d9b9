"""A world of one's own: three hosts in network namespaces, private files, and nothing left of it afterwards.

    client 10.77.1.2, fd77:1::2  ──veth──  middle  ──veth──  10.77.2.2, fd77:2::2 relay

`enter` replaces the process by itself inside new mount, network and pid namespaces (and a user namespace, where it is
not root). The process becomes the first of its pid namespace, so whatever it starts ends with it, however it ends; its
namespaces have no name outside, so worlds side by side cannot meet and a crash leaves nothing to be removed. `middle`
is the network namespace that it starts in; `World` makes the two others, mounts an empty /run and /dev/shm, and binds
a hosts file and a resolv.conf of its own over the system's.

Packets keep real checksums: a veth would leave them to the hardware that it has not, and a corrupted packet would then
pass. Duplicate address detection is off, as it would hold an IPv6 address back for a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from tests.faults.tools import LabError, Missing, program, run

CLIENT, MIDDLE_CLIENT, MIDDLE_RELAY, RELAY = "10.77.1.2", "10.77.1.1", "10.77.2.1", "10.77.2.2"
CLIENT6, MIDDLE_CLIENT6, MIDDLE_RELAY6, RELAY6 = "fd77:1::2", "fd77:1::1", "fd77:2::1", "fd77:2::2"
TO_CLIENT, TO_RELAY = "to-client", "to-relay"
"""The interfaces of `middle`. Those of `client` and `relay` are called `net`."""
INSIDE: Final = "FAULTS_WORLD"
FOLDER: Final = Path("/run/lab")
_SHARED: Final = Path("/dev/shm")
"""Named shared memory: libfaketime keeps a semaphore there."""

_CLONE_NEWNET: Final = 0x40000000
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_STXCSUM: Final = 0x17
_libc = ctypes.CDLL(None, use_errno=True)

_LINKS: Final = f"""
link set lo up
link add {TO_CLIENT} type veth peer name net netns client
link add {TO_RELAY} type veth peer name net netns relay
addr add {MIDDLE_CLIENT}/24 dev {TO_CLIENT}
addr add {MIDDLE_CLIENT6}/64 dev {TO_CLIENT} nodad
addr add {MIDDLE_RELAY}/24 dev {TO_RELAY}
addr add {MIDDLE_RELAY6}/64 dev {TO_RELAY} nodad
link set {TO_CLIENT} up
link set {TO_RELAY} up
"""
_ENDS: Final = """
link set lo up
addr add {four}/24 dev net
addr add {six}/64 dev net nodad
link set net up
route add default via {gate}
route add ::/0 via {gate6}
"""
_SYSCTLS: Final = {
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}


def inside() -> bool:
    """Whether this process is in a world of its own already."""
    return os.environ.get(INSIDE) == "1"


def way_in() -> list[str]:
    """The command that runs another one in namespaces of its own. Raises `Missing`."""
    flags = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    if os.geteuid():
        flags += ["--user", "--map-root-user"]
    words = [program("unshare"), *flags]
    if subprocess.run([*words, "true"], check=False).returncode:  # os.spawnvp would fork, beside threads of others.
        raise Missing(
            "namespaces cannot be made here: be root, or allow unprivileged user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    return words


def enter(module: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by `python -m module arguments` in a world of its own. Raises `Missing`."""
    words = [*way_in(), sys.executable, "-m", module, *arguments]
    os.environ[INSIDE] = "1"
    os.execv(words[0], words)


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Host:
    """One network namespace. `entered` moves the calling thread into it; children and sockets made there stay there."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self._fd = os.open(path, os.O_RDONLY)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _setns(self._fd)
            yield
        finally:
            _setns(before)
            os.close(before)

    def run(self, name: str, *arguments: str, given: str | None = None) -> str:
        """Run a program in this host to its end; its standard output. Raises `LabError`."""
        with self.entered():
            return run(name, *arguments, given=given)

    def sysctl(self, name: str, value: str) -> None:
        """Set `net/…` of this host. Raises `LabError`."""
        with self.entered():
            try:
                Path("/proc/sys", name).write_text(value)
            except OSError as error:
                raise LabError(f"{name} cannot be set in {self.name}: {error.strerror}") from error

    def checksum_in_software(self, interface: str) -> None:
        """Make the kernel compute the checksums of what this interface sends (ethtool -K … tx off)."""
        value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0))
        request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, request)
            except OSError as error:
                raise LabError(f"checksums of {interface} in {self.name}: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._fd)


class World:
    """The three hosts, joined. Made once in a process that `enter` has put into namespaces of its own."""

    def __init__(self) -> None:
        if not inside():
            raise LabError("a world is made in namespaces of its own only: see `enter`")
        self.folder = FOLDER
        self._mount()
        run("ip", "netns", "attach", "middle", str(os.getpid()))
        for name in ("client", "relay"):
            run("ip", "netns", "add", name)
        self.client, self.middle, self.relay = (
            Host(name, f"/run/netns/{name}") for name in ("client", "middle", "relay")
        )
        for host in self.hosts:
            for name, value in _SYSCTLS.items():
                host.sysctl(name, value)
        self.middle.sysctl("net/ipv4/ip_forward", "1")
        self.middle.sysctl("net/ipv6/conf/all/forwarding", "1")
        self.middle.run("ip", "-batch", "-", given=_LINKS)
        ends = (
            (self.client, CLIENT, CLIENT6, MIDDLE_CLIENT, MIDDLE_CLIENT6),
            (self.relay, RELAY, RELAY6, MIDDLE_RELAY, MIDDLE_RELAY6),
        )
        for host, four, six, gate, gate6 in ends:
            host.run("ip", "-batch", "-", given=_ENDS.format(four=four, six=six, gate=gate, gate6=gate6))
            host.checksum_in_software("net")
        for interface in (TO_CLIENT, TO_RELAY):
            self.middle.checksum_in_software(interface)

    @property
    def hosts(self) -> tuple[Host, Host, Host]:
        return self.client, self.middle, self.relay

    def _mount(self) -> None:
        _mount("tmpfs", "/run", "tmpfs")
        if _SHARED.is_dir():  # Named by process id, of which each world has its own 1, 2, 3.
            _mount("tmpfs", str(_SHARED), "tmpfs", data="mode=1777")
        for folder in (Path("/run/netns"), self.folder):
            folder.mkdir()
        for name, text in (("hosts", "127.0.0.1 localhost\n::1 localhost\n"), ("resolv.conf", "")):
            own = self.folder / name
            own.write_text(text)
            _mount(str(own), f"/etc/{name}", "", _MS_BIND)

    def close(self) -> None:
        for host in self.hosts:
            host.close()


_MS_BIND: Final = 4096
_MNT_DETACH: Final = 2


def _mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises `LabError`."""
    if _libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()):
        code = ctypes.get_errno()
        hint = " (it does not exist on this machine)" if code == errno.ENOENT else ""
        raise LabError(f"{source} cannot be mounted on {target}: {os.strerror(code)}{hint}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2) in this world. Raises `LabError`."""
    _mount(source, target, kind, flags, data)


def unmount(target: str) -> None:
    """umount2(2) of what was mounted last there, at once even where it is in use. Raises `LabError`."""
    if _libc.umount2(target.encode(), _MNT_DETACH):
        raise LabError(f"{target} cannot be unmounted: {os.strerror(ctypes.get_errno())}")
