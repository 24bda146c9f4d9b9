"""Our relay as curl finds it: wire's calls typed by hand, and a stream that prints as it comes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import PATIENCE, environment
from tests.interop.support import curl_program
from tests.support.trust import Authority
from wire_rawsse.testing import RelayProcess
from wire_rawsse.testing.client import Slot

pytestmark = pytest.mark.interop


class Curl:
    """curl, without the user's own settings; the token is in a file, as it should be."""

    def __init__(self, folder: Path) -> None:
        self._program = curl_program()
        self._folder = folder
        self._environ = environment(folder)

    def words(self, *words: str, token: str | None = None) -> list[str]:
        if token is not None:
            held = self._folder / "authorization"
            held.write_text(f"Authorization: Bearer {token}\n")
            words = ("-H", f"@{held}", *words)
        return [self._program, "-q", "-sS", "--max-time", str(PATIENCE), *words]

    def json(self, *words: str, token: str | None = None) -> tuple[int, Any]:
        """The status and the body."""
        command = self.words("-w", "\n%{http_code}", *words, token=token)
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=True)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    def stream(self, *words: str, token: str) -> subprocess.Popen[bytes]:
        command = self.words("-N", *words, token=token)
        return subprocess.Popen(command, env=self._environ, stdout=subprocess.PIPE, bufsize=0)


@pytest.fixture
def curl(tmp_path: Path) -> Curl:
    return Curl(tmp_path)


@pytest.fixture(params=["http", "https", "uds"])
def place(request: pytest.FixtureRequest, tmp_path: Path, socket_path: str) -> Iterator[tuple[RelayProcess, list[str]]]:
    """Our relay, and the words that curl needs to reach it, the URL's beginning for the last."""
    authority = Authority(tmp_path)
    issued = authority.ca.issue_cert("127.0.0.1")
    certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    if request.param == "http":
        with RelayProcess(heartbeat=0.3) as relay:
            yield relay, [relay.url]
    elif request.param == "https":
        with RelayProcess(heartbeat=0.3, bind_tls=["127.0.0.1:0"], certificate=certificate, key=key) as relay:
            yield relay, ["--cacert", str(authority.file), relay.url]
    else:
        with RelayProcess(heartbeat=0.3, uds=[socket_path]) as relay:
            yield relay, ["--unix-socket", socket_path, "http://relay"]


def test_every_call_of_wires(curl: Curl, place: tuple[RelayProcess, list[str]]) -> None:
    relay, [*how, url] = place
    status, given = curl.json(*how, "--json", '{"handle": "x"}', f"{url}/v1/slot/allocate")
    slot = Slot(given["slot_id"], given["slot_token"])
    assert status == 201
    here = f"{url}{slot.path}"

    with curl.stream(*how, "-D", "-", f"{here}/stream", token=slot.slot_token) as stream, relay.client() as client:
        try:
            client.wait_until("streams", 1, slot=slot)
            told = read_until(stream, b"\r\n\r\n")
            assert told.startswith(b"HTTP/1.1 200 ") and b"text/event-stream" in told.lower()
            for number in range(3):
                event = json.dumps({"event": {"event_id": f"e{number}"}})
                assert curl.json(*how, "--json", event, here, token=slot.slot_token) == (
                    201,
                    {"event_id": f"e{number}", "status": "stored"},
                )
                read_until(stream, b'data: {"event_id":"e%d"}\n\n' % number)
            read_until(stream, b": phyllis: still on the line\n\n")
        finally:
            stream.kill()

    assert curl.json(*how, "--json", event, here, token=slot.slot_token)[0] == 200  # A duplicate.
    found = curl.json(*how, "-G", "-d", "since=e0", "-d", "limit=1", here, token=slot.slot_token)
    assert found == (200, [{"event_id": "e1"}])
    assert curl.json(*how, f"{here}/stream")[0] == 401
    assert curl.json(*how, f"{here}/stream", token="wrong")[0] == 403
    assert curl.json(*how, f"{url}/v1/events/{'0' * 32}/stream", token=slot.slot_token)[0] == 404


def read_until(process: subprocess.Popen[bytes], mark: bytes) -> bytes:
    """Its output, up to and with `mark`."""
    assert process.stdout is not None
    found = b""
    deadline = time.monotonic() + PATIENCE
    while mark not in found:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 65536) if ready else b""
        assert piece, f"{mark!r} did not come, but {found!r}"
        found += piece
    return found


def test_a_wedged_relay_is_what_curl_does_not_notice(curl: Curl, tmp_path: Path) -> None:
    """The reason for `listen`: the same stream, the same silence; one of the two says so."""
    with RelayProcess(heartbeat=0.3) as relay, relay.client() as client:
        slot = client.allocate()
        with curl.stream(f"{relay.url}{slot.path}/stream", token=slot.slot_token) as stream:
            try:
                read_until(stream, b": phyllis: still on the line\n\n")
                relay.suspend()
                with pytest.raises(subprocess.TimeoutExpired):
                    stream.wait(3)
            finally:
                stream.kill()
