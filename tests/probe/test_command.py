"""`wire-rawsse probe` as a command: its two forms, a terminal, signals, wrong usage."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import WORDS, Command, assert_one_line, environment, run
from tests.support.fixtures import Serve
from tests.support.server import CHUNKED, chunk, drip, request, send, stall

BEAT = drip(chunk(b": ping\n\n"), 0.2)


def test_the_text_begins_with_the_verdict_and_the_change(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), stall])
    ran = run("probe", "--for", "2", server.url, home=home, timeout=60)
    first, second, *_ = ran.stdout.splitlines()
    assert first.startswith("DOUBTFUL  nothing came for") and second.startswith("change    probe longer (--for 90)")
    assert ran.returncode == 1 and ran.stderr == ""
    for label in ("proxy", "address", "head", "stream", "TCP", "replay", "clocks"):
        assert re.search(rf"(?m)^{label} +\S", ran.stdout), ran.stdout


def test_well_says_so(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), BEAT])
    ran = run("probe", "--for", "3", server.url, home=home, timeout=60)
    assert ran.stdout.startswith("WELL      an event stream, with a heartbeat every") and ran.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("ftp://example.org/",),
        ("http://user:password@example.org/",),
        ("--for", "0", "http://example.org/"),
        ("--for", "1e9", "http://example.org/"),
        ("--for", "x", "http://example.org/"),
        ("--cacert", "/nowhere", "https://example.org/"),
        ("--token-file", "/nowhere", "https://example.org/"),
        ("--last-event-id", "a\nb", "http://example.org/"),
        ("--method", "CONNECT", "http://example.org/"),
        ("--nonsense", "http://example.org/"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], home: Path) -> None:
    ran = run("probe", *arguments, home=home)
    assert ran.returncode == 64 and ran.stdout == ""
    assert_one_line(ran.stderr, "probe")
    assert "password" not in ran.stderr or "user name" in ran.stderr


def test_the_help_names_the_statuses(home: Path) -> None:
    ran = run("probe", "--help", home=home)
    assert ran.returncode == 0
    for line in ("0    well", "1    doubtful", "2    broken"):
        assert line in ran.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once(number: int, serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), BEAT])
    with Command("probe", "--for", "600", server.url, home=home) as command:
        server.until_asked()
        status, _ = command.end(number)
        assert status == 128 + number
        assert command.rest("stdout") == "" and "Traceback" not in command.rest("stderr")


def test_a_closed_output_keeps_the_status(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), stall])
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = run("probe", "--for", "3", server.url, home=home, timeout=60, stdout=writer)
    finally:
        os.close(writer)
    assert ran.returncode == 1 and ran.stderr == ""


def test_a_terminal_shows_what_is_being_done_and_keeps_nothing_of_it(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), BEAT])
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*WORDS, "probe", "--for", "4", server.url],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    try:
        said = _read(controller, 60.0)
        assert process.stdout is not None
        with process.stdout as output:
            assert output.read().startswith(b"WELL")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert b"listening: 0 events" in said
    assert said.endswith(b"\r\x1b[K"), said[-200:]


def _read(controller: int, seconds: float) -> bytes:
    """The bytes until the other end is closed."""
    said = b""
    until = time.monotonic() + seconds
    while time.monotonic() < until and select.select([controller], [], [], 1.0)[0] is not None:
        try:
            piece = os.read(controller, 65536)
        except OSError:  # EIO: the last one has closed it.
            break
        said += piece
    return said


def test_the_environment_can_hold_the_token(serve: Serve, home: Path) -> None:
    server = serve([request, send(CHUNKED), BEAT])
    ran = run(
        "probe",
        "--for",
        "1",
        "--token-env",
        "TOKEN",
        server.url,
        home=home,
        environ={"TOKEN": "t0k3n-t0k3n"},
        timeout=60,
    )
    assert server.asked[0].get("Authorization") == "Bearer t0k3n-t0k3n"
    assert "t0k3n" not in ran.stdout + ran.stderr
