"""`daemon --print-unit`: a unit that systemd itself accepts, and that starts the same daemon."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.conftest import missing

UNIT = "wire-rawsse.service"


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        missing("needs systemd-analyze: apt-get install systemd")
    return found


def printed(*arguments: str, home: Path, **options: str) -> str:
    done = run("daemon", *arguments, "--print-unit", home=home, environ=options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--exec", "true"),
        ("--exec", "sh -c 'echo \"$HOME\" 100% >> \\log; true'", "--interval", "60", "-v"),
        ("--exec", "true", "https://example.org/a?b=$c&d=%20", "--header", "X: a b", "--state-file", "state.json"),
    ],
    ids=["plain", "quoted", "url"],
)
def test_systemd_accepts_it(arguments: tuple[str, ...], analyze: str, home: Path, tmp_path: Path) -> None:
    unit = tmp_path / UNIT
    unit.write_text(printed(*arguments, home=home))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "user nobody" not in line]
    about_it = [line for line in lines if UNIT in line or str(unit) in line]
    assert (done.returncode, about_it) == (0, [])


def test_a_mistake_is_found(analyze: str, home: Path, tmp_path: Path) -> None:
    """So the test above would find one."""
    unit = tmp_path / UNIT
    unit.write_text(printed("--exec", "true", home=home).replace("ProtectClock=yes", "ProtectClock=perhaps"))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert f"{unit}:" in done.stderr and "perhaps" in done.stderr


def test_the_sandbox_is_tight(analyze: str, home: Path, tmp_path: Path) -> None:
    unit = tmp_path / UNIT
    unit.write_text(printed("--exec", "true", home=home))
    done = subprocess.run(
        [analyze, "security", "--offline=true", str(unit)], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip("needs systemd-analyze security --offline (systemd 250)")
    assert float(found[1]) < 3.0


def test_what_it_says(home: Path) -> None:
    text = printed("--exec", "wire pull", "--interval", "30", home=home, HTTPS_PROXY="http://me:s3cr3t@proxy:3128")
    assert "s3cr" not in text
    assert re.search(r'(?m)^ExecStart=/\S+ .*daemon --exec "wire pull" --interval 30$', text)
    assert f"Environment=WIRE_HOME={home}\n" in text
    assert f"ReadWritePaths={home}/state/wire\n" in text
    assert re.search(rf"install -d -m 700 -o \S+ {home}/state/wire\n", text)
    for line in ("Type=notify", "WatchdogSec=60", "RestartPreventExitStatus=64", f"WorkingDirectory={os.getcwd()}"):
        assert f"\n{line}\n" in text


def test_a_program_outside_the_usual_folders_is_found(home: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "mine"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    text = printed("--exec", "mine", home=home, PATH=f"{program.parent}:{os.environ['PATH']}")
    assert f"Environment=PATH={program.parent}:/usr/local/sbin:" in text


@pytest.mark.parametrize(("folder", "private"), [("/", "yes"), ("/tmp", "no"), ("/var/tmp", "no")])
def test_a_daemon_that_lives_in_a_temporary_folder_sees_it(folder: str, private: str, home: Path) -> None:
    """PrivateTmp=yes would hide its folder, and systemd could not start it."""
    if sys.executable.startswith(("/tmp/", "/var/tmp/")):
        private = "no"
    state = os.path.join(folder if folder != "/" else "/srv", "state.json")
    arguments = ("--exec", "true", "--state-file", state, "http://h/")
    done = run("daemon", *arguments, "--print-unit", home=Path("/"), cwd="/")
    assert f"\nPrivateTmp={private}\n" in done.stdout
    if folder != "/":
        done = run("daemon", "--exec", "true", "http://h/", "--print-unit", home=Path("/"), cwd=folder)
        assert f"\nPrivateTmp={private}\n" in done.stdout


def test_a_secret_of_the_environment_is_refused(home: Path) -> None:
    done = run(
        "daemon",
        "--exec",
        "true",
        "http://h/",
        "--token-env",
        "TOKEN",
        "--print-unit",
        home=home,
        environ={"TOKEN": "s3cr"},
    )
    assert done.returncode == 64 and "use --token-file" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sh")
def test_the_words_are_those_that_were_given(home: Path) -> None:
    """Read back by the rules of systemd.service(5), as far as this command line needs them."""
    command = "a 'b  c' \"$d\" %e \\\\f ; é\tg"
    start = next(line for line in printed("--exec", command, home=home).splitlines() if line.startswith("ExecStart="))
    quoted = re.search(r'--exec "((?:[^"\\]|\\.)*)"', start)
    assert quoted is not None
    read = re.sub(
        r"\\(x[0-9a-f]{2}|.)", lambda match: chr(int(match[1][1:], 16)) if match[1][0] == "x" else match[1], quoted[1]
    )
    assert read.replace("$$", "$").replace("%%", "%") == command
