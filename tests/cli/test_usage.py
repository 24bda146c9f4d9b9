"""Bad input gets its documented status and one clear line. And the promises of `--help`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import assert_one_line, environment, run

COMMANDS = ("demo", "listen", "daemon", "status", "relay")
SECRET = "s3cr3t-t0ken"
URL = "http://127.0.0.1:9/"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, content in {
        "empty": b"",
        "spaced": f"{SECRET} {SECRET}\n".encode(),
        "two-lines": f"{SECRET}\n{SECRET}\n".encode(),
        "latin1": b"X: \xe9\n",
        "no-colon": b"X-Fine: 1\nAuthorization Bearer " + SECRET.encode(),
        "bad-name": b"X Y: " + SECRET.encode(),
        "bad-value": b"X: " + SECRET.encode() + b"\x01",
        "ours": b"Content-Length: 3\n",
        "huge": b"x" * 70_000,
        "no.pem": b"no certificate\n",
        "binary": bytes(range(256)),
    }.items():
        (folder / name).write_bytes(content)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "fifo")
    os.symlink("loop", folder / "loop")
    return folder


# command, arguments (FILES/ is the folder above), what the line says
BAD = [
    ("", [], "expected a command"),
    ("", ["lisen"], "got something else; did you mean listen?"),
    ("", ["--jsn"], "expected a command"),
    ("demo", ["now"], "1 argument too many"),
    ("demo", ["--fast"], "there is no option --fast"),
    ("listen", [], "required: URL"),
    ("listen", [URL, URL], "1 argument too many"),
    ("listen", ["--jso", URL], "did you mean --json?"),
    ("listen", ["-x", URL], "there is no option -x"),
    ("listen", [f"--json={SECRET}", URL], "--json: expected no value with it, got one"),
    ("listen", [f"--all={SECRET}", URL], "--all: expected no value with it, got one"),
    ("listen", [f"-h{SECRET}"], "-h/--help: expected no value with it, got one"),
    ("listen", ["--\udcff", URL], "there is no option --."),
    ("listen", ["http://\udcff/"], "no DNS name"),
    ("listen", ["http://h/\udcff"], "lone surrogate"),
    ("listen", ["--count", "\udcff", URL], "--count: expected a whole number from 1, got '.'"),
    ("listen", ["--header", "X: \udcff", URL], "lone surrogate"),
    ("listen", ["--last-event-id", "\udcff", URL], "--last-event-id: expected at most 4 KiB"),
    ("listen", ["--method", "\udcff", URL], "the method must be"),
    ("listen", ["--method", "", URL, "--data-file", "/dev/null", "--read-timeout", "-0"], "--read-timeout: expected"),
    ("listen", ["--read-timeout", "1_0", URL], "got '1_0'"),
    ("listen", ["--read-timeout", "\u0663", URL], "--read-timeout: expected a number of seconds"),
    ("listen", ["--read-timeout", "1e999", URL], "got '1e999'"),
    ("listen", ["--count", "9" * 5000, URL], "--count: expected a whole number"),
    ("listen", ["--token-file", "", URL], "--token-file: expected the name of a file, got nothing"),
    ("listen", ["--headers-file", "", URL], "--headers-file: expected the name of a file, got nothing"),
    ("listen", ["--data-file", "", URL], "--data-file: expected the name of a file, got nothing"),
    ("listen", ["--cacert", "", URL], "--cacert: expected the name of a file, got nothing"),
    ("listen", ["--token-file", "FILES/\udcff", URL], "No such file or directory"),
    ("listen", ["--headers-file", "FILES", URL], "found a folder"),
    ("listen", ["--headers-file", "FILES/no-mount/x", URL], "No such file or directory"),
    ("listen", ["--headers-file", "FILES/empty/x", URL], "Not a directory"),
    (
        "listen",
        ["--headers-file", "/dev/zero", URL],
        "--headers-file: expected a file that can be read, /dev/zero cannot: expected a file or a pipe, found a device",
    ),
    ("listen", ["--data-file", "/dev/zero", URL], "found a device"),
    ("listen", ["--data-file", "FILES", URL], "found a folder"),
    ("listen", ["--data-file", "/proc/self/mem", URL], "--data-file: expected a file that can be read"),
    ("listen", ["--cacert", "FILES", "https://127.0.0.1:9/"], "expected a regular file"),
    ("listen", ["--cacert", "FILES/fifo", "https://127.0.0.1:9/"], "expected a regular file"),
    ("listen", ["--cacert", "/dev/zero", "https://127.0.0.1:9/"], "expected a regular file"),
    ("listen", ["--cacert", "FILES/binary", "https://127.0.0.1:9/"], "holds no certificate in PEM"),
    ("listen", ["--token-file", "FILES/binary", URL], "expected UTF-8 text"),
    ("listen", ["--token-file", "FILES/loop", URL], "Too many levels of symbolic links"),
    ("listen", ["--token-env", "", URL], "that variable is not set or empty"),
    ("listen", ["--token-env", "A=B", URL], "that variable is not set or empty"),
    ("listen", ["--token-env", "BINARY_TOKEN", URL], "got a space, a line end or another character"),
    ("listen", ["--token", SECRET, URL], "a secret is never an argument"),
    ("listen", [f"--token={SECRET}", URL], "a secret is never an argument"),
    ("listen", [f"--bearer={SECRET}", URL], "a secret is never an argument"),
    ("listen", [f"--password={SECRET}", URL], "a secret is never an argument"),
    ("listen", [URL, f"-H=Authorization: {SECRET}"], "there is no option -H"),
    ("listen", ["ftp://example.org/"], "must begin with http://"),
    ("listen", ["example.org"], "must begin with http://"),
    ("listen", [""], "must begin with http://"),
    ("listen", ["http://"], "names no host"),
    ("listen", ["http://[::1"], "no valid IPv6 address"),
    ("listen", ["http://a:99999/"], "no valid port"),
    ("listen", ["http://a/\n"], "control character"),
    ("listen", ["http://a b/"], "no valid host name"),
    ("listen", [f"http://me:{SECRET}@127.0.0.1:9/"], "user name or password"),
    ("listen", ["unix://relative.sock"], "unix:///absolute/path.sock"),
    ("listen", ["--count", "0", URL], "--count: expected a whole number from 1, got '0'"),
    ("listen", ["--count", "-3", URL], "--count: expected"),
    ("listen", ["--count", "many", URL], "got 'many'"),
    ("listen", ["--count", "9" * 30, URL], "--count: expected"),
    ("listen", ["--count"], "--count: expected one argument"),
    ("listen", ["--count", "1\x1b[31m\n", URL], "got '1.[31m.'"),
    ("listen", ["--read-timeout", "0", URL], "--read-timeout: expected a number of seconds, more than 0, got '0'"),
    ("listen", ["--read-timeout", "nan", URL], "got 'nan'"),
    ("listen", ["--read-timeout", "inf", URL], "got 'inf'"),
    ("listen", ["--connect-timeout", "", URL], "got nothing"),
    ("listen", ["--response-timeout", "1s", URL], "got '1s'"),
    ("listen", ["--max-event-bytes", "1k", URL], "got '1k'"),
    ("listen", ["--all", URL], "--all: expected together with --json"),
    ("listen", ["--method", "GET IT", URL], "the method must be"),
    ("listen", ["--method", "CONNECT", URL], "the method must be"),
    ("listen", ["--last-event-id", "a\nb", URL], "--last-event-id: expected at most 4 KiB, no control"),
    ("listen", ["--last-event-id", " a", URL], "--last-event-id: expected"),
    ("listen", ["--header", f"Authorization: {SECRET}", URL], "Authorization is a credential"),
    ("listen", ["--header", f"authorization:{SECRET}", URL], "authorization is a credential"),
    ("listen", ["--header", f"Cookie: a={SECRET}", URL], "Cookie is a credential"),
    ("listen", ["--header", f"Proxy-Authorization: {SECRET}", URL], "Proxy-Authorization is a credential"),
    ("listen", ["--header", f"X-Api-Key: {SECRET}", URL], "X-Api-Key is a credential"),
    ("listen", ["--header", f"X-Slot-Token {SECRET}", URL], "that header is a credential"),
    ("listen", ["--header", f"X-Slot-Token={SECRET}: 1", URL], "that header is a credential"),
    ("listen", ["--header", "X-Fine", URL], "--header: expected NAME:VALUE, got no colon"),
    ("listen", ["--header", "X Y: 1", URL], "--header: expected NAME:VALUE with a name"),
    ("listen", ["--header", "X: a\nb", URL], "--header: the value of the header X holds a line end"),
    ("listen", ["--header", "Transfer-Encoding: chunked", URL], "belongs to the connection"),
    ("listen", ["--headers-file", "FILES/none", URL], "No such file or directory"),
    ("listen", ["--headers-file", "FILES/latin1", URL], "expected UTF-8 text"),
    ("listen", ["--headers-file", "FILES/no-colon", URL], "--headers-file, line 2: expected NAME: VALUE, got no colon"),
    ("listen", ["--headers-file", "FILES/bad-name", URL], "--headers-file, line 1: expected NAME:VALUE with a name"),
    ("listen", ["--headers-file", "FILES/bad-value", URL], "--headers-file, line 1: the value of the header X"),
    ("listen", ["--headers-file", "FILES/ours", URL], "belongs to the connection"),
    ("listen", ["--token-file", "FILES/none", URL], "No such file or directory"),
    ("listen", ["--token-file", "FILES", URL], "found a folder"),
    ("listen", ["--token-file", "FILES/empty", URL], "got nothing"),
    ("listen", ["--token-file", "FILES/spaced", URL], "got a space, a line end"),
    ("listen", ["--token-file", "FILES/two-lines", URL], "got a space, a line end"),
    ("listen", ["--token-file", "FILES/huge", URL], "expected at most 65536 bytes"),
    ("listen", ["--token-file", "/dev/zero", URL], "found a device"),
    ("listen", ["--token-env", "NOT_SET", URL], "NOT_SET is not set or empty"),
    ("listen", ["--token-env", SECRET, URL], "that variable is not set or empty"),
    ("listen", ["--token-env", "BAD_TOKEN", URL], "got a space, a line end"),
    ("listen", ["--token-env", "A", "--token-file", "B", URL], "not allowed with"),
    ("listen", ["--data-file", "FILES/none", URL], "No such file or directory"),
    ("listen", ["--cacert", "FILES/none", "https://127.0.0.1:9/"], "--cacert: the CA file"),
    ("listen", ["--cacert", "FILES/no.pem", "https://127.0.0.1:9/"], "holds no certificate in PEM"),
    ("daemon", [], "required: --exec"),
    ("daemon", ["--exec"], "--exec: expected one argument"),
    ("daemon", ["--exec", ""], "--exec: expected a command, got nothing"),
    ("daemon", ["--exec", "'open"], "--exec: expected a command as a shell would read it"),
    ("daemon", ["--exec", "no-such-program --now"], "'no-such-program' cannot be started: No such file or directory"),
    ("daemon", ["--exec", "/"], "'/' cannot be started: Permission denied"),
    ("daemon", ["--exec", f"TOKEN={SECRET} true"], "--exec: expected a program, cannot be started"),
    ("daemon", ["--exec", "true", "--interval", "0"], "--interval: expected a number of seconds, more than 0"),
    ("daemon", ["--exec", "true", "--interval", "soon"], "got 'soon'"),
    ("daemon", ["--exec", "true", "--exec-timeout", "-1"], "--exec-timeout: expected"),
    ("daemon", ["--exec", "true", "--cacert", "FILES/no.pem"], "holds no certificate in PEM"),
    ("daemon", ["--exec", "true", URL, "pull"], "1 argument too many"),
    ("daemon", ["--exec", "true", "wire"], "must begin with http://"),
    ("daemon", ["--exec", "true", "--token-file", "FILES/none"], "--token-file: expected together with a URL"),
    ("daemon", ["--exec", "true", "--state-file", "state"], "--state-file: expected together with a URL"),
    ("daemon", ["--exec", "true", "--token-file", "FILES/none", URL], "No such file or directory"),
    ("daemon", ["--exec", "true", "--header", f"Cookie: {SECRET}", URL], "Cookie is a credential"),
    ("daemon", ["--exec", "true", f"http://me:{SECRET}@127.0.0.1:9/"], "user name or password"),
    ("daemon", ["--exec", "true", "--min-rate", "-1"], "--min-rate: expected a whole number from 0, got '-1'"),
    (
        "listen",
        ["--event", "", URL],
        "--event: expected the type of an event, got nothing; the type of an event without",
    ),
    ("listen", ["--event", "a\nb", URL], "--event: expected the type of an event, got one with a line end"),
    ("listen", ["--retries", "x", URL], "--retries: expected a whole number from 0, got 'x'"),
    ("listen", ["--retries", "3", "--fail", URL], "not allowed with"),
    ("listen", ["--fail", "--persistent", URL], "not allowed with"),
    ("listen", ["--resume", "", URL], "--resume: expected the name of a file, got nothing"),
    ("listen", ["--resume", "FILES", URL], "--resume: "),
    ("status", ["--json", "--openmetrics"], "not allowed with"),
    ("status", ["--watch"], "--watch: expected a terminal as standard output"),
    ("daemon", ["--execute", "true"], "--exec"),
    ("daemon", ["--exec", "\udcff"], "'.' cannot be started: No such file or directory"),
    ("daemon", ["--exec", "FILES/empty"], "cannot be started: Permission denied"),
    ("daemon", ["--exec", "FILES/empty/x"], "cannot be started: Not a directory"),
    ("daemon", ["--exec", "'\\"], "--exec: expected a command as a shell would read it"),
    ("daemon", ["--exec", "x" * 5000], "cannot be started: File name too long"),
    ("daemon", ["--exec", "true", f"--verbose={SECRET}"], "expected no value with it, got one"),
    ("daemon", ["--exec", "true", f"-v{SECRET}"], "expected no value with it, got one"),
    ("daemon", ["--exec", "true", "--interval", "inf"], "got 'inf'"),
    ("daemon", ["--exec", "true", "--exec-timeout", "nan"], "got 'nan'"),
    ("daemon", ["--exec", "true", "--cacert", "FILES/fifo"], "expected a regular file"),
    ("daemon", ["--exec", "true", "--cacert", ""], "--cacert: expected the name of a file, got nothing"),
    ("status", [f"--json={SECRET}"], "--json: expected no value with it, got one"),
    ("status", ["--file", ""], "--file: expected the name of a file, got nothing"),
    ("status", ["--file"], "--file: expected one argument"),
    ("demo", [f"--help={SECRET}"], "expected no value with it, got one"),
    ("demo", ["\udcff"], "1 argument too many"),
    ("", ["\udcff"], "expected a command"),
    ("", ["LISTEN", URL], "did you mean listen?"),
    ("relay", [f"--control={SECRET}"], "--control: expected no value with it, got one"),
    ("relay", ["--bind", "\udcff"], "HOST:PORT"),
    ("relay", ["--bind", ""], "HOST:PORT"),
    ("relay", ["--bind", "127.0.0.1:" + "9" * 5000], "HOST:PORT"),
    ("relay", ["--bind", "127.0.0.1:\u0663"], "HOST:PORT"),
    ("relay", ["--uds", ""], "a Unix-domain socket must have a path"),
    ("relay", ["--heartbeat", "nan"], "the heartbeat"),
    ("relay", ["--heartbeat", "x" * 5000], "--heartbeat: expected a number, got 'xxx"),
    ("relay", ["--allocate-rate", "nan"], "allocation rate"),
    ("relay", ["--allocate-burst", "0.5"], "--allocate-burst: expected a number, got '0.5'"),
    ("relay", ["--allocate-burst", "9" * 5000], "--allocate-burst: expected a number, got '999"),
    ("relay", ["--allocate-burst", "0"], "burst"),
    ("relay", ["--bind-tls", "127.0.0.1:0", "--certificate", "FILES", "--key", "FILES"], "certificate"),
    ("relay", ["--bind-tls", "127.0.0.1:0", "--certificate", "FILES/none", "--key", "FILES/none"], "certificate"),
    ("status", ["now"], "1 argument too many"),
    ("status", ["--jsn"], "did you mean --json?"),
    ("relay", ["--bind", "nowhere"], ""),
    ("relay", ["--bind", "127.0.0.1:99999"], ""),
    ("relay", ["--bind-tls", "127.0.0.1:0"], "certificate"),
    ("relay", ["--bind-tls", "127.0.0.1:0", "--certificate", "FILES/no.pem", "--key", "FILES/no.pem"], "certificate"),
    ("relay", ["--heartbeat", "often"], "--heartbeat: "),
    ("relay", ["--heartbeat", "-1"], "heartbeat"),
    ("relay", ["--silent"], "there is no option --silent"),
]


@pytest.mark.parametrize(
    ("command", "arguments", "told"), BAD, ids=[f"{number}-{command}" for number, (command, _, _) in enumerate(BAD)]
)
def test_wrong_usage_is_64_and_one_line(command: str, arguments: list[str], told: str, files: Path, home: Path) -> None:
    given = [
        argument.replace("FILES", str(files)) if argument.startswith("FILES") else argument for argument in arguments
    ]
    done = run(
        *([command] if command else []),
        *given,
        home=home,
        environ={"BAD_TOKEN": f"a\n{SECRET}", "BINARY_TOKEN": f"{SECRET}\udcff"},
    )
    assert done.returncode == 64, done.stderr
    assert_one_line(done.stderr, command)
    assert told in done.stderr
    assert done.stdout == ""
    assert "s3cr" not in done.stderr and len(done.stderr) < 800


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_relay_that_cannot_listen_says_so(taken: str, home: Path) -> None:
    done = run("relay", "--bind", taken, home=home)
    assert done.returncode == 69
    assert_one_line(done.stderr, "relay")
    assert taken in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_exit_statuses(command: str, home: Path) -> None:
    done = run(command, "--help", home=home)
    assert done.returncode == 0 and done.stderr == ""
    required = "--exec CMD " if command == "daemon" else ""
    assert done.stdout.startswith(f"Usage: wire-rawsse {command} {required}[OPTIONS]")
    _, _, after = done.stdout.partition("\nexample")
    examples, _, statuses = after.partition("\nexit statuses:\n")
    assert f"  wire-rawsse {command}" in examples
    numbers = [int(number) for number in re.findall(r"^  (\d+) +\S", statuses, re.MULTILINE)]
    assert numbers == sorted(numbers) and {0, 64, 70, 74} <= set(numbers)
    assert all(len(line) <= 110 for line in done.stdout.splitlines())
    assert ("--resume" in statuses) == (command == "listen")


def test_help_lists_the_commands(home: Path) -> None:
    for name in ("--help", "-h"):
        done = run(name, home=home)
        assert done.returncode == 0 and done.stderr == ""
        assert all(f"\n  {command} " in done.stdout for command in COMMANDS)


def test_version(home: Path) -> None:
    from wire_rawsse import __version__

    done = run("--version", home=home)
    assert (done.returncode, done.stdout) == (0, f"wire-rawsse {__version__}\n")


def test_help_in_an_ascii_locale(home: Path) -> None:
    done = run("listen", "--help", home=home, environ={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 0 and done.stdout.isascii()


def test_help_into_a_closed_pipe_is_no_error(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run("listen", "--help", home=home, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "told"), [("KeyError({})", "KeyError"), ("OSError(24, {})", "OSError, Too many open files,")]
)
def test_a_fault_of_ours_is_one_line_too(error: str, told: str, home: Path) -> None:
    """Without its text, which may hold a secret."""
    broken = (
        "import sys, wire_rawsse.wire.status as status, wire_rawsse.cli as cli\n"
        f"def check(path): raise {error.format(repr(SECRET))}\n"
        "status.check = check\n"
        "sys.exit(cli.main(['status']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken], env=environment(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    assert_one_line(done.stderr, "status")
    assert f"internal error ({told} at <string>:2)" in done.stderr and "s3cr" not in done.stderr
