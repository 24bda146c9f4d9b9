"""Programs that hold many event streams in one process, for `many`: ours, a floor, and peers.

    python -m bench.many_clients KIND STREAMS PORT [CA file]

The streams are `/s/STREAMS/0`, `/s/STREAMS/1` …, spread over several loopback addresses. Once each has had its
response head, the program prints `{"open": true, "cpu_s": …, "wall_s": …}`: the processor time and the time that
opening them took. From then on it keeps a stamp of each wake and the number of its stream. At SIGTERM it prints
`{"wakes": [[number, t_ns], …]}`.

Each peer is used as its documentation shows it for several streams: a task each (aiohttp), a thread each (httpx,
launchdarkly), one multi handle (pycurl). A program with a thread for each stream stamps in that thread: what a
hand-over to the main thread would cost comes on top of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from time import monotonic_ns
from types import FrameType
from typing import Any

from bench.clients._probe import Stop, say
from bench.scenario import LOOPBACKS
from bench.sender import room_for_streams

AT_ONCE = 64
"""Connections that peers without a limit of their own open at once: the relay's queue of connections must hold."""
DEADLINE_SECONDS = 3.0


class Holder:
    """The settings of a program, and its report."""

    def __init__(self, streams: int, port: int, ca: str | None) -> None:
        self.ca = ca
        scheme = "http" if ca is None else "https"
        places = [f"{scheme}://{address}:{port}/s/{streams}" for address in LOOPBACKS]
        self.urls = [f"{places[n % len(places)]}/{n}" for n in range(streams)]
        self.wakes: list[tuple[int, int]] = []
        self.all_open = False
        self._began = time.process_time(), time.monotonic()
        self._open = bytearray(streams)  # As little as possible, since memory is measured.
        self._lock = threading.Lock()

    def opened(self, number: int) -> None:
        """The head of a stream has come. From any thread; it counts once."""
        with self._lock:
            self._open[number] = 1
            if self.all_open or 0 in self._open:
                return
            self.all_open = True
        cpu, wall = self._began
        say(json.dumps({"open": True, "cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}))

    def context(self) -> ssl.SSLContext | None:
        return None if self.ca is None else ssl.create_default_context(cafile=self.ca)


# Ours.


def ours(holder: Holder, **options: Any) -> None:
    """`Streams`: the first wake of a stream is its connection."""
    from wire_rawsse import Streams

    with Streams(**options) as streams:
        for number, url in enumerate(holder.urls):
            streams.add(url, tls=holder.ca, tag=number)
        while not holder.all_open:
            for handle in streams.wait(5.0):
                holder.opened(handle.tag)
        wakes = holder.wakes
        while True:
            woken = streams.wait(5.0)
            stamp = monotonic_ns()
            wakes.extend([(handle.tag, stamp) for handle in woken])


def ours_300(holder: Holder) -> None:
    """The same with 300 connections at once."""
    ours(holder, max_connecting=300)


def ours_lone(holder: Holder) -> None:
    """`StreamSubscriber`, one stream."""
    from wire_rawsse import StreamSubscriber

    with StreamSubscriber(holder.urls[0], tls=holder.ca) as subscriber:
        assert subscriber.wait(20)
        holder.opened(0)
        while True:
            if subscriber.wait(5.0):
                holder.wakes.append((0, monotonic_ns()))


def deadlines(holder: Holder) -> None:
    """How late each deadline of silent streams is kept: from the accepted head to the end of the stream."""
    from wire_rawsse import Backoff, Streams, Timeouts

    began: dict[int, float] = {}
    late: dict[int, float] = {}
    with Streams() as streams:
        timeouts, backoff = Timeouts(read=DEADLINE_SECONDS), Backoff(initial=600, maximum=600)
        handles = [streams.add(url, timeouts=timeouts, backoff=backoff, tag=n) for n, url in enumerate(holder.urls)]
        while len(late) < len(handles):
            streams.wait(0.2)
            for handle in handles:
                state = handle.state
                if state.phase == "streaming":
                    began[handle.tag] = state.since
                elif state.phase == "backing off" and handle.tag in began:
                    late.setdefault(handle.tag, state.since - began[handle.tag] - DEADLINE_SECONDS)
    say(json.dumps({"open": True, "late_ms": sorted(1000 * seconds for seconds in late.values())}))
    raise Stop


# Floors, without deadlines, reconnects or TLS checks beyond the standard ones: a loop over epoll that only receives,
# and one that parses with h11.


def bare(holder: Holder) -> None:
    """Poll, receive, search: the kernel and the caches take as much from any program."""
    context = holder.context()
    epoll = select.epoll()
    streams: dict[int, tuple[int, socket.socket]] = {}
    would_block = (BlockingIOError, ssl.SSLWantReadError)
    for number, url in enumerate(holder.urls):
        host, port, path = _parts(url)
        sock: socket.socket = socket.create_connection((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=host)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n\r\n".encode())
        while b"\r\n\r\n" not in sock.recv(65536):
            pass
        sock.setblocking(False)
        streams[sock.fileno()] = number, sock
        epoll.register(sock.fileno(), select.EPOLLIN)
        holder.opened(number)
    while True:
        for fd, _ in epoll.poll(5.0, 16):
            number, sock = streams[fd]
            try:
                data = sock.recv(16384)
            except would_block:
                continue
            if data.find(b"\ndata") >= 0:
                holder.wakes.append((number, monotonic_ns()))


def floor(holder: Holder) -> None:
    import h11

    context = holder.context()
    epoll = select.epoll()
    streams: dict[int, tuple[int, socket.socket, h11.Connection]] = {}
    would_block = (BlockingIOError, ssl.SSLWantReadError)
    waiting = list(enumerate(holder.urls))[::-1]
    heads: set[int] = set()

    def begin() -> None:
        number, url = waiting.pop()
        host, port, path = _parts(url)
        sock: socket.socket = socket.create_connection((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=host)
        connection = h11.Connection(h11.CLIENT)
        fields = [("Host", f"{host}:{port}"), ("Accept", "text/event-stream")]
        request = connection.send(h11.Request(method="GET", target=path, headers=fields))
        sock.sendall((request or b"") + (connection.send(h11.EndOfMessage()) or b""))
        sock.setblocking(False)
        streams[sock.fileno()] = number, sock, connection
        epoll.register(sock.fileno(), select.EPOLLIN)

    while True:
        while waiting and len(streams) - len(heads) < AT_ONCE:
            begin()
        for fd, _ in epoll.poll(5.0, 1024):
            number, sock, connection = streams[fd]
            try:
                connection.receive_data(sock.recv(65536))
            except would_block:
                continue
            woken = False
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Data):
                    woken = woken or b"data:" in event.data
                else:
                    heads.add(number)
                    holder.opened(number)
            if woken:
                holder.wakes.append((number, monotonic_ns()))


# Peers.


def aiohttp_tasks(holder: Holder) -> None:
    import aiohttp

    async def one(session: aiohttp.ClientSession, room: asyncio.Semaphore, number: int, url: str) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with room:
                response = await stack.enter_async_context(session.get(url))
            holder.opened(number)
            async for line in response.content:
                if line.startswith(b"data:"):
                    holder.wakes.append((number, monotonic_ns()))

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        connector = aiohttp.TCPConnector(limit=0, ssl=holder.context() or True)
        room = asyncio.Semaphore(AT_ONCE)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
            await asyncio.gather(*(one(session, room, number, url) for number, url in enumerate(holder.urls)))

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        raise Stop from None


def httpx_threads(holder: Holder) -> None:
    import httpx
    from httpx_sse import connect_sse

    verify = holder.context() or True

    def listen(number: int, url: str, room: threading.Semaphore) -> None:
        with room:
            client = httpx.Client(verify=verify, timeout=None)
            opening = connect_sse(client, "GET", url)
            source = opening.__enter__()
        holder.opened(number)
        for _ in source.iter_sse():
            holder.wakes.append((number, monotonic_ns()))

    _in_threads(holder, listen)


def launchdarkly_threads(holder: Holder) -> None:
    import urllib3
    from ld_eventsource import SSEClient
    from ld_eventsource.actions import Event
    from ld_eventsource.config import ConnectStrategy

    def listen(number: int, url: str, room: threading.Semaphore) -> None:
        with room:
            pool = urllib3.PoolManager(ca_certs=holder.ca)
            client = SSEClient(ConnectStrategy.http(url, pool=pool))
            client.start()
        holder.opened(number)
        for item in client.all:
            if isinstance(item, Event):
                holder.wakes.append((number, monotonic_ns()))

    _in_threads(holder, listen)


def _in_threads(holder: Holder, listen: Callable[[int, str, threading.Semaphore], None]) -> None:
    room = threading.Semaphore(AT_ONCE)
    for number, url in enumerate(holder.urls):
        threading.Thread(target=listen, args=(number, url, room), daemon=True).start()
    while True:
        signal.pause()


def pycurl_multi(holder: Holder) -> None:
    import pycurl

    epoll = select.epoll()
    came: list[int] = []
    heads: set[int] = set()

    def interest(what: int, fd: int, multi: object, data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            epoll.unregister(fd)
            return
        wanted = (select.EPOLLIN if what & pycurl.POLL_IN else 0) | (select.EPOLLOUT if what & pycurl.POLL_OUT else 0)
        try:
            epoll.modify(fd, wanted)
        except FileNotFoundError:
            epoll.register(fd, wanted)

    def opened(number: int) -> Callable[[bytes], None]:
        def header(line: bytes) -> None:
            if line == b"\r\n":
                heads.add(number)
                holder.opened(number)

        return header

    def received(number: int) -> Callable[[bytes], None]:
        def write(data: bytes) -> None:
            if b"data:" in data:
                came.append(number)

        return write

    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_SOCKETFUNCTION, interest)
    waiting = list(enumerate(holder.urls))[::-1]
    handles: list[Any] = []
    while True:
        while waiting and len(handles) - len(heads) < AT_ONCE:
            number, url = waiting.pop()
            curl = pycurl.Curl()
            curl.setopt(pycurl.URL, url)
            curl.setopt(pycurl.HEADERFUNCTION, opened(number))
            curl.setopt(pycurl.WRITEFUNCTION, received(number))
            curl.setopt(pycurl.TCP_NODELAY, 1)
            curl.setopt(pycurl.BUFFERSIZE, 1024)
            if holder.ca is not None:
                curl.setopt(pycurl.CAINFO, holder.ca)
            handles.append(curl)
            multi.add_handle(curl)
        timeout = multi.timeout()
        ready = epoll.poll(5.0 if timeout < 0 else min(5.0, timeout / 1000), 1024)
        for fd, _ in ready:
            multi.socket_action(fd, 0)
        if not ready:
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if came:
            stamp = monotonic_ns()
            holder.wakes.extend([(number, stamp) for number in came])
            came.clear()


def _parts(url: str) -> tuple[str, int, str]:
    place, _, path = url.partition("://")[2].partition("/")
    host, _, port = place.rpartition(":")
    return host, int(port), f"/{path}"


KINDS: dict[str, Callable[[Holder], None]] = {
    "ours": ours,
    "ours_300": ours_300,
    "ours_lone": ours_lone,
    "deadlines": deadlines,
    "bare": bare,
    "floor": floor,
    "aiohttp": aiohttp_tasks,
    "httpx": httpx_threads,
    "launchdarkly": launchdarkly_threads,
    "pycurl": pycurl_multi,
}


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stop


def main() -> None:
    """The exit status is 0 after a report, 1 after a failure."""
    room_for_streams()
    kind, streams, port, *ca = sys.argv[1:]
    holder = Holder(int(streams), int(port), ca[0] if ca else None)
    signal.signal(signal.SIGTERM, _stop)
    status = 0
    try:
        KINDS[kind](holder)
    except Stop:
        say(json.dumps({"wakes": holder.wakes}))
    except ImportError as error:
        say(json.dumps({"unavailable": str(error)}))
    except Exception as error:
        say(json.dumps({"failed": f"{type(error).__name__}: {error}"}))
        status = 1
    # A reader thread may sit in a blocking read; the interpreter would wait for it.
    os._exit(status)


if __name__ == "__main__":
    main()
