"""An endpoint: what makes two of them different, where its stream is, and that its token is never shown."""

from __future__ import annotations

import os
import pprint
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.vendor import pretty

from tests.wire.relay_files import FIRST, TOKEN
from wire_rawsse.errors import InvalidRequestError
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.wire.relay_json import Endpoint, stream_url


def test_a_rotated_token_is_another_endpoint() -> None:
    rotated = Endpoint(FIRST.relay_url, FIRST.slot_id, TOKEN + "new", FIRST.scope)
    assert rotated != FIRST
    assert len({FIRST, rotated, Endpoint(FIRST.relay_url, FIRST.slot_id, TOKEN, FIRST.scope)}) == 2
    assert Endpoint(FIRST.relay_url, FIRST.slot_id, TOKEN, "lan") != FIRST
    assert FIRST != "https://relay.example"


def test_no_text_shows_the_token() -> None:
    for text in (repr(FIRST), str(FIRST), f"{FIRST}", pprint.pformat([FIRST]), pretty.pretty([FIRST])):
        assert "s3cr3t" not in text
        assert "relay.example" in text


def test_an_explained_difference_does_not_show_the_token(tmp_path: Path) -> None:
    (tmp_path / "test_differences.py").write_text(
        "import unittest\n"
        "from wire_rawsse.wire.relay_json import Endpoint, RelayFile\n"
        "a, b = (Endpoint('https://r', 'a1', token) for token in ('s3cr' + '3t-old', 's3cr' + '3t-new'))\n"
        "def test_equal(): assert a == b\n"
        "def test_tuples(): assert (a,) == (b,)\n"
        "def test_files(): assert RelayFile((a,)) == RelayFile((b,))\n"
        "class Case(unittest.TestCase):\n"
        "    def test(self): self.assertEqual([a], [b])\n"
    )
    options = ["-vv", "--showlocals", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert "4 failed" in done.stdout
    assert "s3cr3t" not in done.stdout


@pytest.mark.parametrize("name", ["relay_url", "slot_token"])
def test_an_endpoint_is_frozen(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(FIRST, name, "x")
    assert not hasattr(FIRST, "__dict__")


@pytest.mark.parametrize(
    ("relay_url", "slot_id", "url"),
    [
        ("https://r", "a1", "https://r/v1/events/a1/stream"),
        ("https://r/", "a1", "https://r/v1/events/a1/stream"),
        ("https://r///", "a1", "https://r/v1/events/a1/stream"),
        ("http://[::1]:8770/wire/", "a1", "http://[::1]:8770/wire/v1/events/a1/stream"),
        ("https://r", "a/b", "https://r/v1/events/a%2Fb/stream"),
        ("https://r", "a?b#c", "https://r/v1/events/a%3Fb%23c/stream"),
        ("https://r", "../../x", "https://r/v1/events/..%2F..%2Fx/stream"),
        ("https://r", "...", "https://r/v1/events/.../stream"),
        ("https://r", "%2e%2e", "https://r/v1/events/%252e%252e/stream"),
        ("https://r", "a b\r\n", "https://r/v1/events/a%20b%0D%0A/stream"),
        ("https://r", "ä", "https://r/v1/events/%C3%A4/stream"),
        ("unix:///run/w.sock", "a1", "unix:///run/w.sock?path=/v1/events/a1/stream"),
        ("UNIX:///run/w.sock/", "a1", "unix:///run/w.sock?path=/v1/events/a1/stream"),
        ("unix:///run/w?.sock", "a&b", "unix:///run/w%3F.sock?path=/v1/events/a%2526b/stream"),
    ],
)
def test_stream_urls(relay_url: str, slot_id: str, url: str) -> None:
    assert stream_url(relay_url, slot_id) == url


@pytest.mark.parametrize("slot_id", ["", ".", "..", "\udfff"])
def test_a_slot_id_that_no_path_can_hold(slot_id: str) -> None:
    with pytest.raises(InvalidRequestError):
        stream_url("https://r", slot_id)


slot_ids = st.text(min_size=1, max_size=12) | st.text("./?#%&=\\ ab\n", min_size=1, max_size=8)


@given(slot_ids.filter(lambda text: text not in (".", "..")))
def test_no_slot_id_changes_the_path(slot_id: str) -> None:
    for relay_url, socket_path in (("https://r/base", ""), ("unix:///run/w.sock", "/run/w.sock")):
        url = parse_url(stream_url(relay_url, slot_id))
        prefix = "" if socket_path else "/base"
        assert url.socket_path == socket_path
        assert url.target.startswith(f"{prefix}/v1/events/")
        assert url.target.endswith("/stream")
        segment = url.target.removeprefix(f"{prefix}/v1/events/").removesuffix("/stream")
        assert not set(segment) & set("/?#& ")
        assert unquote(segment) == slot_id


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text.strip("/")))
def test_a_socket_path_comes_through(name: str) -> None:
    path = "/run/" + name
    assert parse_url(stream_url("unix://" + path, "a")).socket_path == path.rstrip("/")
