"""Programs that are not ours, each run as its users run it: wire's own relay, wire itself, nginx, curl.

Every one lives in a folder of the test's own, with an environment of its own, on loopback. None of them announces that
it can be reached, so each is asked until it answers. They are ended by SIGKILL, which ends a stopped process too.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import trustme

from tests.cli.command import PATIENCE, environment, wait_until
from tests.conftest import missing
from tests.support.ports import free_port
from tests.wire import needs
from tests.wire.test_real_wire import Wire
from wire_rawsse import StreamSubscriber
from wire_rawsse.errors import ConnectError
from wire_rawsse.state import SubscriberState
from wire_rawsse.testing import RelayClient, Slot
from wire_rawsse.wire import paths
from wire_rawsse.wire.relay_json import read_endpoints


def nginx_program() -> str:
    # Debian keeps it where only root's PATH looks.
    found = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    return found or missing("needs nginx: apt-get install nginx-light")


def curl_program() -> str:
    return shutil.which("curl") or missing("needs curl: apt-get install curl")


class Program:
    """A process that serves once it is `reachable`. `with` starts it, and ends it however it is."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path) -> None:
        self._command = command
        self._environ = environ
        self._folder = folder
        self._log = folder / "standard-error"
        self._process: subprocess.Popen[bytes] | None = None

    def reachable(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        assert self._process is None
        with open(self._log, "ab") as log:
            self._process = process = subprocess.Popen(
                self._command,
                env=self._environ,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

        def there() -> bool:
            assert process.poll() is None, f"{self._command[0]} ended: {self._log.read_text()[-2000:]}"
            return self.reachable()

        wait_until(there)

    def suspend(self) -> None:
        """SIGSTOP, and wait until it has stopped. Its kernel goes on answering."""
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class WiresRelay(Program):
    """`wire relay-server`, at the same address and with the same store however often it is started."""

    def __init__(self, folder: Path, *, uds: str | None = None) -> None:
        folder.mkdir()
        if uds is None:
            place = f"127.0.0.1:{free_port()}"
            self.url = f"http://{place}"
            where = ["--bind", place, "--local-only"]
        else:
            self.url = f"unix://{uds}"
            where = ["--uds", uds]
        environ = {"HOME": str(folder), "PATH": os.defpath, "WIRE_HOME": str(folder / "wire")}
        super().__init__([needs.wire(), "relay-server", *where], environ, folder)

    def reachable(self) -> bool:
        with self.client() as client:
            try:
                return client.request("GET", "/healthz").status == 200
            except ConnectError:
                return False

    def client(self) -> RelayClient:
        return RelayClient(self.url)

    def stream(self, slot: Slot) -> str:
        return f"{self.url}{slot.path}/stream"

    def __enter__(self) -> WiresRelay:
        self.start()
        return self


class Agent:
    """An agent of wire's own making, bound to a relay; its home is a `WIRE_HOME`."""

    def __init__(self, folder: Path, relay_url: str) -> None:
        self.home = folder / "wire"
        self.program = needs.wire()
        self._wire = Wire(self.program, folder, WIRE_HOME=str(self.home))
        self.run("bind-relay", relay_url)

    @property
    def environ(self) -> dict[str, str]:
        return self._wire.environ

    def run(self, *words: str) -> str:
        """Run wire with these arguments; its output."""
        return self._wire.run(*words)

    def stream_line(self) -> str:
        """The output of `wire status` about the stream."""
        return self._wire.stream_line()

    @property
    def slot(self) -> Slot:
        """As relay.json has it now."""
        [endpoint] = read_endpoints(paths.relay_json(self.environ)).endpoints
        return Slot(endpoint.slot_id, endpoint.slot_token)

    @property
    def stream_state(self) -> Path:
        return Path(paths.stream_state_json(self.environ))


class Nginx(Program):
    """A TLS reverse proxy before `backend`, with a certificate that `ca` vouches for. `/nginx-itself` is its own."""

    def __init__(self, folder: Path, backend: str, *, buffering: bool) -> None:
        folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
        self.ca = str(folder / "ca.pem")
        self._port = free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # As root it would give the folders to another user, which a user namespace may lack.
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"""{user}daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
            events {{}}
            http {{
              access_log off;
              {temporary}
              server {{
                listen 127.0.0.1:{self._port} ssl;
                ssl_certificate both.pem; ssl_certificate_key both.pem;
                location = /nginx-itself {{ return 204; }}
                location / {{
                  proxy_pass {backend}; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering {"on" if buffering else "off"};
                }}
              }}
            }}"""
        )
        program = nginx_program()
        super().__init__([program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"], environment(folder), folder)

    def reachable(self) -> bool:
        """Whether it answers, whatever has become of its backend."""
        try:
            with RelayClient(self.url, tls=ssl.create_default_context(cafile=self.ca)) as client:
                return client.request("GET", "/nginx-itself").status == 204
        except ConnectError:
            return False

    def __enter__(self) -> Nginx:
        self.start()
        return self


def until(
    listening: StreamSubscriber, there: Callable[[SubscriberState], object], seconds: float = PATIENCE
) -> tuple[float, int]:
    """Run the subscriber, which it only is while it is waited on. How many seconds it took, and how many wakes came."""
    began = time.monotonic()
    wakes = 0
    while not there(listening.state):
        passed = time.monotonic() - began
        assert passed < seconds, f"waited in vain; {listening.state}"
        wakes += listening.wait(0.05)
    return time.monotonic() - began, wakes


def connected(state: SubscriberState) -> bool:
    return state.state == "connected"
