"""The resolver of this world: a hosts file, until somebody wants names to be looked up over the wire.

A name server is one more process, so it is started for the cells that need one: where the stream must be held while
its name is looked up, and where the fault is the resolver's.
"""

from __future__ import annotations

from typing import Final

from tests.faults.nameserver import NameServer, resolv_conf
from tests.faults.stage import NAME, PROXY_NAME
from tests.faults.world import RELAY, World

_LOCAL: Final = "127.0.0.1 localhost\n::1 localhost\n"


class Names:
    """`relay.lab` and `proxy.lab`, which is in the same host, and how they are found."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.server: NameServer | None = None
        self.a: tuple[str, ...] = (RELAY,)
        self.aaaa: tuple[str, ...] = ()
        self.use_file()

    def use_file(self) -> None:
        """The hosts file has the addresses in `aaaa` and `a`."""
        text = _LOCAL + "".join(f"{address} {NAME} {PROXY_NAME}\n" for address in (*self.aaaa, *self.a))
        (self._world.folder / "hosts").write_text(text)

    def use_server(self, *, attempts: int = 2) -> NameServer:
        """Names are asked of a name server in the relay's host; the one that there is, where there is one."""
        (self._world.folder / "hosts").write_text(_LOCAL)
        (self._world.folder / "resolv.conf").write_text(resolv_conf(RELAY, timeout=1, attempts=attempts))
        if self.server is None:
            with self._world.relay.entered():
                self.server = NameServer(NAME, PROXY_NAME, address=RELAY, a=self.a, aaaa=self.aaaa)
        else:
            self.server.behave("answer", a=self.a, aaaa=self.aaaa)
        return self.server

    def close(self) -> None:
        if self.server is not None:
            self.server.close()
