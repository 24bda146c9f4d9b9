"""The relay with faults: the routes of `wire_rawsse.relay`, an injector at each of their steps, and a control port."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from wire_rawsse.relay import server
from wire_rawsse.relay.app import App, Settings
from wire_rawsse.relay.event_log import EventLog
from wire_rawsse.relay.http import ServerConnection
from wire_rawsse.relay.listeners import Listener, TcpListener
from wire_rawsse.relay.messages import ServerRequest
from wire_rawsse.relay.stream import RelayStream
from wire_rawsse.testing.connection import FaultyConnection
from wire_rawsse.testing.control import Control
from wire_rawsse.testing.injector import FaultInjector, FaultyStream

if TYPE_CHECKING:
    import argparse


@dataclasses.dataclass(frozen=True)
class FaultyRelayOptions(server.RelayOptions):
    """As `RelayOptions`; with `control` a control port is opened on 127.0.0.1."""

    control: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `FaultyRelayOptions` to a command line."""
    server.add_arguments(parser)
    control = "open a control port on 127.0.0.1, which makes the relay fail and reports what happened"
    parser.add_argument("--control", action="store_true", help=control)


def options_from(namespace: argparse.Namespace) -> FaultyRelayOptions:
    """The options that `add_arguments` defined. Raises `InvalidRequestError`."""
    return server.options_from(namespace, FaultyRelayOptions)


def run(options: FaultyRelayOptions, announce: Callable[[str], None] | None = None) -> None:
    """Serve as `wire_rawsse.relay.server.run` does, with faults on request. Raises the same errors."""
    if announce is None:
        server.run(options, new_server=FaultyRelayServer)
    else:
        server.run(options, announce, FaultyRelayServer)


class FaultyApp(App):
    """The routes, with the injector asked at each step of a connection's life."""

    stream_type = FaultyStream

    injector: FaultInjector

    def accepted(self, connection: ServerConnection) -> None:
        assert isinstance(connection, FaultyConnection)
        self.injector.accepted(connection)

    def gone(self, connection: ServerConnection) -> None:
        assert isinstance(connection, FaultyConnection)
        self.injector.gone(connection)

    def requested(self, connection: ServerConnection, request: ServerRequest) -> None:
        assert isinstance(connection, FaultyConnection)
        is_stream = request.method == "GET" and request.path.endswith("/stream")
        serve = super().requested
        self.injector.requested(connection, is_stream, lambda: serve(connection, request))

    def _opened(self, stream: RelayStream) -> None:
        assert isinstance(stream, FaultyStream)
        self.injector.opened(stream)


class FaultyRelayServer(server.RelayServer):
    """One relay whose connections can be made to fail."""

    connection_type = FaultyConnection

    def __init__(
        self, options: server.RelayOptions, context: ssl.SSLContext | None, announce: Callable[[str], None]
    ) -> None:
        super().__init__(options, context, announce)
        if isinstance(options, FaultyRelayOptions) and options.control:
            handler = Control(self._store, self._log, self._app.injector, self._app.pump)
            own = EventLog()  # The control port's own connections must not show in the report.
            rules = options.rules()  # The limits of the other listeners must not keep it from working.

            def control(listener: Listener) -> ServerConnection:
                return ServerConnection(handler, own, self._connections, rules, listener.url, listener.host)

            self._control = TcpListener("127.0.0.1:0", control)

    def _new_app(self, settings: Settings) -> App:
        self._app = FaultyApp(self._store, self._log, settings)
        self._app.injector = FaultInjector(self._log, self._refuse, self._reopen)
        return self._app

    def _refuse(self) -> None:
        for listener in self._listeners:
            listener.refuse()
