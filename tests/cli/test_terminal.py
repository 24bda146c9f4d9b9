"""The output for a terminal only: colours, the quiet line of a long silence, and nothing that could command it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.fixtures import Serve
from tests.support.server import OPEN, Peer, request, send, stall

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a Unix matter")

if sys.platform != "win32":
    from tests.cli.terminal import ERASE, Terminal

EVENT = b"event: tick\ndata: one\n\n"


def test_the_type_is_bold_on_a_terminal(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENT), stall])
    with Terminal("listen", "--count", "1", server.url, home=home) as terminal:
        assert terminal.end() == 0
        assert "\x1b[1mtick\x1b[22m: one\r\n" in terminal.written


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}], ids=["no", "dumb", "none"])
def test_no_colour_where_none_is_wanted(environ: dict[str, str], serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENT), stall])
    with Terminal("listen", "--count", "1", server.url, home=home, environ=environ) as terminal:
        assert terminal.end() == 0
        assert "tick: one\r\n" in terminal.written and "\x1b[1m" not in terminal.written


def test_an_empty_no_color_does_not_count(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENT), stall])
    with Terminal("listen", "--count", "1", server.url, home=home, environ={"NO_COLOR": ""}) as terminal:
        assert terminal.end() == 0 and "\x1b[1m" in terminal.written


def test_an_event_cannot_command_the_terminal(serve: Serve, home: Path) -> None:
    evil = "event: a\x1b]0;x\x07b\ndata: \x1b[2J\x9b31m\tgone\x00\ndata: end\n\n".encode()
    server = serve([request, send(OPEN + evil), stall])
    with Terminal("listen", "--count", "1", server.url, home=home, environ={"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 0
        assert terminal.screen.strip() == "a\\x1b]0;x\\x07b: \\x1b[2J\\x9b31m\tgone\\x00\nend"


TERMS = pytest.mark.parametrize("term", ["xterm", "dumb", "", None], ids=["xterm", "dumb", "empty", "unset"])
HOSTILE = (
    *("\x00\x07\x08\x0b\x0c\x0e\x1a\x1b[2J\x1b]0;title\x07\x7f", "\x80\x85\x90\x9b31m\x9c\x9d\x9f"),
    *("\u061c\u200e\u200f", "\u202a\u202b\u202c\u202d\u202e", "\u2066\u2067\u2068\u2069", "\u2028\u2029"),
    *("\u180e\u2060\u2064\u206a\u206f\ufeff", "\ufff9\ufffa\ufffb", "\U000e0001\U000e0041\U000e007f"),
)
"""Characters that command a terminal, reorder or hide text: ECMA-48, UAX #9, and other format characters."""
KEPT = "café 你好 \u05e9\u05dc\u05d5\u05dd \u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f680 a\u00adb"


@TERMS
def test_nothing_of_an_event_commands_any_terminal(term: str | None, serve: Serve, home: Path) -> None:
    """Whatever TERM says: a terminal is a terminal, and only its colours depend on it."""
    hostile = "".join(HOSTILE)
    event = f"event: type{hostile}\ndata: {hostile}{KEPT}\ndata: \tend\n\n".encode()
    server = serve([request, send(OPEN + event), stall])
    environ = {"TERM": term or "", "NO_COLOR": "1"}
    without = ("TERM",) if term is None else ()
    with Terminal("listen", "--count", "1", server.url, home=home, environ=environ, without=without) as terminal:
        assert terminal.end() == 0
    escaped = "".join(ascii(character)[1:-1] for character in hostile)
    assert terminal.written == f"type{escaped}: {escaped}{KEPT}\r\n\tend\r\n"


@TERMS
def test_nothing_of_an_error_commands_any_terminal(term: str | None, serve: Serve, home: Path) -> None:
    answer = f"HTTP/1.1 403 No{''.join(HOSTILE)}\r\nContent-Length: 0\r\n\r\n".replace("\x00", "").encode()
    server = serve([request, send(answer)])
    environ = {"TERM": term or "", "NO_COLOR": "1"}
    without = ("TERM",) if term is None else ()
    with Terminal("listen", server.url, home=home, environ=environ, without=without) as terminal:
        terminal.until(r"\r\n")
    shown = terminal.written.partition("\r\n")[0].rpartition(ERASE)[2]
    assert shown.isprintable() and shown.startswith("wire-rawsse listen: ")


def test_a_long_silence_shows_state_age_and_deadline_and_disturbs_nothing(serve: Serve, home: Path) -> None:
    def speak_when_told(peer: Peer) -> None:
        while not told.exists():
            if peer.server.closing.wait(0.01):
                return
        peer.sock.sendall(EVENT)

    told = home / "told"
    server = serve([request, send(OPEN + EVENT), speak_when_told, stall])
    with Terminal("listen", "--read-timeout", "4", "--count", "2", server.url, home=home) as terminal:
        terminal.until(r"listening · last byte [01] s ago · given up in [234] s")
        terminal.until(r"given up in [12] s")  # It is renewed.
        told.touch()
        assert terminal.end() == 0
        assert terminal.screen.strip() == "tick: one\ntick: one"
        # It was taken away before the event was written, not after.
        assert ERASE + "\x1b[1mtick" in terminal.written


def test_it_is_kept_out_of_a_pipe(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENT), stall])
    reader, writer = os.pipe()
    with Terminal("listen", "--json", "--read-timeout", "8", server.url, home=home, stdout=writer) as terminal:
        os.close(writer)
        terminal.until("listening · ")  # Standard error is a terminal: it is shown there.
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert terminal.screen.strip() == ""
    with open(reader) as pipe:
        assert pipe.read() == '{"type":"tick","data":"one","id":""}\n'


def test_without_a_terminal_on_standard_error_there_is_none(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENT), stall], [request, stall])
    reader, writer = os.pipe()
    with Terminal("listen", "--read-timeout", "0.4", server.url, home=home, stderr=writer) as terminal:
        os.close(writer)
        server.until_asked(2)  # It was silent long enough to be found dead.
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert terminal.screen.strip() == "tick: one"
    with open(reader) as pipe:
        assert ERASE not in pipe.read()


def test_a_heartbeat_renews_the_age_and_does_not_end_the_line(serve: Serve, home: Path) -> None:
    def beat(peer: Peer) -> None:
        while not peer.server.closing.wait(0.1):
            peer.sock.sendall(b": still here\n\n")

    server = serve([request, send(OPEN), beat])
    with Terminal("listen", "--read-timeout", "2", server.url, home=home) as terminal:
        terminal.until(r"(listening · last byte 0 s ago · given up in 2 s[^·]*){3}")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130


def test_a_pause_says_when_the_next_attempt_is(home: Path) -> None:
    # Port 9 of a loopback address that nobody listens on.
    with Terminal("listen", "--read-timeout", "1", "http://127.83.1.7:9/", home=home) as terminal:
        terminal.until(r"waiting to try again · nothing came yet · next attempt in \d s")
        terminal.until(r"trying again in")
        assert "wire-rawsse listen: " in terminal.screen
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143


def test_a_narrow_terminal_is_not_filled_beyond_its_edge(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENT), stall])
    environ = {"NO_COLOR": "1"}
    arguments = ("listen", "--read-timeout", "2", server.url)
    with Terminal(*arguments, home=home, environ=environ, columns=20) as terminal:
        terminal.until(r"listening · last by")
        time.sleep(0.05)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert all(len(part) <= 20 for part in terminal.written.replace("\n", ERASE).split(ERASE))


def test_in_an_ascii_locale_the_line_is_ascii(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + EVENT), stall])
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Terminal("listen", "--read-timeout", "2", server.url, home=home, environ=environ) as terminal:
        terminal.until(r"listening - last byte")
        assert terminal.written.isascii()
