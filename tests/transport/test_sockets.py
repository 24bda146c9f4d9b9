"""Dialling with real sockets: the options they get, addresses that swallow or refuse, Unix-domain sockets."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.drive import drive
from tests.support.fixtures import Serve
from tests.support.server import stall
from wire_rawsse.errors import ConnectTimeout, DialError
from wire_rawsse.policy import Keepalive
from wire_rawsse.services import HostServices
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.transport.dial import dial, open_socket, set_options, socket_options, unix_address
from wire_rawsse.waits import Address, Coroutine


def address(host: str, port: int) -> Address:
    if ":" in host:
        return Address(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, (host, port, 0, 0))
    return Address(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, (host, port))


def connect(*addresses: Address, within: float = 10.0, keepalive: Keepalive = Keepalive()) -> socket.socket:
    """Dial on the shipped host; the socket that won, taken out of it."""

    def start(services: HostServices) -> Coroutine[socket.socket]:
        winner = yield from dial(services, addresses, Deadline(services.now(), within, "the relay"), keepalive)
        kept = winner.dup()
        kept.setblocking(False)
        services.release(winner)
        return kept

    return drive(start)


@contextmanager
def swallowing() -> Iterator[Address]:
    """An address that answers no SYN: a listener whose queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        place = listener.getsockname()
        for _ in range(64):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(place)
            except TimeoutError:
                yield address(*place)
                return
        pytest.skip("this system answers SYNs although the queue is full")


@pytest.fixture
def refusing() -> Iterator[Address]:
    """An address where nobody listens, held so that nobody else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield address(*bound.getsockname())


class TestOptions:
    KEEPALIVE = Keepalive(idle=41, interval=13, count=5)

    def test_are_set_and_read_back(self, serve: Serve) -> None:
        server = serve([stall])
        with connect(address(server.host, server.port), keepalive=self.KEEPALIVE) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            if sys.platform == "linux":
                tcp = socket.IPPROTO_TCP
                assert sock.getsockopt(tcp, socket.TCP_KEEPIDLE) == 41
                assert sock.getsockopt(tcp, socket.TCP_KEEPINTVL) == 13
                assert sock.getsockopt(tcp, socket.TCP_KEEPCNT) == 5
                assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == (41 + 13 * 5) * 1000
            assert not os.get_inheritable(sock.fileno())

    def test_the_defaults(self) -> None:
        with open_socket(address("127.0.0.1", 1)) as sock:
            set_options(sock, Keepalive())
            if sys.platform == "linux":
                tcp = socket.IPPROTO_TCP
                assert sock.getsockopt(tcp, socket.TCP_KEEPIDLE) == 30
                assert sock.getsockopt(tcp, socket.TCP_KEEPINTVL) == 10
                assert sock.getsockopt(tcp, socket.TCP_KEEPCNT) == 3
                assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 60_000

    def test_the_socket_is_non_blocking_and_not_inherited(self) -> None:
        with open_socket(address("::1", 1)) as sock:
            assert sock.gettimeout() == 0
            assert not os.get_inheritable(sock.fileno())
            assert sock.family == socket.AF_INET6

    def test_an_option_that_the_system_refuses_is_a_net_less_and_no_error(self) -> None:
        with open_socket(address("127.0.0.1", 1)) as sock:
            refused = Keepalive(interval=1)
            object.__setattr__(refused, "idle", 10**6)  # Linux takes at most 32767; another kernel may take less.
            set_options(sock, refused)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

    def test_a_unix_socket_gets_none(self) -> None:
        one, other = socket.socketpair()
        with one, other:
            set_options(one, Keepalive())
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0

    @pytest.mark.parametrize("platform", ["linux", "darwin", "win32", "freebsd14"])
    def test_each_platform_has_its_own_names(self, platform: str) -> None:
        options = socket_options(self.KEEPALIVE, platform)
        assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in options
        assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options
        values = [value for _, _, value in options]
        assert 41 in values, "the idle time"
        if platform in ("darwin", "win32"):
            assert 106 in values, "the time after which unacknowledged data is given up, in seconds"


class TestTheRace:
    def test_a_dead_first_address_costs_a_quarter_of_a_second(self, serve: Serve) -> None:
        server = serve([stall])
        with swallowing() as dead:
            began = time.monotonic()
            with connect(dead, address(server.host, server.port)) as sock:
                assert sock.getpeername()[1] == server.port
            assert time.monotonic() - began >= 0.25

    def test_one_that_refuses_costs_nothing(self, serve: Serve, refusing: Address) -> None:
        server = serve([stall])
        with connect(refusing, address(server.host, server.port)) as sock:
            assert sock.getpeername()[1] == server.port

    def test_ipv6_that_refuses_falls_back_to_ipv4(self, serve: Serve) -> None:
        server = serve([stall])
        with connect(address("::1", server.port), address("127.0.0.1", server.port)) as sock:
            assert sock.family == socket.AF_INET

    def test_ipv6(self, serve: Serve) -> None:
        server = serve([stall], host="::1")
        with connect(address("::1", server.port), address("127.0.0.1", server.port)) as sock:
            assert sock.family == socket.AF_INET6

    def test_the_losers_are_closed(self, serve: Serve) -> None:
        """Two that both connect: the server sees the second hang up."""
        server = serve([stall])
        place = address(server.host, server.port)
        with connect(place, place) as sock:
            assert sock.fileno() >= 0

    def test_all_refuse(self, refusing: Address) -> None:
        with pytest.raises(DialError, match="Connection refused") as failed:
            connect(refusing, refusing)
        assert [(place, cause.errno) for place, cause in failed.value.attempts] == [
            (str(refusing), errno.ECONNREFUSED)
        ] * 2

    def test_all_swallow(self) -> None:
        with swallowing() as dead:
            began = time.monotonic()
            with pytest.raises(ConnectTimeout, match=r"connect=0\.4 s") as failed:
                connect(dead, dead, within=0.4)
            assert time.monotonic() - began >= 0.4
        assert failed.value.phase == "connecting"
        assert isinstance(failed.value, TimeoutError)

    def test_no_descriptor_left(self) -> None:
        """In a process of its own, since pytest needs some as well."""
        code = """
import resource, socket
from wire_rawsse.transport.dial import dial
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.policy import Keepalive
from wire_rawsse.hosts.task import Task
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.waits import Address
from wire_rawsse.errors import DialError
loop = Loop()
task = loop.add(lambda services: iter(()))
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    dial(task, [Address(2, 1, 6, ("127.0.0.1", 9))], Deadline(task.now(), 1, "x"), Keepalive()).send(None)
except DialError as error:
    print(error)
"""
        pytest.importorskip("resource")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert "Too many open files" in done.stdout


class TestUnix:
    def test_connects(self, serve: Serve, socket_path: str) -> None:
        serve([stall], path=socket_path)
        with connect(unix_address(socket_path)) as sock:
            assert sock.getpeername() == socket_path
            assert not os.get_inheritable(sock.fileno())

    def test_nobody_there(self, socket_path: str) -> None:
        with pytest.raises(DialError, match="No such file") as failed:
            connect(unix_address(socket_path))
        assert failed.value.attempts[0][0] == socket_path
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(socket_path)
            with pytest.raises(DialError, match="Connection refused"):
                connect(unix_address(socket_path))

    def test_a_queue_that_is_full(self, socket_path: str) -> None:
        """connect(2) says EAGAIN, which for these sockets does not mean that it is under way."""
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(socket_path)
            listener.listen(0)
            for _ in range(64):
                filler = stack.enter_context(socket.socket(socket.AF_UNIX))
                filler.setblocking(False)
                if filler.connect_ex(socket_path):
                    break
            else:
                pytest.skip("this system's queue is never full")
            with pytest.raises(DialError, match="temporarily unavailable"):
                connect(unix_address(socket_path))

    def test_a_path_that_is_too_long_says_so(self) -> None:
        with pytest.raises(DialError, match="a path of at most 107 bytes"):
            connect(unix_address("/run/" + "x" * 200))
