"""The places of wire's files on each platform, and the setting that turns certificate checks off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.wire import needs
from wire_rawsse.errors import RelayFileError
from wire_rawsse.wire import paths

HOME = {"HOME": "/home/user"}
WINDOWS = {"USERPROFILE": "C:\\Users\\Ada"}
PLAIN = ("/home/user/.config/wire", "/home/user/.local/state/wire")

PLACES = [
    # environment, platform, config, state
    (HOME, "linux", *PLAIN),
    (HOME, "freebsd14", *PLAIN),
    ({**HOME, "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, "linux", "/c/wire", "/s/wire"),
    ({**HOME, "XDG_CONFIG_HOME": "/c"}, "linux", "/c/wire", "/home/user/.local/state/wire"),
    ({**HOME, "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}, "linux", *PLAIN),
    ({**HOME, "XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": "s/t"}, "linux", *PLAIN),
    ({**HOME, "WIRE_HOME": "/x", "XDG_CONFIG_HOME": "/c"}, "linux", "/x/config/wire", "/x/state/wire"),
    ({"WIRE_HOME": "/x"}, "darwin", "/x/config/wire", "/x/state/wire"),
    ({"WIRE_HOME": "rel"}, "linux", "rel/config/wire", "rel/state/wire"),
    ({"WIRE_HOME": ""}, "linux", "config/wire", "state/wire"),
    ({"WIRE_HOME": "~"}, "linux", "~/config/wire", "~/state/wire"),
    (
        {**HOME, "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"},
        "darwin",
        "/home/user/Library/Application Support/wire",
        "/home/user/Library/Application Support/wire",
    ),
    ({"APPDATA": "R:\\a", "LOCALAPPDATA": "L:\\b"}, "win32", "R:\\a\\wire", "L:\\b\\wire"),
    (WINDOWS, "win32", "C:\\Users\\Ada\\AppData\\Roaming\\wire", "C:\\Users\\Ada\\AppData\\Local\\wire"),
    ({**WINDOWS, "WIRE_HOME": "W:\\w", "APPDATA": "R:\\a"}, "win32", "W:\\w\\config\\wire", "W:\\w\\state\\wire"),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "platform", "config", "state"), PLACES)
def test_folders(environ: Mapping[str, str], platform: str, config: str, state: str) -> None:
    separator = "\\" if platform == "win32" else "/"
    assert paths.config_dir(environ, platform) == config
    assert paths.state_dir(environ, platform) == state
    assert paths.relay_json(environ, platform) == f"{config}{separator}relay.json"
    assert paths.stream_state_json(environ, platform) == f"{state}{separator}stream_state.json"


def test_the_environment_and_the_platform_of_this_process_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRE_HOME", os.path.join(os.sep, "x"))
    assert paths.relay_json() == os.path.join(os.sep, "x", "config", "wire", "relay.json")
    assert paths.stream_state_json() == os.path.join(os.sep, "x", "state", "wire", "stream_state.json")
    monkeypatch.setenv(paths.INSECURE, "1")
    assert paths.skip_tls_verify()
    monkeypatch.delenv(paths.INSECURE)
    assert not paths.skip_tls_verify()


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}])
def test_without_home_the_password_database_knows(environ: dict[str, str]) -> None:
    pwd = pytest.importorskip("pwd")
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert paths.config_dir(environ, "linux") == f"{home}/.config/wire"


def test_a_user_without_any_home_is_told_what_to_set() -> None:
    # A user id that nobody has, in a process of its own.
    code = (
        "import os, sys\n"
        "from wire_rawsse.wire import paths\n"
        "from wire_rawsse.errors import RelayFileError\n"
        "try: os.setuid(3999999999)\n"
        "except OSError: sys.exit(77)\n"
        "try: paths.config_dir({}, 'linux')\n"
        "except RelayFileError as error: print(error)\n"
    )
    told = needs.told_by(code, why="needs root, to become a user that does not exist")
    assert told.count("\n") == 1
    assert "HOME is not set" in told
    assert "WIRE_HOME" in told


def test_a_windows_user_without_any_home_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "_home_of_user", lambda: None)  # As on Windows.
    with pytest.raises(RelayFileError, match=r"USERPROFILE is not set.*WIRE_HOME"):
        paths.state_dir({}, "win32")


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "yes", "yEs", "on", "ON"])
def test_what_turns_certificate_checks_off(value: str) -> None:
    assert paths.skip_tls_verify({paths.INSECURE: value})


@pytest.mark.parametrize("value", ["", "0", "false", "no", "off", "2", " 1", "on ", "ja", "1\n"])
def test_what_leaves_certificate_checks_on(value: str) -> None:
    assert not paths.skip_tls_verify({paths.INSECURE: value})
    assert not paths.skip_tls_verify({})


def run(code: str, **keywords: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, since the banner comes once a process."""
    program = f"from wire_rawsse.wire import paths\n{code}"
    return subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True, timeout=60)


def test_the_banner_comes_once_and_on_standard_error() -> None:
    done = run("for _ in range(3): paths.warn_insecure()")
    assert done.stdout == ""
    assert done.stderr.count("WARNING: WIRE_INSECURE_SKIP_TLS_VERIFY is set") == 1


def test_the_banner_comes_once_even_to_many_threads() -> None:
    done = run(
        "import threading\n"
        "gate = threading.Barrier(16)\n"
        "def go(): gate.wait(); paths.warn_insecure()\n"
        "threads = [threading.Thread(target=go) for _ in range(16)]\n"
        "for t in threads: t.start()\n"
        "for t in threads: t.join()\n"
    )
    assert done.stderr.count("WARNING") == 1


@pytest.mark.parametrize("broken", ["sys.stderr = None", "sys.stderr.close()", "sys.stderr = open('/dev/full', 'w')"])
def test_the_banner_never_raises(broken: str) -> None:
    if "/dev/full" in broken:
        needs.linux()
    assert (
        "still here"
        in run(f"import os, sys\n{broken}\npaths.warn_insecure()\nos.write(1, b'still here')\nos._exit(0)").stdout
    )
