"""Messages of rtnetlink: recorded ones, damaged ones, and those of a real kernel in a namespace of our own."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.space import prefix
from tests.conftest import missing
from wire_rawsse.hosts.machine import NetworkSocket
from wire_rawsse.transport.netlink import Messages, NetworkChange
from wire_rawsse.transport.routes import address_is_gone, same_network, source_towards

pytestmark = pytest.mark.skipif(
    sys.byteorder != "little", reason="the messages were recorded on a little-endian machine"
)

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
BOTH = {V4, V6}


def link(kind: int, index: int, flags: str, family: str = "00") -> bytes:
    """A recorded message without its attributes, which nothing reads."""
    head = kind.to_bytes(2, "little").hex()
    return bytes.fromhex(f"20000000{head}00000000000000000000{family}000100{index:02x}000000{flags}01000000")


VETH_UP = link(16, 3, "43100100")
VETH_WITHOUT_CARRIER = link(16, 3, "03100000")
VETH_DOWN = link(16, 3, "02100000")
VETH_GONE = link(17, 3, "02100000")
BRIDGE_PORT = link(16, 3, "43100100", family="07")
ADDRESS = bytes.fromhex(
    "4c00000014000000f0f50d6be84800000218800003000000080001000a090001080002000a0900010700030076300000"
    "08000800800000 0014000600ffffffffffffffff8c7813008c781300"
)
ADDRESS_GONE = ADDRESS[:4] + b"\x15" + ADDRESS[5:]
POINT_TO_POINT_GONE = bytes.fromhex(
    "4c00000015000000f6f50d6b9a4c00000220800003000000080001000a090009080002000a0900010700030076300000"
    "080008008000000014000600ffffffffffffffff9d7a13009d7a1300"
)
TENTATIVE = bytes.fromhex(
    "480000001400000000000000000000000a40c000030000001400010020010db800000000000000000000000114000600"
    "ffffffffffffffffa1791300a179130008000800c0000000"
)
ADDRESS6 = bytes.fromhex(
    "480000001400000000000000000000000a408000030000001400010020010db800000000000000000000000114000600"
    "ffffffffffffffffa1791300a17913000800080080000000"
)
DEPRECATED = bytes.fromhex(
    "480000001400000000000000000000000a402000030000001400010020010db800000000000000000000000114000600"
    "0000000064000000a1791300607a13000800080020000000"
)
ADDRESS6_GONE = DEPRECATED[:4] + b"\x15" + DEPRECATED[5:]
LINK_LOCAL_ADDRESS = bytes.fromhex(
    "500000001400000000000000000000000a4080fd0200000014000100fe8000000000000004b401fffeedbf5d14000600"
    "ffffffffffffffffab781300ab781300080008008000000005000b0003000000"
)
LOCAL_ROUTE = bytes.fromhex(
    "3c00000018000006000000000000000002200000ff02fe020000000008000f00ff000000080001000a090001080007000a090001"
    "0800040003000000"
)
DEFAULT_ROUTE = bytes.fromhex(
    "3400000018000006f3f50d6bf349000002000000fe0300010000000008000f00fe000000080005000a0900020800040003000000"
)
DEFAULT_ROUTE_GONE = DEFAULT_ROUTE[:4] + b"\x19" + DEFAULT_ROUTE[5:]
_REST6 = "0800060000010000080004000300000024000c00" + "00" * 32 + "0500140000000000"
LINK_LOCAL_ROUTE = bytes.fromhex(
    "740000001800000600000000000000000a400000fe0200010000000008000f00fe00000014000100fe80" + "00" * 14 + _REST6
)
PREFIX_ROUTE = bytes.fromhex(
    "740000001800000600000000000000000a400000fe0200010000000008000f00fe0000001400010020010db8" + "00" * 12 + _REST6
)
RECORDED = [
    *(VETH_UP, VETH_WITHOUT_CARRIER, VETH_DOWN, VETH_GONE, BRIDGE_PORT, ADDRESS, ADDRESS_GONE, POINT_TO_POINT_GONE),
    *(TENTATIVE, ADDRESS6, DEPRECATED, ADDRESS6_GONE, LINK_LOCAL_ADDRESS, LOCAL_ROUTE, DEFAULT_ROUTE),
    *(DEFAULT_ROUTE_GONE, LINK_LOCAL_ROUTE, PREFIX_ROUTE),
]


def change(
    gone: Iterable[str] = (), up: Iterable[int] = (), routes: Iterable[int] = (), everything: bool = False
) -> str:
    made = NetworkChange(everything=everything)
    made.gone, made.up, made.routes = set(gone), set(up), set(routes)
    return repr(made)


def told_by(*datagrams: bytes) -> str:
    """The content of the last of them."""
    messages, last = Messages(), NetworkChange()
    for datagram in datagrams:
        last = NetworkChange()
        messages.feed(datagram, last)
    return repr(last)


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        ([VETH_UP], change(up=BOTH, routes=BOTH)),
        ([VETH_UP, VETH_UP], change()),
        ([VETH_WITHOUT_CARRIER], change(routes=BOTH)),
        ([VETH_WITHOUT_CARRIER, VETH_UP], change(up=BOTH, routes=BOTH)),
        ([VETH_UP, VETH_DOWN], change(routes=BOTH)),
        ([VETH_DOWN, VETH_WITHOUT_CARRIER], change()),
        ([VETH_UP, VETH_GONE], change(routes=BOTH)),
        ([VETH_UP, VETH_GONE, VETH_UP], change(up=BOTH, routes=BOTH)),
        ([BRIDGE_PORT], change()),
        ([ADDRESS], change(up={V4})),
        ([ADDRESS, ADDRESS], change()),
        ([ADDRESS_GONE], change(gone={"10.9.0.1"})),
        ([ADDRESS, ADDRESS_GONE, ADDRESS], change(up={V4})),
        ([POINT_TO_POINT_GONE], change(gone={"10.9.0.1"})),  # Not 10.9.0.9, the other end.
        ([TENTATIVE], change()),
        ([TENTATIVE, ADDRESS6], change(up={V6})),
        ([ADDRESS6, ADDRESS6], change()),
        ([ADDRESS6, DEPRECATED], change()),
        ([ADDRESS6_GONE], change(gone={"2001:db8::1"})),
        ([LINK_LOCAL_ADDRESS], change()),
        ([LOCAL_ROUTE], change()),
        ([DEFAULT_ROUTE], change(up={V4}, routes={V4})),
        ([DEFAULT_ROUTE_GONE], change(routes={V4})),
        ([LINK_LOCAL_ROUTE], change()),
        ([PREFIX_ROUTE], change(up={V6}, routes={V6})),
        ([ADDRESS_GONE + DEFAULT_ROUTE + VETH_UP], change(gone={"10.9.0.1"}, up=BOTH, routes=BOTH)),
        ([ADDRESS[:-1]], change(everything=True)),  # Cut off.
        ([VETH_UP[:10]], change(everything=True)),
        ([bytes.fromhex("10000000040000000000000000000000")], change(everything=True)),  # NLMSG_OVERRUN
        ([bytes.fromhex("10000000030000000000000000000000")], change()),  # NLMSG_DONE
        ([b""], change()),
    ],
)
def test_what_messages_say(datagrams: list[bytes], expected: str) -> None:
    assert told_by(*datagrams) == expected


def test_nothing_grows_with_the_number_of_links_and_addresses() -> None:
    messages = Messages()
    for index in range(5000):
        number = index.to_bytes(4, "little")
        messages.feed(VETH_UP[:20] + number + VETH_UP[24:], NetworkChange())
        messages.feed(ADDRESS[:20] + number + ADDRESS[24:], NetworkChange())
    assert len(messages._links) <= 1024 and len(messages._addresses) <= 1024


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_any_bytes_are_read_without_an_error(datagrams: list[bytes]) -> None:
    told_by(*datagrams)


def test_damaged_messages_are_read_without_an_error() -> None:
    dice = random.Random(13)
    for _ in range(20_000):
        data = bytearray(b"".join(dice.choices(RECORDED, k=dice.randint(1, 3))))
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.choice([0, 1, 3, 4, 15, 16, 255, dice.randrange(256)])
        told_by(bytes(data[: dice.choice([len(data), dice.randrange(len(data))])]))


def test_lost_messages_mean_that_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real overflow: a namespace with a small queue and more links than it can hold messages of."""
    assert in_a_namespace(
        """
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        print(sh("for i in 1 2 3 4 5 6; do ip link add d$i type bridge; ip link set d$i up; done"))
        """
    ) == ["<NetworkChange everything>"]


def in_a_namespace(code: str) -> list[str]:
    """Run `code` in a new network namespace, and return the lines that it prints. Its `sh` runs commands, and reads
    until the kernel says no more: it may announce one command in several messages, and some of them a moment later.
    """
    if sys.platform != "linux":
        pytest.skip("only Linux has rtnetlink")
    space = prefix()
    if space is None:
        missing("needs unshare and ip (util-linux, iproute2), and root or unprivileged user namespaces")
    frame = f"""
import select, socket, subprocess, textwrap, time
from wire_rawsse.hosts.machine import NetworkSocket
from wire_rawsse.transport.netlink import NetworkChange
from wire_rawsse.transport.routes import address_is_gone, source_towards
kernel = NetworkSocket()
V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
def sh(commands):
    subprocess.run(commands, shell=True, check=True)
    change = NetworkChange()
    while True:
        kernel.read(change)
        if not select.select([kernel], [], [], 0.2)[0]:
            return change
exec(textwrap.dedent({code!r}))
"""
    done = subprocess.run([*space, sys.executable, "-c", frame], capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


def test_a_real_kernel_tells_of_links_addresses_and_routes() -> None:
    """Each fact by itself. A busy kernel also tells late of an earlier command, such as of a link's carrier."""
    told = in_a_namespace(
        """
        peer, own = ("192.0.2.1", 80), ("10.9.0.1", 55)
        sh("ip link set lo up; ip link add v0 type veth peer name v1")
        print("address", V4 in sh("ip address add 10.9.0.1/24 dev v0").up)
        up = sh("ip link set v1 up; ip link set v0 up")
        print("link", {V4, V6} <= up.up, {V4, V6} <= up.routes, up.gone)
        route = sh("ip route add default via 10.9.0.2")
        print("route", V4 in route.up, V4 in route.routes, route.gone)
        print(source_towards(socket.AF_INET, peer), address_is_gone(socket.AF_INET, own))
        second = sh(
            "ip link add w0 type veth peer name w1; ip address add 10.8.0.1/24 dev w0; "
            "ip link set w1 up; ip link set w0 up"
        )
        print("second link", {V4, V6} <= second.up, {V4, V6} <= second.routes, second.gone)
        replaced = sh("ip route replace default via 10.8.0.2")
        print("replaced", V4 in replaced.routes, replaced.gone)
        print(source_towards(socket.AF_INET, peer), address_is_gone(socket.AF_INET, own))
        lost = sh("ip address del 10.9.0.1/24 dev v0")
        print("lost", lost.gone, V4 in lost.routes)
        print(source_towards(socket.AF_INET, peer), address_is_gone(socket.AF_INET, own))
        print("no route", V4 in sh("ip route del default").routes, source_towards(socket.AF_INET, peer))
        down = sh("ip link set w0 down")
        print("down", {V4, V6} <= down.routes)
        print("everything", [c.everything for c in (up, route, second, replaced, lost, down)])
        """
    )
    assert told == [
        "address True",
        "link True True set()",
        "route True True set()",
        "10.9.0.1 False",
        "second link True True set()",
        "replaced True set()",
        "10.8.0.1 False",
        "lost {'10.9.0.1'} True",
        "10.8.0.1 True",
        "no route True None",
        "down True",
        "everything [False, False, False, False, False, False]",
    ]


def test_a_real_kernel_is_quiet_while_nothing_changes() -> None:
    told = in_a_namespace(
        """
        end = time.monotonic() + 20
        sh("ip link set lo up; ip link add v0 type veth peer name v1; ip link set v1 up; ip link set v0 up")
        sh("ip address add 10.9.0.1/24 dev v0")
        while sh("true") and time.monotonic() < end:  # The addresses of IPv6 are settled a moment later.
            pass
        print(sh("true; ip address show; ip route show >/dev/null"))
        """
    )
    assert told[-1] == change()


def test_the_address_of_a_real_connection_is_not_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert not address_is_gone(client.family, client.getsockname())
        assert source_towards(client.family, client.getpeername()) == "127.0.0.1"
    assert address_is_gone(socket.AF_INET, ("192.0.2.1", 1))  # TEST-NET-1 (RFC 5737)
    assert not address_is_gone(999, ("192.0.2.1", 1)), "what cannot be asked is not known"
    assert source_towards(999, ("192.0.2.1", 1)) is None


@pytest.mark.parametrize(
    ("family", "one", "other", "same"),
    [
        (V4, "10.0.0.1", "10.0.0.1", True),
        (V4, "10.0.0.1", "10.0.0.2", False),
        (V6, "2001:db8::1", "2001:db8::ffff:2", True),
        (V6, "2001:db8::1", "2001:db8:0:1::1", False),
        (V6, "fe80::1%eth0", "fe80::2%eth0", True),
        (V6, "2001:db8::1", "no address", False),
    ],
)
def test_addresses_of_one_network(family: int, one: str, other: str, same: bool) -> None:
    assert same_network(family, one, other) is same


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK") and not hasattr(socket, "AF_ROUTE"), reason="nothing to open")
def test_the_socket_blocks_nobody_and_is_not_inherited() -> None:
    kernel = NetworkSocket()
    try:
        kernel.read(NetworkChange())
        assert not kernel.get_inheritable()
    finally:
        kernel.close()
