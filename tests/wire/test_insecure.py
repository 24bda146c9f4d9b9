"""WIRE_INSECURE_SKIP_TLS_VERIFY against an explicit trust setting: one banner a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import write_relay_json
from tests.support.fixtures import authority, stranger
from tests.support.trust import Authority
from wire_rawsse.testing import RelayProcess

__all__ = ["authority", "stranger"]

EXPLICIT = """
import ssl, sys
from wire_rawsse import Backoff, StreamSubscriber
ca, kind = sys.argv[1:]
tls = {"file": ca, "context": ssl.create_default_context(cafile=ca), "default": None}[kind]
with StreamSubscriber.from_wire(tls=tls, backoff=Backoff(0.05, 0.1, 0.1)) as subscriber:
    subscriber.wait(0.1)
    while not subscriber.state.last_error and subscriber.state.state != "connected":
        subscriber.wait(0.1)
    print(subscriber.state.state, "does not verify" in (subscriber.state.last_error or ""))
"""


@pytest.mark.parametrize("kind", ["file", "context", "default"])
def test_an_explicit_trust_wins_over_the_insecure_switch_and_the_banner_says_so(
    kind: str, tmp_path: Path, authority: Authority, stranger: Authority
) -> None:
    """The relay's certificate is another authority's: with an explicit `tls` no token may go there."""
    issued = stranger.ca.issue_cert("localhost", "127.0.0.1")
    chain, key = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    with RelayProcess(bind=["127.0.0.1:0"], bind_tls=["127.0.0.1:0"], certificate=chain, key=key) as relay:
        with relay.client() as client:
            slot = client.allocate()
        write_relay_json(tmp_path, (relay.urls[1], slot))
        done = subprocess.run(
            [sys.executable, "-c", EXPLICIT, str(authority.file), kind],
            env={**os.environ, "WIRE_HOME": str(tmp_path), "WIRE_INSECURE_SKIP_TLS_VERIFY": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    refused = "no TLS certificate is checked" not in done.stderr and "has no effect: an explicit tls=" in done.stderr
    if kind == "default":
        assert done.stdout == "connected False\n" and done.stderr.count("no TLS certificate is checked") == 1
        assert not refused and "has no effect" not in done.stderr
    else:
        assert done.stdout.endswith(" True\n") and not done.stdout.startswith("connected") and refused
