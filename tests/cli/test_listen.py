"""`wire-rawsse listen`: what comes out, where, and when; and that no silence holds it up."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.cli.command import PATIENCE, Command, assert_one_line, environment, run, wait_until
from tests.support.fixtures import Serve
from tests.support.server import (
    CHUNKED,
    LAST_CHUNK,
    OPEN,
    Peer,
    answer,
    chunk,
    event_stream,
    request,
    send,
    stall,
    tls,
    wait_for,
)
from tests.support.trust import Authority
from wire_rawsse.cli import stdio
from wire_rawsse.cli.signals import Signals
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot

EVENTS = b'id: 7\nevent: tick\ndata: {"n": 1}\ndata: two\n\n: a comment\n\ndata: caf\xc3\xa9 \xe2\x80\xa8 \x1b[31m\n\n'


def stream_of(relay: RelayProcess, slot: Slot) -> str:
    return f"{relay.url}{slot.path}/stream"


@pytest.fixture
def token_file(slot: Slot, tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(slot.slot_token + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def listen(relay: RelayProcess, slot: Slot, client: RelayClient, token_file: str, home: Path) -> Callable[..., Command]:
    """Starts `listen` on the slot, and returns once its stream is open."""

    def start(*options: str) -> Command:
        command = Command("listen", "--token-file", token_file, *options, stream_of(relay, slot), home=home)
        try:
            client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        except BaseException:
            command.__exit__(None, None, None)
            raise
        return command

    return start


def test_each_event_is_there_before_the_next_is_posted(
    listen: Callable[..., Command], client: RelayClient, slot: Slot
) -> None:
    with listen() as command:
        for number in range(3):
            client.post(slot, {"event_id": str(number)})
            assert json.loads(command.line()) == {"event_id": str(number)}


def test_the_human_form_is_the_data_after_the_type(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENTS), stall])
    done = run("listen", "--count", "2", server.url, home=home)
    assert done.returncode == 0
    # In a pipe the data is as it came, whatever it could do to a terminal.
    assert done.stdout == 'tick: {"n": 1}\ntwo\ncafé \u2028 \x1b[31m\n'
    assert done.stderr == ""


def test_json_is_one_ascii_line_an_event(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENTS), stall])
    done = run("listen", "--json", "--count", "2", server.url, home=home)
    assert done.returncode == 0 and done.stdout.isascii() and done.stderr == ""
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"type": "tick", "data": '{"n": 1}\ntwo', "id": "7"},
        {"type": "message", "data": "café \u2028 \x1b[31m", "id": "7"},
    ]


def test_all_tells_what_else_happens(serve: Serve, home: Path) -> None:
    server = serve([request, send(event_stream(b"data: a\n\n: hello\n\n"))], [request, send(OPEN + EVENTS), stall])
    done = run("listen", "--json", "--all", "--count", "2", server.url, home=home)
    opened, first, comment, closed, again, second = map(json.loads, done.stdout.splitlines())
    assert opened == again == {"opened": {"status": 200, "id_left_out": False}}
    assert first == {"type": "message", "data": "a", "id": ""} and second["type"] == "tick"
    assert comment == {"comment": "hello"}
    assert closed["closed"]["error"] is None and closed["closed"]["retry_in"] > 0
    assert done.stderr == ""


def test_a_reconnect_is_told_on_standard_error_only(
    listen: Callable[..., Command], client: RelayClient, slot: Slot
) -> None:
    with listen() as command:
        client.misbehave(Fault("cut", at="chunk", scope="live", count=1))
        client.post(slot, {"event_id": "lost"})
        assert "; trying again in" in command.line("stderr")
        assert "connected again after" in command.line("stderr")
        client.wait_until("streams", 1, slot=slot)
        client.post(slot, {"event_id": "kept"})
        assert json.loads(command.line()) == {"event_id": "kept"}


def test_json_says_nothing_on_standard_error(listen: Callable[..., Command], client: RelayClient, slot: Slot) -> None:
    with listen("--json") as command:
        client.misbehave(Fault("cut", scope="live"))
        client.wait_until("streams", 0, at_most=0, slot=slot)
        client.wait_until("streams", 1, slot=slot)
        client.post(slot, {"event_id": "kept"})
        assert json.loads(json.loads(command.line())["data"]) == {"event_id": "kept"}
        command.end(signal.SIGTERM)
        assert command.rest("stderr") == ""


def test_a_wedge_is_found_and_repaired(listen: Callable[..., Command], client: RelayClient, slot: Slot) -> None:
    with listen("--read-timeout", "0.6") as command:
        client.misbehave(Fault("silent", at="stream", scope="live"))
        assert "was silent for read=0.6 s; trying again in" in command.line("stderr")
        client.wait_until("streams", 1, slot=slot)
        assert "connected again after" in command.line("stderr")
        client.post(slot, {"event_id": "heard"})
        assert json.loads(command.line()) == {"event_id": "heard"}


def test_heartbeats_keep_it_where_it_is(listen: Callable[..., Command], client: RelayClient, slot: Slot) -> None:
    with listen("--read-timeout", "5") as command:
        before = client.report()["accepted"]
        client.post(slot, {"event_id": "only"})
        assert json.loads(command.line()) == {"event_id": "only"}
        assert client.report()["accepted"] == before


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["human", "json"])
def test_a_reader_that_goes_is_no_error(
    form: tuple[str, ...], listen: Callable[..., Command], client: RelayClient, slot: Slot
) -> None:
    with listen(*form) as command:
        client.post(slot, {"event_id": "1"})
        command.line()
        assert command.process.stdout is not None
        command.process.stdout.close()
        client.post(slot, {"event_id": "2"})
        assert command.process.wait(20) == 0
        assert command.rest("stderr") == ""


def test_a_pipe_that_nobody_reads_does_not_keep_it_from_ending(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + b"data: " + b"x" * 500_000 + b"\n\n"), stall])
    with Command("listen", server.url, home=home) as command:
        assert command.process.stdout is not None
        assert os.read(command.process.stdout.fileno(), 1) == b"x"  # It is writing, and the pipe is too small.
        status, took = command.end(signal.SIGTERM)
        assert status == 143 and took < 10


def fill(writer: int) -> None:
    """Write to a pipe until it is full, through a description of our own."""
    other = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(other, b"y" * 4096)
    except BlockingIOError:
        os.close(other)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux opens another description of a pipe")
def test_a_pipe_is_polled_only_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll before each event would cost as much as the write. Nobody else's description of the pipe changes."""
    polls: list[float] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument.__name__ == "poll":
            polls.append(time.monotonic())

    reader, writer = os.pipe()
    with open(reader, "rb") as pipe, open(writer, "w") as output, Signals() as signals:
        monkeypatch.setattr(sys, "stdout", output)
        own = stdio.InterruptibleOutput(signals)
        write = own.write
        sys.setprofile(note)
        try:
            for _ in range(30):
                write("x" * 59 + "\n")
            assert not polls
            fill(writer)
            threading.Timer(0.1, lambda: pipe.read(8192)).start()
            write("x" * 59 + "\n")
        finally:
            sys.setprofile(None)
            own.close()
        assert len(polls) == 1
        assert os.get_blocking(writer)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux opens another description of a pipe")
def test_a_pipe_that_another_process_has_filled_does_not_keep_it_from_ending(serve: Serve, home: Path) -> None:
    full = threading.Event()

    def wait_until_full(peer: Peer) -> None:
        assert full.wait(20)

    server = serve([request, send(OPEN + b"data: a\n\n"), wait_until_full, send(EVENTS), stall])
    reader, writer = os.pipe()
    with Command("listen", server.url, home=home, stdout=writer) as command:
        assert os.read(reader, 2) == b"a\n"
        fill(writer)
        full.set()
        time.sleep(0.1)  # It has an event for which there is no room.
        assert command.end(signal.SIGTERM)[0] == 143
    os.close(reader)
    os.close(writer)


def test_a_pipe_made_non_blocking_by_somebody_else_loses_nothing(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + b"data: " + b"x" * 500_000 + b"\n\n"), stall])
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with Command("listen", "--count", "1", server.url, home=home, stdout=writer) as command:
        os.close(writer)
        wait_until(lambda: select.select([reader], [], [], 0)[0])
        time.sleep(0.1)  # It goes on writing, and finds the pipe full.
        with open(reader, "rb") as pipe:
            assert pipe.read() == b"x" * 500_000 + b"\n"
        assert command.process.wait(20) == 0
        assert command.rest("stderr") == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full (Linux)")
def test_a_full_disk_is_told(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENTS), stall])
    with open("/dev/full", "w") as full:
        done = run("listen", server.url, home=home, stdout=full)
    assert done.returncode == 74
    assert_one_line(done.stderr, "listen")
    assert "No space left" in done.stderr


def test_closed_descriptors_never_become_a_connection(serve: Serve, home: Path) -> None:
    """With 0 and 2 closed the first socket would be one of them, and what is reported would go to its server."""

    def hear_nothing(peer: Peer) -> None:
        assert peer.receive() == b""

    server = serve([request, send(OPEN + EVENTS), hear_nothing])
    command = f"exec {sys.executable} -m wire_rawsse listen --verbose --count 2 {server.url} <&- 2>&-"
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environment(home), stdout=subprocess.PIPE, timeout=20, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith(b"tick: ")
    assert len(server.asked) == 1


def test_without_standard_output_it_ends_before_it_connects(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENTS), stall])
    command = f"exec {sys.executable} -m wire_rawsse listen {server.url} <&- >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", command], env=environment(home), timeout=20, check=False).returncode == 0
    assert server.peers == []


# The request.


def test_the_token_comes_from_the_environment(relay: RelayProcess, slot: Slot, client: RelayClient, home: Path) -> None:
    environ = {"SLOT_TOKEN": slot.slot_token}
    with Command("listen", "--token-env", "SLOT_TOKEN", stream_of(relay, slot), home=home, environ=environ) as command:
        client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        assert command.end(signal.SIGTERM)[0] == 143


def test_the_token_comes_through_a_pipe(relay: RelayProcess, slot: Slot, client: RelayClient, home: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, slot.slot_token.encode() + b"\n")
    os.close(writer)
    arguments = ("listen", "--token-file", f"/dev/fd/{reader}", stream_of(relay, slot))
    with Command(*arguments, home=home, pass_fds=(reader,)) as command:
        os.close(reader)
        client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        assert command.end(signal.SIGTERM)[0] == 143


def test_a_rotated_token_file_is_read_at_the_next_connect(serve: Serve, home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    changed = threading.Event()
    first = [request, send(CHUNKED + chunk(b"data: a\n\n")), wait_for(changed), send(LAST_CHUNK)]
    server = serve(first, [request, send(OPEN + b"data: b\n\n"), stall])
    with Command("listen", "--token-file", str(token), server.url, home=home) as command:
        assert command.line() == "a"
        token.write_text("second\r\n")
        changed.set()
        assert command.line() == "b"
    assert [asked.get("Authorization") for asked in server.asked] == ["Bearer first", "Bearer second"]


def test_headers_method_body_and_id_are_sent(serve: Serve, home: Path, tmp_path: Path) -> None:
    headers, body = tmp_path / "headers", tmp_path / "body"
    headers.write_text("# a comment\nAuthorization: Basic c2VjcmV0\r\n\nX-Two:  2 \n", encoding="utf-8-sig")
    body.write_bytes(b'{"q": 1}')
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    options = [
        "--headers-file",
        str(headers),
        "--header",
        "X-One: 1",
        "--data-file",
        str(body),
        "--last-event-id",
        "é9",
    ]
    assert run("listen", *options, "--count", "1", server.url, home=home).returncode == 0
    asked = server.asked[0]
    assert (asked.method, asked.body) == ("POST", b'{"q": 1}')
    assert asked.get("Authorization") == "Basic c2VjcmV0"
    assert (asked.get("X-One"), asked.get("X-Two")) == ("1", "2")
    assert asked.get("Last-Event-ID") == "é9".encode().decode("latin-1")


def test_https_with_a_given_certificate(serve: Serve, home: Path, authority: Authority, tmp_path: Path) -> None:
    server = serve([tls(authority.server()), request, send(OPEN + b"data: safe\n\n"), stall])
    url = server.url.replace("http:", "https:")
    done = run("listen", "--count", "1", "--cacert", str(authority.file), url, home=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "safe\n", "")


def test_a_unix_domain_socket(serve: Serve, home: Path, socket_path: str) -> None:
    server = serve([request, send(OPEN + b"data: near\n\n"), stall], path=socket_path)
    done = run("listen", "--count", "1", f"unix://{socket_path}?path=/v1/stream", home=home)
    assert (done.returncode, done.stdout) == (0, "near\n")
    assert server.asked[0].target == "/v1/stream"


# How it ends.


def test_204_is_an_end_and_no_error(serve: Serve, home: Path) -> None:
    server = serve([request, send(answer("204 No Content"))])
    done = run("listen", server.url, home=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


SECRET = "s3cr3t-t0ken"


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (answer("403 Forbidden"), "answered 403"),
        (answer(f"401 You sent {SECRET}"), "answered 401"),
        (answer("200 OK", "Content-Type: text/html", body=b"<html>"), "expected text/event-stream"),
        (answer("200 OK", f"Content-Type: text/{SECRET}"), "expected text/event-stream"),
        (OPEN + b"data: " + b"x" * 3000, "max_event_bytes=2000"),
    ],
    ids=["403", "401-echo", "html", "type-echo", "large"],
)
def test_what_ends_it_for_good_is_one_line(
    response: bytes, told: str, serve: Serve, home: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET)
    token.chmod(0o600)
    server = serve([request, send(response), stall])
    done = run("listen", "--token-file", str(token), "--max-event-bytes", "2000", server.url, home=home)
    assert done.returncode == 1 and done.stdout == ""
    assert_one_line(done.stderr, "listen")
    assert told in done.stderr and "s3cr" not in done.stderr


def test_a_last_event_id_among_the_headers_is_where_to_begin(serve: Serve, home: Path) -> None:
    """Given with --last-event-id as well, it is a usage error."""
    server = serve(
        [request, send(event_stream(b"retry: 100\nid: 43\ndata: a\n\n"))], [request, send(OPEN + EVENTS), stall]
    )
    done = run("listen", "--count", "2", "--header", "last-event-id: 42", server.url, home=home)
    assert done.returncode == 0 and done.stdout.startswith("a\n")
    assert [asked.get("Last-Event-ID") for asked in server.asked] == ["42", "43"]
    both = run("listen", "--last-event-id", "1", "--header", "Last-Event-ID: 2", server.url, home=home)
    assert both.returncode == 64
    assert_one_line(both.stderr, "listen")
    assert "Last-Event-ID" in both.stderr
