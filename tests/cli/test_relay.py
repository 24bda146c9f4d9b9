"""`wire-rawsse relay`: it says where it listens, and does what its help says. The relay itself has its own tests."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.command import Command, assert_one_line, run, wait_until
from wire_rawsse.errors import ConnectError
from wire_rawsse.testing.client import RelayClient


def test_it_says_where_it_listens_and_serves(home: Path, socket_path: str) -> None:
    with Command("relay", "--bind", "127.0.0.1:0", "--uds", socket_path, home=home) as command:
        urls = [command.line().removeprefix("relay listening on ") for _ in range(2)]
        for url in urls:
            with RelayClient(url) as client:
                slot = client.allocate()
                client.post(slot, {"event_id": "1"})
                assert client.pull(slot) == [{"event_id": "1"}]
        assert command.end(signal.SIGTERM)[0] == 0
        assert command.rest("stdout") == command.rest("stderr") == ""
    assert not Path(socket_path).exists()


def test_the_examples_of_its_help_work(home: Path) -> None:
    text = run("relay", "--help", home=home).stdout.partition("\nexamples:\n")[2].replace("\\\n", " ")
    calls = [shlex.split(line) for line in re.findall(r"^  (curl .*)$", text, re.MULTILINE)]
    assert len(calls) == 2
    with Command("relay", "--bind", "127.0.0.1:0", "--control", home=home) as command:
        url = command.line().removeprefix("relay listening on ")
        control = command.line().removeprefix("control port on ")
        with RelayClient(url, control=control) as client:
            for words, faults in zip(calls, (1, 0), strict=True):
                place = urlsplit(words[1].replace("CONTROL_URL", control))
                name, _, value = words[words.index("-H") + 1].partition(": ")
                connection = http.client.HTTPConnection(place.netloc, timeout=10)
                connection.request("POST", place.path, words[words.index("-d") + 1], {name: value})
                response = connection.getresponse()
                assert (response.status, json.loads(response.read())) == (200, {})
                connection.close()
                assert len(client.report()["faults"]) == faults


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full (Linux)")
def test_a_full_disk_is_told(home: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run("relay", "--bind", "127.0.0.1:0", home=home, stdout=full)
    assert done.returncode == 74
    assert_one_line(done.stderr, "relay")


def answers(client: RelayClient) -> bool:
    """The file of a Unix-domain socket is there a moment before the relay listens on it."""
    try:
        return client.request("GET", "/healthz").status == 200
    except ConnectError:
        return False


def test_it_serves_although_nobody_hears_where(home: Path, socket_path: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with Command("relay", "--uds", socket_path, home=home, stdout=writer) as command:
        os.close(writer)
        with RelayClient(f"unix://{socket_path}") as client:
            wait_until(lambda: answers(client))
        assert command.end(signal.SIGTERM)[0] == 0
        assert command.rest("stderr") == ""
