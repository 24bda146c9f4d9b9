"""The README's operator sections: each fault's text leads to a row of the runbook, and the shell snippets work."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import WORDS, Command, environment, run, wait_until
from tests.conftest import missing
from tests.support.fixtures import Serve
from tests.support.ports import free_port
from tests.support.server import CHUNKED, OPEN, QUIET, Peer, answer, chunk, cut, request, reset, send, stall, tls
from tests.support.trust import Authority

README = (Path(__file__).parents[2] / "README.md").read_text()
RUNBOOK = README.partition("### What to do when")[2].partition("\n#")[0]
ROWS = [row.split(" | ")[0].removeprefix("| ") for row in RUNBOOK.splitlines() if row.startswith("| ")][1:]
"""The first column: texts in backticks, in which … stands for anything."""


def rows_for(text: str) -> list[str]:
    """The rows of the runbook that a text leads to."""
    found = []
    for row in ROWS:
        for phrase in re.findall(r"`([^`]+)`", row):
            if re.search(".*".join(map(re.escape, phrase.split("…"))), text):
                found.append(row)
                break
    return found


def told(url: str, home: Path, *options: str, **environ: str) -> str:
    """The error of the first connection."""
    timeouts = ("--response-timeout", "1", "--read-timeout", "1", "--connect-timeout", "2")
    done = run("listen", "--fail", *timeouts, *options, url, home=home, environ=environ)
    assert done.returncode not in (0, 64, 70), done.stderr
    return done.stderr


HTML = answer("200 OK", "Content-Type: text/html", body=b"<html>Please log in</html>")
FAULTS: dict[str, list[Callable[[Peer], None]]] = {
    "silence": [request, send(OPEN + b": x\n\n"), stall],
    "no head": [request, stall],
    "401": [request, send(answer("401 Unauthorized"))],
    "403": [request, send(answer("403 Forbidden"))],
    "404": [request, send(answer("404 Not Found"))],
    "429": [request, send(answer("429 Too Many Requests"))],
    "503": [request, send(answer("503 Service Unavailable"))],
    "login page": [request, send(HTML)],
    "cut": [request, send(CHUNKED + chunk(b"data: a\n\n")), cut],
    "reset": [request, send(CHUNKED + chunk(b"data: a\n\n")), reset],
    "closed": [request],
    "ssh": [send(b"SSH-2.0-OpenSSH_9.2\r\n"), stall],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_has_one_row(fault: str, serve: Serve, home: Path) -> None:
    text = told(serve(FAULTS[fault]).url, home)
    assert len(rows_for(text)) == 1, text


@pytest.mark.parametrize("kind", ["expired", "unknown", "other name", "no TLS"])
def test_a_fault_of_tls_has_one_row(kind: str, serve: Serve, home: Path, authority: Authority) -> None:
    context = authority.expired() if kind == "expired" else authority.server(*(["b.example"] if kind[0] == "o" else []))
    server = serve([send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), stall] if kind == "no TLS" else [tls(context), stall])
    options = () if kind == "unknown" else ("--cacert", str(authority.file))
    text = told(server.url.replace("http:", "https:"), home, *options)
    assert len(rows_for(text)) == 1, text


def test_a_fault_of_the_network_has_one_row(home: Path) -> None:
    for url in ("http://127.83.1.7:9/", "http://no-such-name.invalid/"):
        text = told(url, home)
        assert len(rows_for(text)) == 1, text


def test_a_connection_that_is_not_answered_has_one_row(home: Path) -> None:
    """A listener whose queue is full drops every further SYN."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        full = [socket.socket() for _ in range(4)]
        try:
            for one in full:
                one.setblocking(False)
                one.connect_ex(address)
            text = told(f"http://127.0.0.1:{address[1]}/", home)
        finally:
            for one in full:
                one.close()
    assert len(rows_for(text)) == 1, text


def test_a_proxy_has_one_row(serve: Serve, home: Path) -> None:
    proxy = serve([request, send(answer("407 Proxy Authentication Required"))])
    text = told("http://relay.example/", home, HTTP_PROXY=proxy.url.rpartition("/")[0])
    assert len(rows_for(text)) == 1, text


@pytest.mark.parametrize("trouble", ["none", "gone", "stopped", "failing", "hanging"])
def test_a_trouble_of_the_daemon_has_one_row(trouble: str, serve: Serve, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    server = serve(QUIET)
    deaf = "trap '' TERM; for second in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done"  # It outlives the daemon.
    program = {"failing": "false", "hanging": f'sh -c "{deaf}"'}.get(trouble, "true")
    arguments = ("--exec", program, "--interval", "0.05", "--exec-timeout", "0.5", "--state-file", str(path))

    def status() -> str:
        return run("status", "--file", str(path), home=home).stdout

    if trouble == "none":
        assert len(rows_for(status())) == 1, status()
        return
    with Command("daemon", *arguments, server.url, home=home) as command:
        wait_until(lambda: "stream: connected" in status())
        if trouble == "gone":
            command.end(signal.SIGKILL)
        elif trouble == "stopped":
            command.process.send_signal(signal.SIGSTOP)
        text = wait_until(lambda: rows_for(said := status()) and said)
        command.process.send_signal(signal.SIGCONT)
    assert len(rows_for(text)) == 1, text


def test_no_relay_json_has_one_row(home: Path) -> None:
    with Command("daemon", "--exec", "true", home=home) as command:
        text = command.line("stderr")
    assert len(rows_for(text)) == 1, text


def test_the_relay_by_hand(home: Path, tmp_path: Path) -> None:
    for program in ("curl", "jq"):
        if shutil.which(program) is None:
            missing(f"needs {program}: apt-get install {program}")
    snippet = re.search(r"<!-- relay by hand -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert snippet is not None
    port = free_port()
    (tmp_path / "wire-rawsse").write_text(f'#!/bin/sh\nexec {" ".join(WORDS)} "$@"\n')
    (tmp_path / "wire-rawsse").chmod(0o700)
    script = snippet[1].replace("8770", str(port)) + "\nsleep 1; kill $(jobs -p)\n"
    environ = {**environment(home), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert 'data: {"hello":"world"}\n' in done.stdout, done.stderr
    assert '"status":"stored"' in done.stdout and '[{"hello":"world"}]' in done.stdout


@pytest.mark.parametrize("command", ["", "listen", "daemon", "status", "relay", "probe", "demo"])
def test_help2man_makes_a_clean_page(command: str, home: Path, tmp_path: Path) -> None:
    help2man = shutil.which("help2man") or missing("needs help2man: apt-get install help2man")
    program = tmp_path / "wire-rawsse"
    program.write_text(f'#!/bin/sh\nexec {" ".join(WORDS)} "$@"\n')
    program.chmod(0o700)
    words = [
        help2man,
        "--no-info",
        "--version-string",
        "1",
        "--name",
        "an event stream",
        f"{program} {command}".strip(),
    ]
    done = subprocess.run(words, env=environment(home), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page = tmp_path / "page.1"
    page.write_text(done.stdout)
    assert ".SH SYNOPSIS" in done.stdout and "wire\\-rawsse" in done.stdout
    assert command == "" or f"wire\\-rawsse {command}" in done.stdout
    man = shutil.which("man") or missing("needs man: apt-get install man-db")
    done = subprocess.run(
        [man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", str(page)],
        env={**environment(home), "MANWIDTH": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
