"""Files that options name: what stands in their place, what changes while the command runs, who else can read them."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import Command, assert_one_line, environment, run, write_relay_json
from tests.support.fixtures import Serve
from tests.support.server import (
    CHUNKED,
    LAST_CHUNK,
    OPEN,
    STREAM,
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
from wire_rawsse.cli import inputs
from wire_rawsse.cli.exit import Failure
from wire_rawsse.testing.client import Slot

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the kinds of files are POSIX's")

SECRET = "s3cr3t-t0ken"
URL = "http://127.0.0.1:9/"
HTTPS = "https://127.0.0.1:9/"
OPTIONS = ("--token-file", "--headers-file", "--data-file", "--cacert", "--cert", "--key")


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def arguments(option: str, path: Path, certificate: Path) -> list[str]:
    """`listen` with this path for that option."""
    beside = ["--cert", str(certificate)] if option == "--key" else []
    return ["listen", *beside, option, str(path), HTTPS]


@pytest.fixture
def certificate(authority: Authority, tmp_path: Path) -> Path:
    issued = authority.ca.issue_cert("client@example.invalid")
    text = (issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()).decode()
    return private(tmp_path / "client.pem", text)


# A pipe, a socket, a device.


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", ["socket", "device", "folder", "loop", "huge"])
def test_what_is_no_file_is_one_line(option: str, kind: str, home: Path, certificate: Path, socket_path: str) -> None:
    import socket

    path = Path(socket_path)
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    done = run(*arguments(option, path, certificate), home=home)
    assert done.returncode == 64
    assert_one_line(done.stderr, "listen")
    told = {"device": "found a device", "loop": "symbolic links", "huge": "at most"}.get(kind, f"found a {kind}")
    assert f"{option}: " in done.stderr and str(path) in done.stderr and told in done.stderr


@pytest.mark.parametrize("option", ["--cacert", "--cert", "--key"])
@pytest.mark.parametrize("command", ["listen", "daemon"])
def test_a_pipe_for_a_certificate_is_refused_at_once(
    option: str, command: str, home: Path, tmp_path: Path, certificate: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = arguments(option, pipe, certificate)
    done = run(*(words if command == "listen" else ["daemon", "--exec", "true", *words[1:-1]]), home=home)
    assert done.returncode == 64
    assert_one_line(done.stderr, command)
    assert f"{option}: " in done.stderr and "expected a regular file, found a named pipe" in done.stderr


def test_a_pipe_that_nobody_writes_to_has_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """10 s in the command, which a test need not wait for."""
    monkeypatch.setattr(inputs, "PIPE_WAIT", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for read in (
        lambda: inputs.token(str(pipe), None),
        lambda: inputs.headers([], str(pipe)),
        lambda: inputs.body(str(pipe)),
    ):
        with pytest.raises(Failure, match=r"it is a pipe, and its writer did not end it within 0\.2 s"):
            read()


def test_a_pipe_whose_writer_stays_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "PIPE_WAIT", 0.2)
    reader, writer = os.pipe()
    try:
        os.write(writer, b"begun")
        with pytest.raises(Failure, match="its writer did not end it"):
            inputs.token(f"/dev/fd/{reader}", None)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_pipe_that_is_written_late_and_in_pieces(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for piece in (b"one", b"two\n"):
                time.sleep(0.05)
                file.write(piece)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert inputs.token(str(pipe), None) == "onetwo"
    finally:
        thread.join()


def test_process_substitution(serve: Serve, home: Path) -> None:
    """As the manual shows it: --token-file <(pass show relay)."""
    server = serve(STREAM)
    words = f"{sys.executable} -m wire_rawsse listen --count 1 --token-file <(sleep 0.3; echo {SECRET}) {server.url}"
    done = subprocess.run(["bash", "-c", words], env=environment(home), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x\n", "")
    assert server.asked[0].get("Authorization") == f"Bearer {SECRET}"


def test_the_null_device_is_an_empty_body(serve: Serve, home: Path) -> None:
    server = serve(STREAM)
    assert run("listen", "--count", "1", "--data-file", "/dev/null", server.url, home=home).returncode == 0
    assert (server.asked[0].method, server.asked[0].body) == ("POST", b"")


# While it runs.


def told_at_reconnect(serve: Serve, home: Path, option: str, path: Path, change: Callable[[], object]) -> str:
    """The output of `listen` at the first reconnect after a change, on its way to the second stream."""
    changed = threading.Event()
    first = [request, send(CHUNKED + chunk(b"data: a\n\n")), wait_for(changed), send(LAST_CHUNK)]
    server = serve(first, [request, send(OPEN + b"data: b\n\n"), stall])
    with Command("listen", option, str(path), server.url, home=home) as command:
        assert command.line() == "a"
        change()
        changed.set()
        line = command.line("stderr")
        while "ended the stream" in line:
            line = command.line("stderr")
        if path.is_symlink() or path.exists():
            path.unlink() if not path.is_dir() else path.rmdir()
        private(path, "second" if option == "--token-file" else "X-A: second")
        assert command.line() == "b"
        assert command.end(signal.SIGTERM)[0] == 143
    name = "Authorization" if option == "--token-file" else "X-A"
    assert [(asked.get(name) or "").split()[-1] for asked in server.asked] == ["first", "second"]
    return line


@pytest.mark.parametrize("option", ["--token-file", "--headers-file"])
@pytest.mark.parametrize("state", ["missing", "a pipe", "a folder", "broken", "not UTF-8", "huge"])
def test_a_file_that_is_broken_for_a_moment(option: str, state: str, serve: Serve, home: Path, tmp_path: Path) -> None:
    """The line has the option, the path and the reason, and nothing of what is in the file."""
    path = private(tmp_path / "secret", "first" if option == "--token-file" else "X-A: first")

    def change() -> None:
        path.unlink()
        if state == "a pipe":
            os.mkfifo(path)
        elif state == "a folder":
            path.mkdir()
        elif state != "missing":
            new = path.with_suffix(".new")
            new.write_bytes(
                {"broken": f"{SECRET} {SECRET}".encode(), "not UTF-8": b"\xff", "huge": b"x" * 300_000}[state]
            )
            new.chmod(0o600)
            new.replace(path)

    line = told_at_reconnect(serve, home, option, path, change)
    reason = {
        "missing": "No such file or directory",
        "a pipe": "found a named pipe",
        "a folder": "found a folder",
        "broken": "a space" if option == "--token-file" else "got no colon",
        "not UTF-8": "expected UTF-8",
        "huge": "expected at most",
    }[state]
    assert option in line and str(path) in line and reason in line and "trying again" in line
    assert "s3cr" not in line and "callable" not in line


def test_the_environment_is_no_file(serve: Serve, home: Path) -> None:
    server = serve(STREAM)
    done = run("listen", "--count", "1", "--token-env", "T", server.url, home=home, environ={"T": SECRET})
    assert done.returncode == 0 and server.asked[0].get("Authorization") == f"Bearer {SECRET}"


def test_persistent_outlives_what_is_for_good(serve: Serve, home: Path) -> None:
    server = serve(
        [request, send(answer("403 Forbidden"))],
        STREAM,
    )
    with Command("listen", "--persistent", server.url, home=home) as command:
        assert "answered 403" in command.line("stderr")
        assert command.process.poll() is None
        assert command.end(signal.SIGTERM)[0] == 143


def test_a_client_certificate_is_shown_and_followed(
    serve: Serve, home: Path, authority: Authority, certificate: Path
) -> None:
    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=str(authority.file))
    seen: list[str] = []

    def note(peer: object) -> None:
        names = peer.sock.getpeercert()["subjectAltName"]  # type: ignore[attr-defined]
        seen.append(dict(names)["email"])

    changed = threading.Event()
    server = serve(
        [tls(context), note, request, send(CHUNKED + chunk(b"data: a\n\n")), wait_for(changed), send(LAST_CHUNK)],
        [tls(context), note, request, send(OPEN + b"data: b\n\n"), stall],
    )
    url = server.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
    with Command("listen", "--cacert", str(authority.file), "--cert", str(certificate), url, home=home) as command:
        assert command.line() == "a"
        issued = authority.ca.issue_cert("later@example.invalid")
        later = private(
            certificate.with_suffix(".new"),
            (issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()).decode(),
        )
        later.replace(certificate)
        changed.set()
        assert command.line() == "b"
    assert seen == ["client@example.invalid", "later@example.invalid"]


def test_a_key_alone_is_wrong_usage(home: Path) -> None:
    done = run("listen", "--key", "x", URL, home=home)
    assert done.returncode == 64 and "--key: expected together with --cert" in done.stderr


# Other readers of the files.


@pytest.mark.parametrize("option", ["--token-file", "--headers-file", "--cert"])
@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o644, True)]
)
def test_a_secret_that_others_can_read_is_told_once(
    option: str, mode: int, warned: bool, serve: Serve, home: Path, tmp_path: Path, certificate: Path
) -> None:
    path = certificate if option == "--cert" else tmp_path / "secret"
    if option != "--cert":
        path.write_text("X-A: b" if option == "--headers-file" else SECRET)
    path.chmod(mode)
    server = serve([request, send(event_stream(b"data: a\n\n"))], [request, send(OPEN + b"data: b\n\n"), stall])
    done = run("listen", "--count", "2", option, str(path), server.url, home=home)
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if "chmod" in line]
    assert len(lines) == warned
    if warned:
        assert f"{path} holds a secret and other users can read it (mode {mode:04o}): chmod 600 {path}" in lines[0]


def test_a_relay_json_that_others_can_read_is_told_once(home: Path) -> None:
    write_relay_json(home, ("http://127.0.0.1:9", Slot("a", SECRET)))
    path = home / "config" / "wire" / "relay.json"
    path.chmod(0o644)
    with Command("daemon", "--exec", "true", home=home) as command:
        line = command.line("stderr")
        while "chmod" not in line:
            line = command.line("stderr")
        assert f"chmod 600 {path}" in line
        path.touch()
        assert command.end(signal.SIGTERM)[0] == 0
        assert "chmod" not in command.rest("stderr")


# Elsewhere.


def test_the_relays_certificate_is_not_waited_for(home: Path, tmp_path: Path, certificate: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for files in ((pipe, certificate), (certificate, pipe)):
        words = ["--certificate", str(files[0]), "--key", str(files[1])]
        done = run("relay", "--bind-tls", "127.0.0.1:0", *words, home=home)
        assert done.returncode == 64
        assert_one_line(done.stderr, "relay")
        assert "expected a regular file, found a named pipe" in done.stderr


def test_a_ca_file_counts_after_a_redirect_to_https_too(serve: Serve, home: Path, authority: Authority) -> None:
    secure = serve([tls(authority.server()), request, send(OPEN + b"data: safe\n\n"), stall])
    url = f"https://localhost:{secure.port}/"
    server = serve([request, send(answer("302 Found", f"Location: {url}"))])
    done = run("listen", "--count", "1", "--cacert", str(authority.file), server.url, home=home)
    assert (done.returncode, done.stdout) == (0, "safe\n")


@pytest.mark.parametrize(
    "command", [("listen", "--fail", "--resume"), ("daemon", "--exec", "/nowhere", "--state-file")]
)
def test_a_device_is_not_replaced_by_a_file(command: tuple[str, ...], home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"  # The device itself would be lost where the test fails.
    link.symlink_to(os.devnull)
    done = run(*command, str(link), URL, home=home)
    assert done.returncode == 64 and "got a device" in done.stderr
    assert_one_line(done.stderr, command[0])
    assert link.is_symlink()
