"""The surroundings of a command may be broken too: its files and its environment (`test_descriptors`: its three
descriptors).

One table: the command, what is wrong, the exit status, and the one line that says so. `RUNS` stands for a command that
goes on, as it must where the trouble may pass: it is told to end once its line has come, and ends as it documents.
Wrong usage, which is 64, has a table of its own in `test_usage`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.cli.command import PATIENCE, WORDS, assert_one_line, environment, run
from tests.conftest import missing
from tests.wire.needs import mount_namespace

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the faults are POSIX's")

SECRET: Final = "s3cr3t-t0ken"
URL: Final = "http://127.0.0.1:9/"
RUNS: Final = -1
"""It goes on. Ended by SIGTERM, `daemon` and `relay` have 0 and the others 143."""

Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """`told` stands in the line on standard error, or for `status` on standard output, where its answer goes."""

    arguments: list[str]
    told: str
    status: int = RUNS
    environ: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    prepare: Prepare = lambda home: None

    @property
    def command(self) -> str:
        return self.arguments[0]


def relay_json(content: bytes | str) -> Prepare:
    """`home` becomes a WIRE_HOME with this relay.json."""
    return _put("config", "relay.json", content)


def state_json(content: bytes | str) -> Prepare:
    return _put("state", "stream_state.json", content)


def _put(kind: str, name: str, content: bytes | str) -> Prepare:
    def prepare(home: Path) -> None:
        folder = home / kind / "wire"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return prepare


def instead_of(kind: str, name: str, make: Callable[[Path], object]) -> Prepare:
    """Something else stands where the file should."""

    def prepare(home: Path) -> None:
        folder = home / kind / "wire"
        folder.mkdir(parents=True)
        make(folder / name)

    return prepare


def pipe(name: str) -> Prepare:
    """The folder in which the command begins."""
    return lambda home: os.mkfifo(home / name)


DAEMON: Final = ["daemon", "--exec", "true"]
LISTEN: Final = ["listen", URL]
HTTPS: Final = ["listen", "https://127.0.0.1:9/"]
STATUS: Final = ["status"]
GOOD: Final = (
    '{"schema":"wire-daemon-stream-state-v1","ts":"2999-01-01T00:00:00Z","state":"connected","reconnect_count":0'
)

FILES: Final = {
    # relay.json: a state to report and to retry, never an end.
    "no relay.json": Case(DAEMON, "does not exist yet"),
    "an empty relay.json": Case(DAEMON, "is empty: expected a JSON object", prepare=relay_json("")),
    "half a relay.json": Case(DAEMON, "is not JSON: it breaks off", prepare=relay_json('{"self": {"rel')),
    "a relay.json in another encoding": Case(DAEMON, "is not UTF-8", prepare=relay_json("{}".encode("utf-16"))),
    "a relay.json of an array": Case(DAEMON, "expected an object, found an array", prepare=relay_json("[]")),
    "a relay.json of NULs": Case(DAEMON, "is not JSON", prepare=relay_json(bytes(4096))),
    "a relay.json nested without end": Case(DAEMON, "nested too deeply", prepare=relay_json("[" * 200_000)),
    "a relay.json with a number without end": Case(DAEMON, "relay.json", prepare=relay_json("9" * 5000)),
    "a relay.json with a broken token": Case(
        DAEMON,
        "self.slot_token: expected visible ASCII",
        prepare=relay_json(f'{{"self":{{"relay_url":"http://h","slot_id":"a","slot_token":"{SECRET}\\r\\nX: y"}}}}'),
    ),
    "a relay.json with a token in the wrong place": Case(
        DAEMON,
        "self.relay_url: expected http://",
        prepare=relay_json(f'{{"self":{{"relay_url":"{SECRET}","slot_id":"{SECRET}","slot_token":"{SECRET}"}}}}'),
    ),
    "a relay.json that is a folder": Case(
        DAEMON, "expected a regular file, found a folder", prepare=instead_of("config", "relay.json", Path.mkdir)
    ),
    "a relay.json that is a pipe": Case(
        DAEMON, "expected a regular file, found a named pipe", prepare=instead_of("config", "relay.json", os.mkfifo)
    ),
    "a relay.json that is a loop": Case(
        DAEMON,
        "Too many levels of symbolic links",
        prepare=instead_of("config", "relay.json", lambda path: path.symlink_to(path)),
    ),
    "a relay.json that is a device": Case(
        DAEMON,
        "expected a regular file, found a device",
        prepare=instead_of("config", "relay.json", lambda path: path.symlink_to("/dev/zero")),
    ),
    "a relay.json without end": Case(
        DAEMON, "expected at most", prepare=instead_of("config", "relay.json", lambda path: _sparse(path, 1 << 40))
    ),
    # stream_state.json: the answer is "unknown", which is 2.
    "no stream_state.json": Case(STATUS, "no subscriber has run here yet", 2),
    "an empty stream_state.json": Case(STATUS, "is not JSON, or not all of it is there", 2, prepare=state_json("")),
    "half a stream_state.json": Case(STATUS, "not all of it is there", 2, prepare=state_json(GOOD)),
    "a stream_state.json that is binary": Case(STATUS, "is not JSON", 2, prepare=state_json(bytes(range(256)))),
    "a stream_state.json of null": Case(STATUS, "holds null, expected an object", 2, prepare=state_json("null")),
    "a stream_state.json of an array": Case(STATUS, "expected an object", 2, prepare=state_json("[]")),
    "a stream_state.json of another schema": Case(STATUS, "expected the schema", 2, prepare=state_json('{"ts":1}')),
    "a stream_state.json without a time": Case(
        STATUS, "these keys are missing or wrong: ts", 2, prepare=state_json(GOOD.replace("2999", "soon") + "}")
    ),
    "a stream_state.json from the future": Case(STATUS, "in the future", 2, prepare=state_json(GOOD + "}")),
    "a stream_state.json nested without end": Case(STATUS, "is not JSON", 2, prepare=state_json("[" * 200_000)),
    "a stream_state.json that commands a terminal": Case(
        STATUS,
        "expected the schema",
        2,
        prepare=state_json('{"schema":"\\u001b[31m","state":"\\u001b]0;x\\u0007"}'),
    ),
    "a stream_state.json that is a folder": Case(
        STATUS, "found a folder", 2, prepare=instead_of("state", "stream_state.json", Path.mkdir)
    ),
    "a stream_state.json that is a pipe": Case(
        STATUS, "found a named pipe", 2, prepare=instead_of("state", "stream_state.json", os.mkfifo)
    ),
    "a stream_state.json without end": Case(
        STATUS,
        "expected at most",
        2,
        prepare=instead_of("state", "stream_state.json", lambda path: _sparse(path, 1 << 40)),
    ),
    "another file that is a device": Case(["status", "--file", "/dev/zero"], "found a device", 2),
    "another file that nobody can name": Case(["status", "--file", "/\udcff\n"], "no subscriber has run here yet", 2),
    "a file for a folder": Case(["status", "--file", "/dev/null/x"], "Not a directory", 2),
    # The relay's places.
    "a host that is none": Case(["relay", "--bind", "\udcff:0"], "it is no host name", 69),
    "a label that is too long": Case(["relay", "--bind", "a" * 80 + ":0"], "cannot listen on", 69),
    "an address that is none": Case(["relay", "--bind", "256.1.1.1:0"], "cannot listen on 256.1.1.1:0", 69),
    "an address that is not ours": Case(["relay", "--bind", "192.0.2.1:0"], "cannot listen on 192.0.2.1:0", 69),
    "a socket in a folder that is none": Case(["relay", "--uds", "/dev/null/x"], "cannot listen on /dev/null/x", 69),
    "a socket where a file is": Case(["relay", "--uds", "/dev/null"], "a file is there that is no socket", 69),
    "a socket with a long path": Case(["relay", "--uds", "/" + "x" * 200], "cannot listen on", 69),
}

ENVIRONMENT: Final = {
    "WIRE_HOME is a file, for the daemon": Case(DAEMON, "Not a directory", environ={"WIRE_HOME": "/dev/null"}),
    "WIRE_HOME is a file, for status": Case(STATUS, "Not a directory", 2, environ={"WIRE_HOME": "/dev/null"}),
    "WIRE_HOME is nowhere": Case(STATUS, "no subscriber has run here yet", 2, environ={"WIRE_HOME": "/no/such/place"}),
    "WIRE_HOME is relative": Case(STATUS, "no relative/state/wire", 2, environ={"WIRE_HOME": "relative"}),
    "WIRE_HOME is empty": Case(STATUS, "no state/wire/", 2, environ={"WIRE_HOME": ""}),
    "WIRE_HOME is no text": Case(STATUS, "no subscriber has run here yet", 2, environ={"WIRE_HOME": "/\udcff\x1b"}),
    "WIRE_HOME is too long": Case(STATUS, "File name too long", 2, environ={"WIRE_HOME": "/x" * 3000}),
    "XDG folders are relative": Case(
        STATUS,
        "/.local/state/wire",
        2,
        environ={"XDG_STATE_HOME": "relative", "HOME": "/no/such/home"},
        without=("WIRE_HOME",),
    ),
    "a state folder that cannot be": Case(
        DAEMON,
        "stream_state.json cannot be written",
        environ={"XDG_STATE_HOME": "/proc/none", "XDG_CONFIG_HOME": "/proc/none"},
        without=("WIRE_HOME",),
    ),
    "a SOCKS proxy": Case(
        LISTEN, "of the kind socks5://, expected http://", environ={"HTTP_PROXY": f"socks5://u:{SECRET}@h"}
    ),
    "a proxy of no kind": Case(LISTEN, "of an unknown kind", environ={"HTTP_PROXY": f"{SECRET}://{SECRET}"}),
    "a proxy of no address": Case(LISTEN, "no valid IPv6 address", environ={"ALL_PROXY": "http://[::1"}),
    "a proxy with a control": Case(LISTEN, "control character", environ={"http_proxy": f"{SECRET}\x01"}),
    "a proxy of no text": Case(LISTEN, "HTTP_PROXY", environ={"HTTP_PROXY": "http://\udcff"}),
    "a proxy of a bad port": Case(LISTEN, "no valid port", environ={"HTTP_PROXY": f"http://u:{SECRET}@h:99999"}),
    "a proxy that is not there": Case(
        LISTEN, "through the proxy 127.0.0.1:9", environ={"HTTP_PROXY": f"http://u:{SECRET}@127.0.0.1:9"}
    ),
    "a NO_PROXY of rubbish": Case(
        LISTEN, "through the proxy", environ={"HTTP_PROXY": "127.0.0.1:9", "NO_PROXY": ",,[,1.2.3.4/99,\udcff"}
    ),
    "a proxy of a kind that is not spoken, for the daemon": Case(
        DAEMON,
        "of the kind socks5://, expected http://",
        environ={"HTTP_PROXY": f"socks5://u:{SECRET}@h"},
        prepare=relay_json('{"self":{"relay_url":"http://192.0.2.1","slot_id":"a","slot_token":"t"}}'),
    ),
    "no PATH": Case(DAEMON, "'true' cannot be started: No such file or directory", 64, environ={"PATH": "/no/such"}),
    "roots that are a pipe": Case(
        HTTPS, "(of SSL_CERT_FILE) cannot be used", environ={"SSL_CERT_FILE": "roots"}, prepare=pipe("roots")
    ),
    "roots without end": Case(HTTPS, "(of SSL_CERT_FILE) cannot be used", environ={"SSL_CERT_FILE": "/dev/zero"}),
    "roots that are none": Case(HTTPS, "Connection refused", environ={"SSL_CERT_FILE": "/etc/passwd"}),
    "an ASCII locale": Case(
        STATUS, "stream: unknown", 2, environ={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ),
    "an encoding that cannot": Case(STATUS, "stream: unknown", 2, environ={"PYTHONIOENCODING": "ascii:strict"}),
    "an encoding of two bytes": Case(STATUS, "stream: unknown", 2, environ={"PYTHONIOENCODING": "utf-16"}),
    "an unknown locale": Case(LISTEN, "Connection refused", environ={"LC_ALL": "xx_XX.rubbish"}),
    "an odd TERM": Case(LISTEN, "Connection refused", environ={"TERM": "\x1b\udcff", "COLUMNS": "-1"}),
}


@pytest.mark.parametrize("case", [*FILES.values(), *ENVIRONMENT.values()], ids=[*FILES, *ENVIRONMENT])
def test_what_a_broken_surrounding_gets(case: Case, home: Path) -> None:
    case.prepare(home)
    environ = {name: text for name, text in environment(home, case.environ).items() if name not in case.without}
    if case.status == RUNS:
        line, status = line_and_end([*WORDS, *case.arguments], environ, home, case.told)
        assert status == (0 if case.command in ("daemon", "relay") else 143)
        stdout = ""
    else:
        done = run(*case.arguments, home=home, env=environ, cwd=home)
        line, stdout = done.stderr, done.stdout
        assert done.returncode == case.status, line
    if case.command == "status":
        assert line == ""
        assert stdout.startswith("stream: ") and stdout.count("\n") == 1 and stdout.rstrip("\n").isprintable()
        line = stdout
    else:
        assert_one_line(line, case.command)
    assert case.told in line
    assert SECRET not in line and "s3cr" not in line


def test_status_without_home_reads_the_home_of_the_password_database(home: Path) -> None:
    """The entry of the user is replaced, so that the user's own files are not read."""
    code = (
        "import pwd, runpy, sys\n"
        f"entry = pwd.struct_passwd(('user', 'x', 0, 0, '', {str(home)!r}, '/bin/sh'))\n"
        "pwd.getpwuid = lambda uid: entry\n"
        "sys.argv = ['wire-rawsse', 'status']\n"
        "runpy.run_module('wire_rawsse', run_name='__main__')\n"
    )
    environ = {name: text for name, text in environment(home).items() if name not in ("WIRE_HOME", "HOME")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("stream: unknown") and f"{home}/.local/state/wire" in done.stdout


def line_and_end(words: list[str], environ: Mapping[str, str], home: Path, told: str) -> tuple[str, int]:
    """The line with `told`, on standard error, and how the command ends when it is told to once that has come."""
    process = subprocess.Popen(
        words, env=environ, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        before = b""
        while line and told not in line:
            before += line.encode()
            line = process.stderr.readline().decode()
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    for other in (before, rest):
        assert b"Traceback" not in other and b"internal error" not in other and b"s3cr" not in other
    return line, process.returncode


def _sparse(path: Path, size: int) -> None:
    """So large, and nothing of it on the disk."""
    with path.open("wb") as file:
        file.truncate(size)


def test_the_demo_needs_no_good_environment(home: Path) -> None:
    """Proxies, encodings, folders: whatever is set, it is everything on this machine, nothing to configure."""
    environ = {
        "HTTP_PROXY": "rubbish://",
        "http_proxy": "\udcff",
        "PYTHONIOENCODING": "utf-16",
        "TMPDIR": "/no/such/folder",
        "WIRE_HOME": "/dev/null",
        "HOME": "/dev/null",
        "LC_ALL": "xx_XX.rubbish",
    }
    done = run("demo", home=home, environ=environ, timeout=60.0)
    assert done.returncode in (0, 1) and done.stderr == ""  # 1: a busy machine missed one of its times.
    assert "the whole demo" in done.stdout


# --- unreadable and full ----------------------------------------------------------------------------------------------


def in_a_namespace(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A shell that may mount what nobody else sees."""
    return subprocess.run(
        [*mount_namespace(), "/bin/sh", "-euc", script],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def for_a_moment(arguments: list[str]) -> str:
    return f"timeout -s TERM 2 {shlex.join([*WORDS, *arguments])} || [ $? = 124 ]"


@pytest.mark.parametrize("how", ["-o ro", "-o size=4k,nr_inodes=4"], ids=["read-only", "full"])
def test_a_state_folder_that_takes_nothing_is_one_line_and_no_end(how: str, home: Path) -> None:
    """`status` then says what it knows: nothing."""
    where = shlex.quote(str(home))
    fill = (
        ""
        if "ro" in how
        else f"mkdir -p {where}/state/wire; cat /dev/zero > {where}/state/wire/x 2>/dev/null || true\n"
    )
    done = in_a_namespace(f"mount -t tmpfs {how} tmpfs {where}\n{fill}{for_a_moment(DAEMON)}", home)
    lines = done.stderr.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line for line in lines if "stream_state.json cannot be written" in line]
    assert all(line.startswith("wire-rawsse daemon: ") for line in lines)
    reason = "Read-only file system" if "ro" in how else "No space left on device"
    assert sum(reason in line for line in lines) == 1


def without_privileges() -> list[str]:
    """The words to put before a command, so that a file's mode stops it too: to root nothing is unreadable."""
    if os.geteuid() != 0:
        return []
    words = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]
    if shutil.which("setpriv") is None:
        missing("needs setpriv (util-linux)")
    return words


UNREADABLE: Final = {
    "token": Case([*LISTEN, "--token-file", "FILE"], "--token-file: expected a file that can be read", 64),
    "headers": Case([*LISTEN, "--headers-file", "FILE"], "--headers-file: expected a file that can be read", 64),
    "body": Case([*LISTEN, "--data-file", "FILE"], "--data-file: expected a file that can be read", 64),
    "certificates": Case(["listen", "https://127.0.0.1:9/", "--cacert", "FILE"], "the CA file FILE cannot be used", 64),
    "certificates of a daemon": Case([*DAEMON, "--cacert", "FILE"], "the CA file FILE cannot be used", 64),
    "command": Case(["daemon", "--exec", "FILE"], "cannot be started", 64),
    "state": Case(["status", "--file", "FILE"], "FILE cannot be read", 2),
    "key": Case(
        ["relay", "--bind-tls", "127.0.0.1:0", "--certificate", "FILE", "--key", "FILE"], "Permission denied", 64
    ),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_file_that_may_not_be_read(what: str, home: Path, tmp_path: Path) -> None:
    case = UNREADABLE[what]
    path = tmp_path / "file"
    path.write_text(SECRET)
    path.chmod(0)
    words = [str(path) if word == "FILE" else word for word in case.arguments]
    done = subprocess.run(
        [*without_privileges(), *WORDS, *words],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == case.status, done.stderr
    line = done.stdout if case.command == "status" else done.stderr
    assert line.count("\n") == 1 and "Traceback" not in line and SECRET not in line
    assert case.told.replace("FILE", str(path)) in line and "Permission denied" in line


def test_a_relay_json_that_may_not_be_read_is_read_again(home: Path) -> None:
    relay_json(SECRET)(home)
    (home / "config" / "wire" / "relay.json").chmod(0)
    line, status = line_and_end([*without_privileges(), *WORDS, *DAEMON], environment(home), home, "cannot be read")
    assert status == 0
    assert_one_line(line, "daemon")
    assert "Permission denied" in line
