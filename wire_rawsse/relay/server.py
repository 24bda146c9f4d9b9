"""Options, and the life of the relay's process.

Any number of listeners share one store. The first line on standard output says where they listen: with `json` one
object, `{"urls": […], "control": URL or null, "pid": N}`, the URLs in the order bind, bind_tls, uds; otherwise a line
for each.

The process ends on SIGTERM and SIGINT, closing everything at once. With `with_parent` it also ends when its standard
input does. The process that starts the relay keeps the writing end of that pipe. When it dies, by any signal, the
kernel closes the pipe, and no relay is left over. (A child that it forked without exec holds the pipe open too.)
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from wire_rawsse.errors import InvalidRequestError, TrustError
from wire_rawsse.relay.app import WIRE_ALLOCATE_BURST, WIRE_ALLOCATE_RATE, WIRE_HEARTBEAT, App, Settings
from wire_rawsse.relay.event_log import EventLog
from wire_rawsse.relay.guard import Limits, Rules, host_name
from wire_rawsse.relay.http import ServerConnection
from wire_rawsse.relay.listeners import Listener, TcpListener, UnixListener, host_and_port
from wire_rawsse.relay.store import Store
from wire_rawsse.relay.tls import context_for

if TYPE_CHECKING:
    import argparse

DEFAULT_BIND: Final = "127.0.0.1:8770"


@dataclasses.dataclass(frozen=True)
class RelayOptions:
    """The options of a relay. Raises `InvalidRequestError` for settings that cannot be.

    `bind` and `bind_tls` are HOST:PORT (port 0: any free one; [::1]:0 for IPv6), `uds` paths; with none of them the
    relay listens on `DEFAULT_BIND`. `certificate` and `key` are PEM files. `heartbeat` is in seconds. `replay_ids`,
    which wire has not, sends an `id:` with each event and replays what came after a `Last-Event-ID`. `allow_host` are
    host names that a request may have as its `Host`, beside local ones, and whose web pages may use the relay.
    `request_timeout`, `idle_timeout` (seconds) and `max_connections` are those of `guard.Limits`.
    """

    bind: tuple[str, ...] = ()
    bind_tls: tuple[str, ...] = ()
    uds: tuple[str, ...] = ()
    certificate: str | None = None
    key: str | None = None
    heartbeat: float = WIRE_HEARTBEAT
    replay_ids: bool = False
    allocate_rate: float = WIRE_ALLOCATE_RATE
    allocate_burst: int = WIRE_ALLOCATE_BURST
    allow_host: tuple[str, ...] = ()
    request_timeout: float = Limits.request
    idle_timeout: float = Limits.idle
    max_connections: int = Limits.connections
    with_parent: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        if self.bind_tls and not (self.certificate and self.key):
            raise InvalidRequestError("https needs a certificate and its key, as two PEM files")
        if not (self.heartbeat > 0 and self.allocate_rate > 0 and self.allocate_burst >= 1):
            raise InvalidRequestError("the heartbeat, the allocation rate and its burst must be above 0")
        if self.uds and sys.platform == "win32":
            raise InvalidRequestError("Unix-domain sockets are not to be had on this platform")
        if "" in self.uds:
            raise InvalidRequestError("a Unix-domain socket must have a path")
        for place in (*self.bind, *self.bind_tls):
            host_and_port(place)
        self.rules()

    def rules(self) -> Rules:
        """The rules that all connections share. Raises `InvalidRequestError`."""
        limits = Limits(request=self.request_timeout, idle=self.idle_timeout, connections=self.max_connections)
        return Rules(limits, frozenset(map(host_name, self.allow_host)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the relay's options to a command line."""
    add = parser.add_argument
    http = f"listen for http; port 0 is any free port; may be repeated (default: {DEFAULT_BIND})"
    add("--bind", metavar="HOST:PORT", action="append", default=[], help=http)
    https = "listen for https, with --certificate and --key; may be repeated"
    add("--bind-tls", metavar="HOST:PORT", action="append", default=[], help=https)
    add("--certificate", metavar="FILE", help="the certificate chain for https, PEM")
    add("--key", metavar="FILE", help="the private key of --certificate, PEM")
    uds = "listen on a Unix-domain socket, mode 0600; may be repeated"
    add("--uds", metavar="PATH", action="append", default=[], help=uds)
    heartbeat = "after this many seconds without an event, send a comment (default: %(default)g)"
    add("--heartbeat", metavar="S", type=float, default=WIRE_HEARTBEAT, help=heartbeat)
    ids = "send an id with each event, and replay the events after a Last-Event-ID (wire's relay does neither)"
    add("--replay-ids", action="store_true", help=ids)
    rate = "slots that may be allocated per second (default: %(default)g)"
    add("--allocate-rate", metavar="N", type=float, default=WIRE_ALLOCATE_RATE, help=rate)
    burst = "slots that may be allocated at once (default: %(default)d)"
    add("--allocate-burst", metavar="N", type=int, default=WIRE_ALLOCATE_BURST, help=burst)
    allow = (
        "also serve requests for this host, and web pages of it; may be repeated (default: localhost, loopback "
        "addresses, and the address that it listens on; no web pages of other hosts)"
    )
    add("--allow-host", metavar="NAME", action="append", default=[], help=allow)
    request = "seconds in which a request must be complete (default: %(default)g)"
    add("--request-timeout", metavar="S", type=float, default=Limits.request, help=request)
    idle = "seconds after which a connection without a request is closed (default: %(default)g)"
    add("--idle-timeout", metavar="S", type=float, default=Limits.idle, help=idle)
    connections = "connections that may be open at once (default: %(default)d)"
    add("--max-connections", metavar="N", type=int, default=Limits.connections, help=connections)
    add("--with-parent", action="store_true", help="end when standard input ends")
    add("--json", action="store_true", help="print the addresses that it listens on as one JSON object")


Options = TypeVar("Options", bound=RelayOptions)


def options_from(namespace: argparse.Namespace, kind: type[Options]) -> Options:
    """The options of this kind that `add_arguments` defined. Raises `InvalidRequestError`."""
    given: dict[str, Any] = {field.name: getattr(namespace, field.name) for field in dataclasses.fields(kind)}
    for name in ("bind", "bind_tls", "uds", "allow_host"):
        given[name] = tuple(given[name])
    return kind(**given)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Nobody wants to know. Without this the interpreter would complain about it at its end.
        import tempfile

        with tempfile.TemporaryFile() as sink:  # Not /dev/null, which a chroot may lack.
            os.dup2(sink.fileno(), 1)


def run(
    options: RelayOptions,
    announce: Callable[[str], None] = _print,
    new_server: Callable[[RelayOptions, ssl.SSLContext | None, Callable[[str], None]], RelayServer] | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or (`with_parent`) the end of standard input. `announce` says where it listens.

    Raises `ConnectError` if it cannot listen, `InvalidRequestError` if the certificate cannot be used, and any error
    of `announce`.
    """
    context = None
    if options.certificate and options.key:
        try:
            context = context_for(options.certificate, options.key)
        except TrustError as error:
            raise InvalidRequestError(str(error)) from error
    asyncio.run((new_server or RelayServer)(options, context, announce).serve())


class RelayServer:
    """One relay: a store, its routes, and the listeners that serve them."""

    connection_type: type[ServerConnection] = ServerConnection

    def __init__(self, options: RelayOptions, context: ssl.SSLContext | None, announce: Callable[[str], None]) -> None:
        self._options = options
        self._announce_text = announce
        self._log = EventLog()
        self._connections: set[ServerConnection] = set()
        self._store = Store()
        settings = Settings(options.heartbeat, options.replay_ids, options.allocate_rate, options.allocate_burst)
        app = self._new_app(settings)
        rules = options.rules()

        def plain(listener: Listener) -> ServerConnection:
            return self.connection_type(app, self._log, self._connections, rules, listener.url, listener.host)

        def encrypted(listener: Listener) -> ServerConnection:
            return self.connection_type(app, self._log, self._connections, rules, listener.url, listener.host, context)

        bind = options.bind if options.bind or options.bind_tls or options.uds else (DEFAULT_BIND,)
        self._listeners: list[Listener] = [TcpListener(name, plain) for name in bind]
        self._listeners += [TcpListener(name, encrypted, context) for name in options.bind_tls]
        self._listeners += [UnixListener(name, plain) for name in options.uds]
        self._control: Listener | None = None
        """A listener that does not count as one of the relay's; set by a subclass."""

    def _new_app(self, settings: Settings) -> App:
        return App(self._store, self._log, settings)

    async def serve(self) -> None:
        stop = asyncio.Event()
        with _signals_set(stop):
            await self._serve_until(stop)

    async def _serve_until(self, stop: asyncio.Event) -> None:
        try:
            await self._reopen()
            if self._control is not None:
                await self._control.open()
            if self._options.with_parent:
                threading.Thread(target=_wait_for_end, args=(asyncio.get_running_loop(), stop), daemon=True).start()
            self._announce()
            await stop.wait()
        finally:
            for listener in (*self._listeners, *([self._control] if self._control else [])):
                listener.close()
            for connection in tuple(self._connections):
                connection.abort()
            while self._connections:
                await asyncio.sleep(0)

    def _announce(self) -> None:
        urls = [listener.url for listener in self._listeners]
        control = self._control.url if self._control is not None else None
        if self._options.json:
            text = json.dumps({"urls": urls, "control": control, "pid": os.getpid()})
        else:
            text = "\n".join(f"relay listening on {url}" for url in urls)
            text += f"\ncontrol port on {control}" if control is not None else ""
        self._announce_text(text)

    async def _reopen(self) -> None:
        for listener in self._listeners:
            await listener.open()


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`. Afterwards they are ignored: the exit status is decided, and the interpreter puts
    back the default action of a signal that it has handled.

    Not `loop.add_signal_handler`: a loop that is closed puts the default actions back, and a second SIGTERM would then
    kill a relay that is ending well. The handlers are one call into C, which no further signal interrupts.
    """
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    if sys.platform == "win32":
        for number in numbers:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        yield
        _ignore(numbers)
        return
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        nothing: dict[int, None] = {}
        for number in numbers:
            signal.signal(number, nothing.get)  # Called as get(number, frame).
        loop.add_reader(reader, stop.set)
        try:
            yield
        finally:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # CPython tells of one that comes in between.
            _ignore(numbers)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            loop.remove_reader(reader)
            signal.set_wakeup_fd(-1)


def _ignore(numbers: tuple[signal.Signals, ...]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _wait_for_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """A thread, since not every platform's loop can wait for a pipe. It reads below `sys.stdin`, which locks at
    exit."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    try:
        loop.call_soon_threadsafe(stop.set)
    except RuntimeError:
        pass  # The loop has ended already.
