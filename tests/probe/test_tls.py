"""Certificates and handshakes that are wrong, each named: over a real handshake, and nothing sent after it."""

from __future__ import annotations

import datetime
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import wait_until
from tests.conftest import missing
from tests.probe.support import Probed, probe
from tests.support.fixtures import Serve
from tests.support.ports import free_port
from tests.support.server import CHUNKED, Server, chunk, cut, drip, request, send, stall, tls
from tests.support.trust import YEAR, Authority

BEAT = drip(chunk(b": ping\n\n"), 0.2)


def over_tls(server: Server, authority: Authority | None, home: Path, *options: str) -> Probed:
    trust = ["--cacert", str(authority.file)] if authority is not None else []
    return probe(f"https://127.0.0.1:{server.port}/stream", *trust, *options, home=home)


def test_a_good_one_is_well_and_told(serve: Serve, authority: Authority, home: Path) -> None:
    server = serve([tls(authority.server()), request, send(CHUNKED), BEAT])
    found = over_tls(server, authority, home)
    assert (found.status, found.codes) == (0, []), found.told
    [attempt] = [one for one in found.measured["hops"][0]["attempts"] if one["status"] == 200]
    assert attempt["tls"]["version"].startswith("TLSv1.") and attempt["tls"]["cipher"]
    assert "127.0.0.1" in attempt["tls"]["chain"][0]["names"]


def test_an_expired_one_is_named_with_its_date_and_sent_nothing(serve: Serve, authority: Authority, home: Path) -> None:
    server = serve([tls(authority.expired()), request, stall])
    found = over_tls(server, authority, home)
    assert (found.status, found.codes) == (2, ["certificate-expired"]), found.told
    day = (datetime.datetime.now(datetime.timezone.utc) - YEAR).strftime("%Y-%m-%d")
    assert day in found.first["text"] and "days ago" in found.first["text"]
    assert server.asked == []


@pytest.mark.parametrize("kind", ["early", "name", "self-signed", "issuer"])
def test_each_fault_is_named(kind: str, serve: Serve, authority: Authority, stranger: Authority, home: Path) -> None:
    context = {
        "early": authority.not_yet_valid,
        "name": lambda: authority.server("other.example"),
        "self-signed": stranger.self_signed,
        "issuer": stranger.server,
    }[kind]()
    server = serve([tls(context), request, stall])
    found = over_tls(server, authority, home)
    assert (found.status, found.codes) == (2, [f"certificate-{kind}"]), found.told
    if kind == "name":
        assert "other.example" in found.first["text"]
    assert server.asked == []


def test_one_that_expires_soon_is_doubtful(serve: Serve, authority: Authority, home: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    soon = authority.server(lifetime=(now - YEAR, now + datetime.timedelta(days=5)))
    server = serve([tls(soon), request, send(CHUNKED), BEAT])
    found = over_tls(server, authority, home)
    assert (found.status, found.codes) == (1, ["certificate-soon"]), found.told


def test_a_server_that_speaks_no_tls(serve: Serve, authority: Authority, home: Path) -> None:
    server = serve([send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), stall])
    found = over_tls(server, authority, home)
    assert (found.status, found.codes) == (2, ["not-tls"]), found.told


def test_a_handshake_that_is_not_answered(serve: Serve, authority: Authority, home: Path) -> None:
    server = serve([stall])
    found = over_tls(server, authority, home)
    assert (found.status, found.codes) == (2, ["tls-timeout"]), found.told


def test_a_handshake_that_is_ended(serve: Serve, authority: Authority, home: Path) -> None:
    server = serve([cut])
    found = over_tls(server, authority, home)
    assert (found.status, found.codes) == (2, ["tls"]), found.told


def test_a_client_certificate_that_is_missing(serve: Serve, authority: Authority, home: Path) -> None:
    import ssl

    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    server = serve([tls(context), request, stall])
    found = over_tls(server, authority, home)
    assert (found.status, found.codes) == (2, ["tls-alert"]), found.told
    assert "--cert" in found.first["change"]


def test_a_server_that_speaks_only_http_2(authority: Authority, home: Path, tmp_path: Path) -> None:
    """Its alert is one for which CPython 3.11 has no name."""
    openssl = shutil.which("openssl") or missing("needs openssl: apt-get install openssl")
    pair = tmp_path / "server.pem"
    issued = authority.ca.issue_cert("127.0.0.1")
    pair.write_bytes(issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes())
    port = free_port()
    arguments = ["s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(pair), "-alpn", "h2", "-quiet"]
    server = subprocess.Popen([openssl, *arguments], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_open(port))
        found = probe(f"https://127.0.0.1:{port}/", "--cacert", str(authority.file), home=home)
    finally:
        server.kill()
        server.communicate()
    assert (found.status, found.codes) == (2, ["tls-alert"]), found.told
    assert "does not speak HTTP/1.1" in found.first["text"]
    assert "allow HTTP/1.1" in found.first["change"]


def is_open(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0
