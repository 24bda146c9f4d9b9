"""The relay in its host, and the client that posts events to it.

The lab talks to the relay out of band: posts and pulls go over a Unix-domain socket, which belongs to a path and not to
a network, the control call over loopback inside the relay's host. So a fault touches the stream alone. A stopped or
killed relay cannot be reached this way either. An event posted then is refused or arrives late; the relay's own store
has the final list.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.faults.bounds import Setup
from tests.faults.tools import LabError
from tests.faults.world import RELAY, RELAY6, World
from wire_rawsse import WireRawSSEError
from wire_rawsse.testing import RelayClient, RelayProcess, Slot
from wire_rawsse.testing.faults import Fault as RelayFault

NAME: Final = "relay.lab"
PROXY_NAME: Final = "proxy.lab"
HTTP, HTTPS = 8080, 8443
CERTIFICATES: Final = "FAULTS_CERTIFICATES"
"""A folder with ca.pem, relay.pem and relay.key: a matrix makes them once for all its cells."""
PATIENCE: Final = 20.0
_TLS12: Final = """
openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = oldest
[oldest]
MaxProtocol = TLSv1.2
"""
GAP: Final = 0.2
"""Seconds between two events."""


def make_certificates(folder: Path) -> None:
    """An authority that only this lab trusts, and a certificate of the relay's."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "relay.key"))
    (folder / "relay.key").chmod(0o600)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (folder / "relay.pem").write_bytes(chain)


class Relay:
    """The relay, over all the lives that a fault may give it."""

    def __init__(self, world: World, setup: Setup, *, tls12: bool = False) -> None:
        """`tls12`: it speaks nothing newer than TLS 1.2."""
        self._world = world
        self._setup = setup
        given = os.environ.get(CERTIFICATES)
        self.certificates = Path(given) if given else world.folder
        if not given:
            make_certificates(world.folder)
        if tls12:
            settings = world.folder / "openssl.cnf"
            settings.write_text(_TLS12)
            os.environ["OPENSSL_CONF"] = str(settings)  # For the relay's process; this one has loaded its own.
        self.slot = Slot("lab", "lab-token-0123456789abcdef")
        self.socket = f"unix://{world.folder}/relay.sock"
        self.reports: list[dict[str, Any]] = []
        """The last report of each relay process before it was ended."""
        self.alive = False
        self.stopped = False
        self._to_let_go = False
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """A new process in the same place, with an empty store under the same credentials."""
        both = [(RELAY, f"[{RELAY6}]")]
        plain = [f"{host}:{HTTP}" for pair in both for host in pair]
        secure = [f"{host}:{HTTPS}" for pair in both for host in pair]
        with self._world.relay.entered():
            self._process = RelayProcess(
                bind=plain,
                bind_tls=secure,
                uds=[str(self._world.folder / "relay.sock")],
                certificate=str(self.certificates / "relay.pem"),
                key=str(self.certificates / "relay.key"),
                heartbeat=self._setup.settings.heartbeat,
                replay_ids=self._setup.ids,
                allow_host=[NAME],
            )
        self._client = RelayClient(self.socket, control=self._process.control_url, timeout=PATIENCE)
        self.alive = True
        self._stored: list[str] = []
        self.adopt()

    def adopt(self) -> None:
        with self._world.relay.entered():
            self._client.adopt(self.slot)

    def control(self, do: str, **call: Any) -> dict[str, Any]:
        """One control call. Raises `LabError` where the relay cannot answer."""
        with self._world.relay.entered():
            try:
                return self._client.control(do, **call)
            except WireRawSSEError as error:
                raise LabError(f"the relay does not do {do}: {error}") from error

    def misbehave(self, *faults: RelayFault) -> None:
        """From now on these faults and no others."""
        self.control("misbehave", faults=[fault.as_json() for fault in faults])

    def normal(self) -> None:
        """End all faults and release held connections."""
        self.control("normal")

    def let_go(self) -> None:
        """Release held connections; active faults stay active. A stopped relay does so once it runs again."""
        if self.stopped:
            self._to_let_go = True
        elif self.alive:
            self.control("release")

    def report(self) -> dict[str, Any]:
        """The report of the present relay process; the last one received if it is dead or stopped."""
        if not self.alive or self.stopped:
            return self.reports[-1] if self.reports else {}
        return self.control("report")

    def struck_since(self, moment: float) -> list[tuple[float, str]]:
        """The faults injected since `moment` into the stream's connections: (CLOCK_MONOTONIC, description)."""
        found = []
        for connection in self.report().get("connections", ()):
            for at, what, detail in connection["log"]:
                if what == "fault" and at >= moment:
                    found.append((at, detail))
        return sorted(found)

    def stored(self) -> list[str]:
        """The ids of all events in the store, oldest first."""
        found = self._stored
        while events := self._client.pull(self.slot, found[-1] if found else None, limit=1000):
            found += [event["event_id"] for event in events]
        return list(found)

    def suspend(self) -> None:
        """SIGSTOP: its kernel goes on answering, the program does not."""
        self.reports.append(self.report())
        self._process.suspend()
        self.stopped = True

    def resume(self) -> None:
        if self.stopped:
            self._process.resume()
            self.stopped = False
            if self._to_let_go:
                self._to_let_go = False
                self.let_go()

    def kill(self) -> None:
        """SIGKILL. Its kernel sends FIN or RST, unless somebody drops them."""
        self.reports.append(self.report())
        self._process.kill()
        self._client.close()
        self.alive = False

    def end(self) -> None:
        """SIGTERM: it closes all connections and ends."""
        self.reports.append(self.report())
        self._process.stop()
        self._client.close()
        self.alive = False

    def close(self) -> None:
        self._client.close()
        self._process.stop()
        self.alive = False


class Post(NamedTuple):
    """One event that should be posted. `answered` is None where the relay did not answer."""

    event_id: str
    began: float
    answered: float | None


class Poster:
    """Posts an event every `GAP` seconds while it is `going`, in a thread of its own. `clear` is called before each."""

    def __init__(self, relay: Relay, clear: Callable[[], None] = lambda: None) -> None:
        self._relay = relay
        self._clear = clear
        self._client = RelayClient(relay.socket, timeout=0.5)
        self._lock = threading.RLock()
        self._going = threading.Event()
        self._over = False
        self.posts: list[Post] = []
        self._thread = threading.Thread(target=self._run, name="poster", daemon=True)
        self._thread.start()

    def one(self, **more: object) -> Post:
        """Post one event now."""
        with self._lock:
            event_id = f"e{len(self.posts) + 1:05d}"
            began = time.monotonic()
            answered: float | None = None
            with contextlib.suppress(WireRawSSEError):
                # Every second one is so long that over TLS the length of its record is a wake.
                text = {"text": "x" * 100} if len(self.posts) % 2 else {}
                self._client.post(self._relay.slot, {"event_id": event_id, **text, **more})
                answered = time.monotonic()
            post = Post(event_id, began, answered)
            self.posts.append(post)
            return post

    def several(self, count: int, gap: float = GAP) -> list[Post]:
        """`count` events, `gap` seconds apart. Raises `LabError` where the relay does not take one."""
        posts = []
        for _ in range(count):
            posts.append(self.one())
            time.sleep(gap)
        if any(post.answered is None for post in posts):
            raise LabError("the relay does not take events")
        return posts

    def go(self) -> None:
        self._going.set()

    def pause(self) -> None:
        """No event is on its way when this returns."""
        self._going.clear()
        with self._lock:
            pass

    def close(self) -> None:
        self._over = True
        self._going.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while self._going.wait() and not self._over:
            self._clear()
            with self._lock:
                if self._going.is_set():  # Else it was paused meanwhile.
                    self.one()
            time.sleep(GAP)
