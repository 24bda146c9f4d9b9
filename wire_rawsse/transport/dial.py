"""From addresses to one connected socket: Happy Eyeballs (RFC 8305), and the options that every socket gets.

The problem: a name has several addresses, some of which swallow what is sent to them. One after the other costs a
whole time-out for each dead one; all at once is a burst on the server. RFC 8305 §5 starts them in order, a *connection
attempt delay* of 250 ms apart, and the next at once where one fails. The first that connects wins, the others are
closed. Families alternate, beginning with that of the first address (§4): most often a whole family is dead.

Addresses whose connections failed before come last (see `addresses`), and are started only after a quarter of the
deadline: one that accepts TCP quickly and is dead after that must not win against one that is healthy and far away.

We leave out asking for AAAA and A separately (§3), as getaddrinfo(3) answers both at once.

One budget covers all attempts together: no address gets a time-out of its own, for the same reason.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from wire_rawsse.errors import ConnectTimeout, DialError
from wire_rawsse.policy import Keepalive
from wire_rawsse.transport.addresses import AddressMemory
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.waits import WRITE, Address, Coroutine, Wait

if TYPE_CHECKING:
    from wire_rawsse.services import HostServices

ATTEMPT_DELAY: Final = 0.25
"""Seconds; the value that RFC 8305 §8 recommends."""

_SHOWN: Final = 4
"""Attempts that an error text names; a name may have thousands of addresses."""

Attempt: TypeAlias = "tuple[Address, OSError]"

_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR, errno.EALREADY)
_DARWIN_KEEPIDLE: Final = 0x10  # TCP_KEEPALIVE in <netinet/tcp.h>; Python has it by name from 3.10 on, where built so.
_DARWIN_CONNECTION_DROP_TIME: Final = 0x80  # TCP_RXT_CONNDROPTIME, seconds.
_WINDOWS_MAXIMUM_RETRANSMISSION: Final = 5  # TCP_MAXRT, seconds.


def dial(
    services: HostServices,
    addresses: Sequence[Address],
    deadline: Deadline,
    keepalive: Keepalive,
    memory: AddressMemory | None = None,
) -> Coroutine[socket.socket]:
    """Race to the first connected socket, which the caller then owns (and gives back by `services.release`).

    `memory` decides the order, and is told which address was connected. Raises `DialError` with every attempt when all
    have failed, `ConnectTimeout` when the budget ran out.
    """
    memory = AddressMemory() if memory is None else memory
    first, failed_before = memory.order(addresses, services.now())
    waiting = [*first, *failed_before]
    racing: dict[socket.socket, Address] = {}
    failed: list[Attempt] = []
    next_start = services.now()
    winner: socket.socket | None = None
    try:
        while winner is None:
            while waiting and (not racing or services.now() >= next_start):
                started = len(racing)
                address = waiting.pop(0)
                winner = _start(services, address, keepalive, racing, failed)
                if winner is not None:
                    memory.connected(address, services.now())
                    return winner
                if len(racing) > started:
                    patient = len(waiting) <= len(failed_before)
                    next_start = services.now() + max(ATTEMPT_DELAY, deadline.seconds / 4 if patient else 0)
            if not racing:
                raise DialError(
                    f"no address of {deadline.place} could be connected: {_told(failed, addresses)}", _shown(failed)
                )
            until = min(deadline.at, next_start) if waiting else deadline.at
            ready = yield Wait({sock.fileno(): WRITE for sock in racing}, until)
            if ready is None and services.now() >= deadline.at:
                failed += [(address, TimeoutError(errno.ETIMEDOUT, "no answer")) for address in racing.values()]
                raise deadline.ran_out("connecting", f"waiting for {_told(failed, addresses)}")
            for sock in [sock for sock in racing if sock.fileno() in (ready or ())]:
                winner = winner or _finish(services, sock, racing, failed)
                if sock not in racing and len(waiting) > len(failed_before):
                    next_start = services.now()  # It failed: no reason to hold the next one back.
        memory.connected(racing[winner], services.now())
        return winner
    except (DialError, ConnectTimeout):
        if len(failed) < len(addresses):
            memory.set_back((address for address, _ in failed), services.now())  # The next attempt tries the others.
        raise
    finally:
        for sock in racing:
            if sock is not winner:
                services.release(sock)


def unix_address(path: str) -> Address:
    """The one address of a Unix-domain socket. Raises `DialError` where the platform has none."""
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise DialError("this platform has no Unix-domain sockets; use the http:// form of the endpoint", [])
    return Address(family, socket.SOCK_STREAM, 0, path)


def open_socket(address: Address) -> socket.socket:
    """A non-blocking stream socket; close-on-exec is Python's default (PEP 446). Raises `OSError`."""
    sock = socket.socket(address.family, address.type, address.protocol)
    sock.setblocking(False)
    return sock


def _start(
    services: HostServices,
    address: Address,
    keepalive: Keepalive,
    racing: dict[socket.socket, Address],
    failed: list[Attempt],
) -> socket.socket | None:
    """Begin one attempt; the socket if it is connected at once, as Unix-domain sockets are."""
    try:
        sock = services.open(address)
    except OSError as error:
        failed.append((address, error))
        return None
    try:
        set_options(sock, keepalive)
        code = sock.connect_ex(address.sockaddr)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL.
        services.release(sock)
        if not isinstance(error, OSError):
            error = OSError(errno.EINVAL, str(error))
        elif error.errno is None:  # Python's own objection: a path that is too long.
            from wire_rawsse.foreign import reason

            error = OSError(errno.EINVAL, reason(error))
        failed.append((address, error))
        return None
    # To a Unix-domain socket EAGAIN says that the listener's queue is full, and nothing is under way (connect(2)).
    if code in _UNDER_WAY and (address.family in _INTERNET or code == errno.EINPROGRESS):
        racing[sock] = address
        return None
    if code:
        services.release(sock)
        failed.append((address, OSError(code, os.strerror(code) + _hint(code, address))))
        return None
    return sock


def _hint(code: int, address: Address) -> str:
    """A URL that has the request target after the socket's path, as an http URL would."""
    path = address.sockaddr
    if code != errno.ENOTDIR or not isinstance(path, str):
        return ""
    place = path
    while not os.path.exists(place):  # At the latest "/" does.
        place = os.path.dirname(place)
    return f"; {place} is no directory: expected the form unix://{place}?path={path[len(place) :]}"


def _finish(
    services: HostServices, sock: socket.socket, racing: dict[socket.socket, Address], failed: list[Attempt]
) -> socket.socket | None:
    """A racing socket has turned writable: connected, or failed with SO_ERROR (connect(2), EINPROGRESS)."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if not code:
        return sock
    failed.append((racing.pop(sock), OSError(code, os.strerror(code))))
    services.release(sock)
    return None


def _shown(attempts: Sequence[Attempt]) -> list[tuple[str, OSError]]:
    return [(str(address), error) for address, error in attempts]


def _told(attempts: Sequence[Attempt], addresses: Sequence[Address]) -> str:
    """The first attempts, and how many more there were."""
    text = "; ".join(f"{address}: {error.strerror or type(error).__name__}" for address, error in attempts[:_SHOWN])
    if len(attempts) > _SHOWN:
        text += f"; … and {len(attempts) - _SHOWN} more"
    if len(attempts) < len(addresses):
        text += f" ({len(attempts)} of {len(addresses)} addresses tried)"
    return text or "no address"


def set_options(sock: socket.socket, keepalive: Keepalive) -> None:
    """Keepalive, user timeout and TCP_NODELAY (tcp(7), RFC 5482), each where the platform has it.

    Set before `connect`, so that the user timeout covers the handshake too. Raises nothing: an option that the system
    refuses is a net less, not a reason to have no stream.
    """
    if sock.family not in _INTERNET:
        return
    for level, option, value in socket_options(keepalive):
        try:
            sock.setsockopt(level, option, value)
        except OSError:
            continue


def socket_options(keepalive: Keepalive, platform: str = sys.platform) -> list[tuple[int, int, int]]:
    """(level, option, value) for this platform's names of the same things."""
    tcp = socket.IPPROTO_TCP
    options = [(tcp, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    named: list[tuple[int | None, float]] = [
        (getattr(socket, "TCP_KEEPINTVL", None), keepalive.interval),
        (getattr(socket, "TCP_KEEPCNT", None), keepalive.count),
        (getattr(socket, "TCP_USER_TIMEOUT", None), keepalive.user_timeout * 1000),  # Milliseconds, unlike all others.
    ]
    if platform == "darwin":
        named.append((getattr(socket, "TCP_KEEPALIVE", _DARWIN_KEEPIDLE), keepalive.idle))
        named.append((_DARWIN_CONNECTION_DROP_TIME, keepalive.user_timeout))
    else:
        named.append((getattr(socket, "TCP_KEEPIDLE", None), keepalive.idle))
    if platform == "win32":
        named.append((_WINDOWS_MAXIMUM_RETRANSMISSION, keepalive.user_timeout))
    # Never 0, which turns a net off or means something else.
    options += [(tcp, option, max(1, int(value))) for option, value in named if option is not None]
    return options
