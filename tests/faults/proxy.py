"""A forward proxy that can go wrong the way proxies do: `CONNECT` and absolute-form http (RFC 9112 §3.2).

A proxy is dangerous to a stream because it is a TCP peer of its own. Its kernel acknowledges data and answers keepalive
probes for ever, even if the relay is dead, and its program may hold back the relay's data. So the client's connection
looks healthy to TCP, and is silent.

    work     carries bytes both ways, and passes each end on
    deaf     the relay is dead behind it, and it has not noticed: connections stay, new ones are taken and tunnels
             granted, but nothing that comes from the relay, its end included, is passed on any more
    buffer   keeps what the relay sends until there are `bytes` of it, then passes on all at once
    stall    takes the connection and the request, and answers nothing
    refuse   answers each request with `status`
    die      resets all connections and refuses new ones, until told otherwise

A stalled or buffering proxy sends the kept bytes as soon as it works again. A deaf one, once it notices, resets every
connection that has missed data.

The child's calls (see `player`): `{"do": "behave", "how": HOW, "status": N, "bytes": N}` and `{"do": "report"}`, which
counts what happened, among others the receptions and ends that were `not passed on` or `kept back`; `struck` is when
the present behaviour first made a difference, on CLOCK_MONOTONIC. It is given the one origin that it connects to,
regardless of the requested name: names are tested elsewhere.
"""

from __future__ import annotations

import argparse
import collections
import errno
import select
import socket
import struct
import time
from typing import Any, Final

from tests.faults.player import Call, Conversation, Player

HOWS: Final = ("work", "deaf", "buffer", "stall", "refuse", "die")
_ROOM: Final = 256 * 1024
"""Bytes on their way to somebody who does not read, beyond which nothing is read for them."""
_HEAD_BYTES: Final = 65536
_REASONS: Final = {
    200: b"Connection established",
    403: b"Forbidden",
    407: b"Proxy Authentication Required",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}


class Proxy(Player):
    """Listens at `bind` (HOST:PORT, where [::] is every address of either family), connects to `origin`.

    Raises `PlayerError`.
    """

    def __init__(self, *, bind: str, origin: str) -> None:
        super().__init__("tests.faults.proxy", ["--bind", bind, "--origin", origin])
        host, port = self.ready["ready"]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def behave(self, how: str, *, status: int = 502, bytes: int = 65536) -> None:
        """From now on, for the connections that there are and for new ones."""
        self.ask("behave", how=how, status=status, bytes=bytes)


# The child.


class _End:
    """One of a tunnel's two sockets, and what must be written to it."""

    def __init__(self, tunnel: _Tunnel, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tunnel = tunnel
        self.sock = sock
        self.waiting = bytearray()
        self.ended = False
        """It will send nothing more."""
        self.finish = False
        """Nothing more must be sent to it after `waiting`."""
        self.shut = False


class _Tunnel:
    """One connection of a client's. `origin` is there from the request on."""

    def __init__(self, sock: socket.socket) -> None:
        self.client = _End(self, sock)
        self.origin: _End | None = None
        self.head = bytearray()
        self.asked = False
        """The request has been dealt with: what the client sends now is for the origin, or for nobody."""
        self.tunnelled = False
        """By `CONNECT`."""
        self.answered = False
        """By the proxy itself."""
        self.connected = False
        self.kept = bytearray()
        """The relay's data that is withheld from the client for now."""
        self.lost = False
        """Something from the relay was thrown away: the client can never go on."""

    def ends(self) -> tuple[_End, ...]:
        return (self.client,) if self.origin is None else (self.client, self.origin)

    def other(self, end: _End) -> _End | None:
        return self.origin if end is self.client else self.client


class _Proxy:
    def __init__(self, bind: tuple[str, int], origin: tuple[str, int]) -> None:
        self._how = "work"
        self._status = 502
        self._bytes = 0
        self._origin = origin
        self._place = bind
        self._listener: socket.socket | None = None
        self._ends: dict[int, _End] = {}
        self._counts: collections.Counter[str] = collections.Counter()
        self._struck: float | None = None
        self._poller = select.epoll()
        self._conversation = Conversation(self._call)
        self._listen()

    def serve(self) -> None:
        """Until the conversation ends."""
        self._poller.register(Conversation.fd, select.EPOLLIN)
        self._conversation.say({"ready": self._place})
        while True:
            for fd, events in self._poller.poll():
                if fd == Conversation.fd:
                    if not self._conversation.turn():
                        return
                elif self._listener is not None and fd == self._listener.fileno():
                    self._accept(self._listener)
                elif fd in self._ends:
                    self._turn(self._ends[fd], events)

    def _listen(self) -> None:
        if self._listener is None:
            family = socket.AF_INET6 if ":" in self._place[0] else socket.AF_INET
            self._listener = socket.create_server(
                self._place, family=family, backlog=64, dualstack_ipv6=self._place[0] == "::"
            )
            self._listener.setblocking(False)
            self._place = self._listener.getsockname()[:2]
            self._poller.register(self._listener, select.EPOLLIN)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        self._counts["connections"] += 1
        self._take(_Tunnel(sock).client)

    def _take(self, end: _End) -> None:
        self._ends[end.sock.fileno()] = end
        self._poller.register(end.sock, 0)
        self._arm(end)

    def _arm(self, end: _End) -> None:
        """Ask the kernel for what can be used now."""
        tunnel, other = end.tunnel, end.tunnel.other(end)
        room = other is None or len(other.waiting) + len(tunnel.kept) < _ROOM or self._how == "deaf"
        events = select.EPOLLIN if room and not end.ended else 0
        if end.waiting or (end is tunnel.origin and not tunnel.connected):
            events |= select.EPOLLOUT
        self._poller.modify(end.sock, events)

    def _turn(self, end: _End, events: int) -> None:
        tunnel = end.tunnel
        try:
            if end is tunnel.origin and not tunnel.connected:
                code = end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, "connect")
                if not events & select.EPOLLOUT:
                    return
                self._connected(tunnel)
            if events & ~select.EPOLLOUT and not end.ended:
                self._received(end, end.sock.recv(65536))
            elif events & (select.EPOLLHUP | select.EPOLLERR):
                self._gone(end)
                return
            self._flush(tunnel)
        except BlockingIOError:
            pass
        except OSError:
            self._broken(end)

    def _gone(self, end: _End) -> None:
        """A socket has ended in both directions. The kernel would go on saying so."""
        if end is end.tunnel.client:
            self._drop(end.tunnel)
        else:
            self._forget(end)
            end.tunnel.origin = None
            self._flush(end.tunnel)

    def _received(self, end: _End, data: bytes) -> None:
        tunnel = end.tunnel
        end.ended = not data
        if end is tunnel.client:
            self._counts["bytes up"] += len(data)
            if tunnel.origin is not None:
                tunnel.origin.waiting += data
                tunnel.origin.finish |= not data
            elif not tunnel.asked:
                tunnel.head += data
                self._ask(tunnel)
        elif self._how == "deaf":
            tunnel.lost = True
            self._strike("not passed on")
        else:
            self._counts["bytes down"] += len(data)
            tunnel.kept += data
            if self._how == "buffer" and data and len(tunnel.kept) < self._bytes:
                self._strike("kept back")
            else:
                self._pass_on(tunnel)

    def _pass_on(self, tunnel: _Tunnel) -> None:
        """Give the client what is kept, and the end of it where it has come."""
        tunnel.client.waiting += tunnel.kept
        tunnel.kept.clear()
        tunnel.client.finish |= tunnel.origin is not None and tunnel.origin.ended

    def _ask(self, tunnel: _Tunnel) -> None:
        """Do what a complete request asks for."""
        head, complete, rest = bytes(tunnel.head).partition(b"\r\n\r\n")
        if not complete:
            if tunnel.client.ended or len(tunnel.head) > _HEAD_BYTES:
                self._drop(tunnel)
            return
        if self._how == "stall":
            self._strike("requests stalled")
            return
        tunnel.asked = True
        if self._how == "refuse":
            self._strike("requests refused")
            self._answer(tunnel, self._status)
            return
        first, *fields = head.split(b"\r\n")
        method, target, _ = first.split(b" ", 2)
        family = socket.AF_INET6 if ":" in self._origin[0] else socket.AF_INET
        tunnel.origin = _End(tunnel, socket.socket(family, socket.SOCK_STREAM))
        if method == b"CONNECT":
            self._counts["tunnels"] += 1
            tunnel.tunnelled = True
            tunnel.origin.waiting += rest
            if self._how == "deaf":
                self._answer(tunnel, 200)
        else:
            self._counts["requests"] += 1
            path = b"/" + target.partition(b"://")[2].partition(b"/")[2]
            kept = [field for field in fields if not field.lower().startswith(b"proxy-")]
            tunnel.origin.waiting += b"\r\n".join([b"%s %s HTTP/1.1" % (method, path), *kept, b"", b""]) + rest
        code = tunnel.origin.sock.connect_ex(self._origin)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        self._take(tunnel.origin)

    def _connected(self, tunnel: _Tunnel) -> None:
        tunnel.connected = True
        if tunnel.tunnelled and not tunnel.answered:
            self._answer(tunnel, 200)

    def _answer(self, tunnel: _Tunnel, status: int) -> None:
        """One of our own: 200 opens a tunnel, anything else is the end."""
        tunnel.answered = True
        length = b"" if status == 200 else b"Content-Length: 0\r\n"
        tunnel.client.waiting += b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, _REASONS.get(status, b"No"), length)
        tunnel.client.finish |= status != 200

    def _flush(self, tunnel: _Tunnel) -> None:
        """Write what can be written. A tunnel is over when both sides have ended and got what they are to get."""
        for end in tunnel.ends():
            if end is tunnel.origin and not tunnel.connected:
                continue
            while end.waiting:
                try:
                    del end.waiting[: end.sock.send(end.waiting)]
                except BlockingIOError:
                    break
            if end.finish and not end.waiting and not end.shut:
                end.shut = True
                end.sock.shutdown(socket.SHUT_WR)
        owed = (tunnel.client.waiting or tunnel.kept) and not tunnel.lost
        if all(end.ended for end in tunnel.ends()) and not owed:
            self._drop(tunnel)
            return
        for end in tunnel.ends():
            if end.sock.fileno() in self._ends:
                self._arm(end)

    def _broken(self, end: _End) -> None:
        """A socket has failed. The client is told, unless it is the relay's and we are deaf to that."""
        tunnel = end.tunnel
        if end is not tunnel.origin:
            self._drop(tunnel, reset=True)
        elif self._how == "deaf":
            tunnel.lost = True
            self._strike("not passed on")
            self._forget(end)
            tunnel.origin = None
        elif not tunnel.connected and not tunnel.answered:
            self._counts["origins not reached"] += 1
            self._forget(end)
            tunnel.origin = None
            self._answer(tunnel, 502)
            self._flush(tunnel)
        else:
            self._drop(tunnel, reset=True)

    def _drop(self, tunnel: _Tunnel, *, reset: bool = False) -> None:
        for end in tunnel.ends():
            if reset:
                end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._forget(end)

    def _forget(self, end: _End) -> None:
        if self._ends.pop(end.sock.fileno(), None) is not None:
            self._poller.unregister(end.sock)
        end.sock.close()

    def _strike(self, what: str) -> None:
        self._counts[what] += 1
        if self._struck is None:
            self._struck = time.monotonic()

    # The conversation.

    def _call(self, call: Call) -> dict[str, Any]:
        if call["do"] == "behave":
            self._behave(call["how"], int(call.get("status", 502)), int(call.get("bytes", 65536)))
            return {}
        if call["do"] == "report":
            tunnels = self._tunnels()
            kept = sum(len(tunnel.kept) for tunnel in tunnels)
            return {**self._counts, "open": len(tunnels), "kept": kept, "struck": self._struck}
        raise ValueError("do must be one of behave, report")

    def _tunnels(self) -> set[_Tunnel]:
        return {end.tunnel for end in self._ends.values()}

    def _behave(self, how: str, status: int, bytes: int) -> None:
        if how not in HOWS:
            raise ValueError(f"how must be one of {', '.join(HOWS)}")
        before, self._how, self._status, self._bytes = self._how, how, status, bytes
        self._struck = None
        if how != "die":
            self._listen()
        elif self._listener is not None:
            self._poller.unregister(self._listener)
            self._listener.close()
            self._listener = None
        for tunnel in self._tunnels():
            if how == "die" or (tunnel.lost and before == "deaf" and how != "deaf"):
                self._strike("reset")
                self._drop(tunnel, reset=True)
                continue
            try:
                if tunnel.head and not tunnel.asked and how != "stall":
                    self._ask(tunnel)
                elif how != "buffer":
                    self._pass_on(tunnel)
                self._flush(tunnel)
            except OSError:
                self._broken(tunnel.origin or tunnel.client)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.faults.proxy", description=__doc__.splitlines()[0])
    arguments.add_argument("--bind", required=True, metavar="HOST:PORT")
    arguments.add_argument("--origin", required=True, metavar="HOST:PORT")
    given = arguments.parse_args()
    _Proxy(_place(given.bind), _place(given.origin)).serve()


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    main()
