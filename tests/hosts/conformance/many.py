"""`Streams` and `EventStreams` as hosts of the scenes."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any, ClassVar, Final

from tests.hosts.conformance.hosts import Host, RealHost
from tests.hosts.scenes import descriptors
from tests.hosts.support import HEAD, PATIENCE
from wire_rawsse import EndpointState, Event, EventStreams, Opened, StreamHandle, Streams
from wire_rawsse.hosts.loop import Loop


class StreamsHost(RealHost):
    """The streams of a scene are among others, which are silent."""

    name = "streams"
    can = frozenset({"late", "fork", "signal"})
    set_kind: ClassVar[type[Streams] | type[EventStreams]] = Streams
    others = 20

    def open(self, urls: list[str], options: dict[str, Any]) -> None:
        self.quiet = BareServer()
        self.streams = self.set_kind()
        others = [self.streams.add(self.quiet.url) for _ in range(self.others)]
        end = time.monotonic() + PATIENCE
        while any(handle.state.phase != "streaming" for handle in others):
            self.wait(0.01)
            assert time.monotonic() < end
        self.handles = [self.streams.add(url, **options) for url in urls]  # Last, as their `read` is short.

    @property
    def loop(self) -> Loop:
        return self.streams._loop

    def wait(self, timeout: float) -> bool:
        assert isinstance(self.streams, Streams)
        return bool(self.streams.wait(timeout))

    def look(self) -> object:
        return self.wait(0)

    def state(self, stream: int) -> EndpointState:
        return self.handles[stream].state

    def restart(self) -> None:
        for handle in self.handles:
            handle.restart()

    def close(self) -> None:
        self._held = descriptors(self.loop)
        self.streams.close()

    def end(self) -> None:
        self.streams.close()
        self.quiet.close()


class EventStreamsHost(StreamsHost):
    """An event is a wake, and so is a connection."""

    name = "events"
    set_kind = EventStreams

    def open(self, urls: list[str], options: dict[str, Any]) -> None:
        self._seen: set[StreamHandle] = set()
        super().open(urls, options)

    def wait(self, timeout: float) -> bool:
        assert isinstance(self.streams, EventStreams)
        end = time.monotonic() + timeout
        while (found := self.streams.next_item(max(0.0, end - time.monotonic()))) is not None:
            source, item = found
            if isinstance(item, Event):
                self._seen.add(source)
            if isinstance(item, (Event, Opened)):
                return True
            if time.monotonic() >= end:
                break
        return False

    def events_seen(self, stream: int = 0) -> bool:
        return self.handles[stream] in self._seen


class BareServer:
    """One thread that accepts any number of event streams, and says nothing more."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="bare-server")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self._sockets.append(sock)
            if not sock.recv(65536):  # The request is one segment; none is sent by `close`.
                return
            sock.sendall(HEAD)

    def close(self) -> None:
        if self._thread.is_alive():
            socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(PATIENCE)
        for sock in (*self._sockets, self._listener):
            sock.close()


HOSTS: Final[list[type[Host]]] = [StreamsHost, EventStreamsHost]
