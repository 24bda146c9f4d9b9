"""The one place through which foreign text goes: nothing of a secret is shown, our own words and public text are."""

from __future__ import annotations

import base64
import errno
import os
import socket
import ssl
import tracemalloc
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cost import lines_run
from tests.support.listen import told
from wire_rawsse.errors import DialError, MalformedResponseError, StatusError, TrustError, WireRawSSEError
from wire_rawsse.foreign import File
from wire_rawsse.protocol.redirect import Hop
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.redact import Secrets
from wire_rawsse.transport.certificates import Content

SECRET = "AbCdEfGh-0123456789"
TOKEN = "Zq7xW9vKmPf2TgB8nJ4cRh6Y"


@given(st.text("AbCdEfGh-0123456789 x\n", max_size=120), st.booleans())
def test_a_quotation_shows_no_piece_of_a_secret(text: str, raw: bool) -> None:
    """Nor more than 80 characters, nor any that is not printable ASCII."""
    shown = Secrets([SECRET, ""]).quote(text.encode() if raw else text)
    assert not [start for start in range(len(SECRET) - 3) if SECRET[start : start + 4] in shown]
    assert len(shown) == min(len(text), 80)
    assert shown.removesuffix("…").isascii() and shown.isprintable()
    assert shown.endswith("…") is (len(text) > 80)


@given(st.text(max_size=200), st.lists(st.text(max_size=30), max_size=4))
def test_any_text_and_any_secrets(text: str, values: list[str]) -> None:
    shown = Secrets(values).quote(text)
    assert len(shown) == min(len(text), 80) and shown.isprintable()


def json_escaped(text: str) -> str:
    return "".join(f"\\u{ord(one):04x}" for one in text)


ECHOES = {
    "plain": TOKEN,
    "upper": TOKEN.upper(),
    "mixed": TOKEN.swapcase(),
    "percent-encoded": "".join(f"%{ord(one):02X}" for one in TOKEN),
    "percent-encoded in part": f"%{ord(TOKEN[0]):02x}{TOKEN[1:]}",
    "json": json_escaped(TOKEN),
    "html": "".join(f"&#{ord(one)};" for one in TOKEN),
    "html in hexadecimal": "".join(f"&#x{ord(one):x};" for one in TOKEN),
    "base64": base64.b64encode(TOKEN.encode()).decode(),
    "base64 behind one": base64.b64encode(b"x" + TOKEN.encode() + b"yz").decode(),
    "base64 behind two": base64.b64encode(b"xx" + TOKEN.encode() + b"y").decode(),
    "hexadecimal": TOKEN.encode().hex(),
    "folded": TOKEN[:3] + "\r\n " + TOKEN[3:6] + "\r\n\t" + TOKEN[6:],
    "with controls": "\0".join(TOKEN),
    "a part": TOKEN[5:9],
    "percent-encoded twice": "".join(f"%25{ord(one):02X}" for one in TOKEN),
    "percent-encoded in json": "".join(f"\\u0025{ord(one):02X}" for one in TOKEN),
    "escaped by JavaScript": "".join(f"%u{ord(one):04X}" for one in TOKEN),
    "escaped by newer JavaScript": "".join(f"\\u{{{ord(one):x}}}" for one in TOKEN),
    "octal": "".join(f"\\{ord(one):03o}" for one in TOKEN),
    "in eight digits": "".join(f"\\U{ord(one):08x}" for one in TOKEN),
    "html without semicolons": "".join(f"&#{ord(one):07}" for one in TOKEN),
    "quoted by a shell": "\\ ".join(TOKEN),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_every_form_of_a_secret_is_masked(echo: str) -> None:
    # The characters of base64 at both ends depend on the neighbours as well.
    edge = 3 if "base64" in next(name for name, one in ECHOES.items() if one == echo) else 0
    for before in ("", "x" * 70, "x" * 78):
        masked = Secrets([TOKEN]).mask(f"{before} {echo} .")[len(before) + 1 : -2]
        assert "*" in masked and set(masked[edge : len(masked) - edge]) <= {"*"}
        assert len(Secrets([TOKEN]).quote(f"{before} {echo} .").replace("*", "").strip(" .x…")) <= 2 * edge


@pytest.mark.parametrize("secret", ["123456789012x", "ab12cd34ef56x", "u00e9Kx72pLm4", "x4b7Kq9zP2wTx"])
@pytest.mark.parametrize("before", ["\\", "%", "&#", "&#x", "\\u", "\\x", "%u", "\\U", "\\%31", "%%32%35"])
def test_what_looks_like_an_escape_hides_nothing_after_it(before: str, secret: str) -> None:
    """It would take the first characters of the secret with it."""
    secrets = Secrets([secret])
    text = f"a path C:{before}{secret} of ours"
    assert secret not in secrets.mask(text) and secret[:5] not in secrets.mask(text)
    error = MalformedResponseError(text)
    secrets.cleanse(error)
    assert secret not in str(error)


def test_a_secret_that_is_percent_encoded_itself() -> None:
    secrets = Secrets([urllib.parse.quote("päss wörd/1")])
    assert "ss w" not in secrets.quote("you sent päss wörd/1") and "rd/1" not in secrets.quote("päss wörd/1")


@pytest.mark.parametrize(
    ("value", "shown"), [("123", "a pin: ***, 12"), ("12", "a pin: 123, 12"), ("", "a pin: 123, 12")]
)
def test_short_secrets(value: str, shown: str) -> None:
    """Three characters are masked; fewer are no secret, and are in any text."""
    assert Secrets([value]).quote("a pin: 123, 12") == shown


def test_their_size_is_bounded_and_the_latest_are_kept() -> None:
    secrets = Secrets(["first of all"])
    for number in range(200):
        secrets.add(TOKEN, f"query-{number:08}-" + "x" * 1000)
    assert secrets.quote(TOKEN) == "*" * len(TOKEN)
    assert secrets.quote("query-00000199") == "*" * 14
    assert secrets.quote("first of all") == "first of all"


def test_many_small_ones_of_one_request_are_all_kept() -> None:
    """A query or a list of headers of 60 KB: the first value may be the token."""
    secrets = Secrets([TOKEN, *(f"{number:020}" for number in range(3000))])
    assert secrets.quote(TOKEN) == "*" * len(TOKEN)


def test_the_cost_does_not_grow_with_the_secrets_and_the_text() -> None:
    """A response of 50 header fields, quoted beside a query of 60 KB, took 2.5 s when each run was searched for.

    Counted in lines of Python, once the secrets have been prepared: 32 times the secrets take no more of them.
    """
    digits = "".join(f"{number * 7919 % 100000:05}/x-" for number in range(40))
    text = digits.translate(str.maketrans("0123456789", "zyxwvutsrq"))  # No piece of it is one of a secret.

    def cost(*values: str) -> int:
        secrets = Secrets(values)
        secrets.quote(text, 200)  # Prepares them.

        def work() -> None:
            secrets.quote(text, 200)
            secrets.shows(text * 50)

        return lines_run(work)

    assert cost(TOKEN * 2500) <= cost(TOKEN * 80)
    assert cost(*(f"{TOKEN}{number}" for number in range(2560))) <= cost(*(f"{TOKEN}{number}" for number in range(80)))
    assert cost("%4a" * 20000) <= cost("%4a" * 625)


def test_nothing_of_one_is_in_its_repr() -> None:
    assert TOKEN not in repr(Secrets([TOKEN])) and TOKEN not in str(Secrets([TOKEN]))


def test_nor_in_that_of_what_holds_a_request_or_a_file() -> None:
    hop = Hop(parse_url(f"http://u:{TOKEN}@x/?{TOKEN}"), b"POST", TOKEN.encode(), credentials=True)
    for one in (hop, File(TOKEN.encode(), 0o100600), Content("/key", 3, TOKEN.encode())):
        assert TOKEN not in repr(one) and TOKEN not in f"{one}"


def test_what_comparing_takes_is_given_back() -> None:
    """A query of 60 KB would take 6 MB of a daemon that sleeps."""
    secrets = Secrets(["".join(f"{number:05}" for number in range(12_000))])
    for settle in (secrets.settle, lambda: secrets.cleanse(WireRawSSEError("x"))):
        tracemalloc.start()
        secrets.quote(TOKEN)
        settle()
        left, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert left < most / 20


class TestAnErrorThatLeaves:
    def test_our_own_words_stay(self) -> None:
        """Even where a token holds them."""
        error = StatusError(403, "http://x/stream answered 403, expected text/event-stream")
        before = str(error)
        Secrets(["event-stream-token-1", "answered", "text/event-stream/9"]).cleanse(error)
        assert str(error) == before

    def test_a_whole_secret_is_masked_wherever_it_came_from(self) -> None:
        error = StatusError(503, f"x {TOKEN.upper()} y", retry_after=TOKEN)
        Secrets([TOKEN]).cleanse(error)
        assert TOKEN.lower() not in told(error).lower() and TOKEN not in str(vars(error))

    def test_what_the_url_shows_anyway_is_not(self) -> None:
        error = WireRawSSEError("http://localhost:8080/x was silent")
        Secrets(["localhost:8080"], shown="http://localhost:8080/x").cleanse(error)
        assert str(error) == "http://localhost:8080/x was silent"

    @pytest.mark.parametrize("length", [499, 500, 501, 60_000])
    def test_it_is_cut(self, length: int) -> None:
        error = TrustError("x" * length)
        Secrets().cleanse(error)
        assert len(str(error)) == min(length, 500)

    def test_it_is_one_line(self) -> None:
        error = TrustError("the file a\nb\x1b[2J\u202e")
        Secrets().cleanse(error)
        assert str(error) == "the file a.b.[2J."

    @pytest.mark.parametrize(
        "cause",
        [
            ssl.SSLCertVerificationError(1, f"Hostname mismatch, certificate is not valid for '{TOKEN}.test'"),
            OSError(errno.ENOENT, "No such file", f"/run/{TOKEN}"),
            UnicodeEncodeError("idna", TOKEN, 0, 1, "label too long"),
            ValueError(f"part of it: {TOKEN[3:9]}"),
            KeyError("x" * 100_000),
        ],
    )
    def test_a_cause_that_quotes_does_not_survive(self, cause: Exception) -> None:
        for chain in (_raised(cause), _raised(cause, between=MalformedResponseError("x"))):
            Secrets([TOKEN]).cleanse(chain)
            assert TOKEN not in told(chain) and TOKEN[3:9] not in told(chain)
            assert cause not in _chain(chain)

    def test_a_cause_that_quotes_nothing_does(self) -> None:
        """The system's own words are no secret, whatever the token is."""
        for cause in (
            OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)),
            socket.gaierror(socket.EAI_NONAME, "unknown"),
            RuntimeError("mine"),
        ):
            error = _raised(cause)
            Secrets(["refused-0123"]).cleanse(error)
            assert error.__cause__ is cause

    def test_the_attempts_of_a_dial(self) -> None:
        bad = OSError(errno.EINVAL, f"AF_UNIX path too long: {TOKEN}")
        good = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        error = DialError("x", [(f"/run/{TOKEN}", bad), ("/y", good)])
        Secrets([TOKEN]).cleanse(error)
        assert TOKEN not in repr(error.attempts)
        assert error.attempts[0][1].errno == errno.EINVAL and error.attempts[1] == ("/y", good)

    def test_a_circle_of_causes(self) -> None:
        one, two = WireRawSSEError("one"), WireRawSSEError("two")
        one.__cause__, two.__cause__ = two, one
        Secrets([TOKEN]).cleanse(one)


def _raised(cause: BaseException, between: WireRawSSEError | None = None) -> WireRawSSEError:
    try:
        try:
            if between is not None:
                raise between from cause
            raise cause
        except BaseException as caught:
            raise WireRawSSEError("ours") from caught
    except WireRawSSEError as error:
        return error


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
