"""`listen`: how it ends (its reader, failures as curl's), where it goes on (--resume), and what signals do to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, WORDS, Command, assert_one_line, environment, run, wait_until
from tests.conftest import missing
from tests.support.fixtures import Serve
from tests.support.server import (
    CHUNKED,
    OPEN,
    QUIET,
    Peer,
    answer,
    chunk,
    cut,
    event_stream,
    request,
    reset,
    send,
    stall,
    tls,
    wait_for,
)
from tests.support.trust import Authority

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and signals are POSIX's")


# Its reader.


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["human", "json"])
def test_it_ends_with_its_reader_and_without_another_event(form: tuple[str, ...], serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    script = f"{' '.join([*WORDS, 'listen', *form, server.url])} | head -1"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=environment(home), capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_so_it_does_between_two_attempts(home: Path) -> None:
    with Command("listen", "http://127.83.1.7:9/", home=home) as command:
        assert "trying again in" in command.line("stderr")
        assert command.process.stdout is not None
        command.process.stdout.close()
        assert command.process.wait(20) == 0


def test_and_while_events_come_that_are_not_printed(serve: Serve, home: Path) -> None:
    def flood(peer: Peer) -> None:
        while True:
            peer.sock.sendall(b"event: other\ndata: x\n\n" * 100)

    server = serve([request, send(OPEN + b"data: a\n\n"), flood])
    with Command("listen", "--event", "message", server.url, home=home) as command:
        assert command.line() == "a"
        assert command.process.stdout is not None
        command.process.stdout.close()
        assert command.process.wait(20) == 0


def test_a_file_is_no_reader_that_could_end(serve: Serve, home: Path, tmp_path: Path) -> None:
    more = threading.Event()
    server = serve([request, send(OPEN + b"data: a\n\n"), wait_for(more), send(b"data: b\n\n"), stall])
    out = tmp_path / "out"
    with open(out, "wb") as file, Command("listen", "--count", "2", server.url, home=home, stdout=file.fileno()) as it:
        wait_until(lambda: out.read_text() == "a\n")
        more.set()
        assert it.process.wait(20) == 0
    assert out.read_text() == "a\nb\n"


# Failures.


def nothing(peer: Peer) -> None:
    """Close without a word."""


FAULTS = {
    "refused": 7,
    "no name": 6,
    "404": 22,
    "503": 22,
    "certificate": 60,
    "no tls": 35,
    "reset": 56,
    "empty": 52,
    "cut": 18,
    "redirects": 47,
    "too slow": 28,
}
"""A fault, and curl's exit status for it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_fail_has_the_exit_status_of_curl(fault: str, serve: Serve, home: Path, authority: Authority) -> None:
    scripts: dict[str, list[Callable[[Peer], None]]] = {
        "404": [request, send(answer("404 Not Found"))],
        "503": [request, send(answer("503 Service Unavailable"))],
        "certificate": [tls(authority.server()), request, send(OPEN), stall],
        "no tls": [send(b"not TLS at all\r\n\r\n"), stall],
        "reset": [request, send(CHUNKED + chunk(b"data: a\n\n")), reset],
        "empty": [request, nothing],
        "cut": [request, send(CHUNKED + chunk(b"data: a\n\n")), cut],
        "too slow": [request, stall],
    }
    if fault == "redirects":
        server = serve([request, send(answer("302 Found", "Location: /again", "Connection: close"))])
    else:
        server = serve(scripts.get(fault, QUIET))
    url = {"refused": "http://127.83.1.7:9/", "no name": "http://no-such-name.invalid/"}.get(fault, server.url)
    if fault in ("certificate", "no tls"):
        url = url.replace("http:", "https:")
    done = run("listen", "--fail", "--response-timeout", "1", url, home=home)
    assert done.returncode == FAULTS[fault], done.stderr
    assert_one_line(done.stderr, "listen")
    assert "trying again" not in done.stderr
    curl = shutil.which("curl") or missing("needs curl: apt-get install curl")
    words = [curl, "-sSNL", "--fail", "--max-redirs", "10", "--max-time", "1" if fault == "too slow" else "20", url]
    theirs = subprocess.run(words, capture_output=True, check=False, env=environment(home))
    assert theirs.returncode == FAULTS[fault], theirs.stderr


def test_a_clean_end_is_no_failure(serve: Serve, home: Path) -> None:
    server = serve([request, send(event_stream(b"data: a\n\n"))], [request, send(event_stream(b"data: b\n\n"))])
    done = run("listen", "--fail", "--count", "2", server.url, home=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\nb\n", "")


def test_retries_count_failures_in_a_row(serve: Serve, home: Path) -> None:
    refuse = [request, send(answer("503 Service Unavailable", "Retry-After: 0"))]
    server = serve(refuse, refuse, [request, send(OPEN + b"data: a\n\n"), reset], refuse, refuse, refuse)
    done = run("listen", "--retries", "2", server.url, home=home, timeout=60)
    assert (done.returncode, done.stdout) == (22, "a\n")
    assert done.stderr.splitlines()[-1].endswith("(after 3 failures in a row)")
    # Two failures, the connection with its end, which is the first of the next three.
    assert len(server.asked) == 5


def test_retries_and_a_permanent_error(serve: Serve, home: Path) -> None:
    server = serve([request, send(answer("404 Not Found"))])
    done = run("listen", "--retries", "5", server.url, home=home)
    assert done.returncode == 1 and len(server.asked) == 1


# The output.


def test_events_of_one_type(serve: Serve, home: Path) -> None:
    events = b"event: a\ndata: 1\n\ndata: 2\n\nevent: b\ndata: 3\n\nevent: a\ndata: 4\n\n"
    server = serve([request, send(OPEN + events), stall])
    arguments = ("--event", "a", "--event", "message", "--count", "3", server.url)
    assert run("listen", *arguments, home=home).stdout == "a: 1\n2\na: 4\n"


def test_verbose_tells_each_connection(serve: Serve, home: Path) -> None:
    secret = "s3cr3t-t0ken-value"
    head = OPEN.replace(b"\r\n\r\n", b"\r\nServer: echo " + secret.encode() + b"\r\n\r\n")
    server = serve([request, send(event_stream(b"data: a\n\n"))], [request, send(head + b"data: b\n\n"), stall])
    environ = {"TOKEN": secret}
    for form in ((), ("--json",)):
        done = run(
            "listen", "-v", *form, "--count", "2", "--token-env", "TOKEN", server.url, home=home, environ=environ
        )
        assert done.stderr.count(f"opened: status 200, address 127.0.0.1:{server.port}") == 2
        assert f"{server.url}: connected\n" in done.stderr and "ended the stream" in done.stderr
        assert "server: echo " in done.stderr and secret not in done.stderr
        server = serve([request, send(event_stream(b"data: a\n\n"))], [request, send(head + b"data: b\n\n"), stall])


# The id to continue with.


def test_the_next_run_goes_on_after_the_last_id(serve: Serve, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "last-id"
    server = serve([request, send(OPEN + b"id: 1\ndata: a\n\nid: \xc3\xa92\ndata: b\n\n"), stall])
    arguments = ("listen", "--resume", str(file), "--last-event-id", "0", server.url)
    assert run(*arguments, "--count", "2", home=home).stdout == "a\nb\n"
    assert file.read_text() == "é2\n" and file.stat().st_mode & 0o777 == 0o600
    run(*arguments, "--count", "1", home=home)
    assert [asked.get("Last-Event-ID") for asked in server.asked] == ["0", "é2".encode().decode("latin-1")]
    assert os.listdir(tmp_path / "..") and not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_no_end_loses_the_last_id(number: int, serve: Serve, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "last-id"
    events = b"".join(b"id: %d\ndata: %d\n\n" % (n, n) for n in range(100))
    server = serve([request, send(OPEN + events), stall])
    with Command("listen", "--resume", str(file), server.url, home=home) as command:
        while command.line() != "99":
            pass
        assert command.end(number)[0] == 128 + number
    assert file.read_text() == "99\n"


def test_nor_does_a_reader_that_goes(serve: Serve, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "last-id"
    server = serve([request, send(OPEN + b"id: 5\ndata: a\n\n"), stall])
    script = f"{' '.join([*WORDS, 'listen', '--resume', str(file), server.url])} | head -1"
    subprocess.run(["/bin/sh", "-c", script], env=environment(home), stdout=subprocess.DEVNULL, timeout=20, check=True)
    assert file.read_text() == "5\n"


def test_an_event_that_could_not_be_printed_is_asked_for_again(serve: Serve, home: Path, tmp_path: Path) -> None:
    """The command is ended while it writes an event into a full pipe: its id is not noted."""
    file = tmp_path / "last-id"
    server = serve([request, send(OPEN + b"id: 1\ndata: a\n\nid: 2\ndata: " + b"x" * 500_000 + b"\n\n"), stall])
    with Command("listen", "--resume", str(file), server.url, home=home) as command:
        assert command.line() == "a"
        assert command.process.stdout is not None
        assert os.read(command.process.stdout.fileno(), 1) == b"x"
        assert command.end(signal.SIGTERM)[0] == 143
    assert file.read_text() == "1\n"


def test_at_most_one_write_a_second(serve: Serve, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "last-id"
    seen: list[str] = []
    sent = threading.Event()

    def count_up(peer: Peer) -> None:
        for number in range(60):
            peer.sock.sendall(b"id: %d\ndata: x\n\n" % number)
            time.sleep(0.05)
        sent.set()

    server = serve([request, send(OPEN), count_up, stall])
    began = time.monotonic()
    with Command("listen", "--resume", str(file), server.url, home=home):
        while not sent.is_set():
            text = file.read_text() if file.exists() else ""
            if text and seen[-1:] != [text]:
                seen.append(text)
            time.sleep(0.005)
        passed = time.monotonic() - began
        wait_until(lambda: file.read_text() == "59\n")  # The last one too, within a second, with nothing more coming.
    assert 2 <= len(seen) <= passed + 2


def test_an_id_without_an_event_is_kept_too(serve: Serve, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "last-id"
    server = serve([request, send(OPEN + b"data: a\n\nid: 8\n\n"), stall])
    with Command("listen", "--resume", str(file), server.url, home=home):
        wait_until(lambda: file.exists() and file.read_text() == "8\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff", "expected one event id"), (b"a\nb\n", "expected one event id"), (b"x" * 5000, "expected one event id")],
)
def test_a_file_that_holds_something_else_is_refused(content: bytes, told: str, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "last-id"
    file.write_bytes(content)
    done = run("listen", "--resume", str(file), "http://127.0.0.1:9/", home=home)
    assert done.returncode == 64 and told in done.stderr
    assert file.read_bytes() == content


def test_wrong_usage_makes_no_file(home: Path, tmp_path: Path) -> None:
    assert run("listen", "--resume", str(tmp_path / "last-id"), "example.org", home=home).returncode == 64
    assert not (tmp_path / "last-id").exists()


def test_a_file_that_cannot_be_written_is_refused_at_the_start(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("listen", "--resume", str(tmp_path / "file" / "last-id"), "http://127.0.0.1:9/", home=home)
    assert done.returncode == 64
    assert_one_line(done.stderr, "listen")


def test_an_id_that_cannot_be_written_in_the_end_is_told(serve: Serve, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    more = threading.Event()
    server = serve([request, send(OPEN + b"data: a\n\n"), wait_for(more), send(b"id: 9\ndata: b\n\n"), stall])
    with Command("listen", "--count", "2", "--resume", str(folder / "last-id"), server.url, home=home) as command:
        assert command.line() == "a"
        shutil.rmtree(folder)
        folder.touch()
        more.set()
        assert command.process.wait(20) == 74
        assert "the last id could not be written" in command.rest("stderr")


# Signals.


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1], ids=["SIGHUP", "SIGUSR1"])
def test_a_signal_renews_the_connection_and_reads_the_files_again(
    number: int, serve: Serve, home: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    token.chmod(0o600)
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        command = Command("listen", "--token-file", str(token), server.url, home=home)
    finally:
        signal.signal(signal.SIGHUP, before)
    with command:
        assert command.line() == "a"
        token.write_text("second")
        command.process.send_signal(number)
        assert command.line() == "a"
    assert [asked.get("Authorization") for asked in server.asked] == ["Bearer first", "Bearer second"]


def test_sigusr2_reports_the_state(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    with Command("listen", "--json", server.url, home=home) as command:
        assert json.loads(command.line())["data"] == "a"
        command.process.send_signal(signal.SIGUSR2)
        line = command.line("stderr")
        assert line.startswith(f"wire-rawsse listen: {server.url}: connected, listening for ")
        assert "last byte 0 s ago" in line or "last byte " in line


def test_a_terminal_that_is_closed_ends_it(serve: Serve, home: Path) -> None:
    from tests.cli.terminal import Terminal

    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        terminal = Terminal("listen", server.url, home=home)
    finally:
        signal.signal(signal.SIGHUP, before)
    with terminal:
        terminal.until("a\r\n")
        terminal.hang_up()
        until = time.monotonic() + PATIENCE
        while terminal.process.poll() is None:  # The kernel sends it once, and it may come during the end.
            assert time.monotonic() < until
            terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.returncode in (0, 129)
