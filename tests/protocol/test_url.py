"""URLs: what is accepted and what is made of it, what is refused before a byte is sent, and that no secret shows."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire_rawsse.errors import InvalidRequestError
from wire_rawsse.protocol import url as url_module
from wire_rawsse.protocol.url import Url, basic, parse_url, resolve


@pytest.mark.parametrize(
    ("text", "authority", "target"),
    [
        ("http://example.com", "example.com", "/"),
        ("http://example.com/", "example.com", "/"),
        ("http://example.com/a/b?c=d&e=/?", "example.com", "/a/b?c=d&e=/?"),
        ("http://example.com?c", "example.com", "/?c"),
        ("http://example.com?", "example.com", "/?"),
        ("HTTP://EXAMPLE.com/Path", "example.com", "/Path"),
        ("https://example.com", "example.com", "/"),
        # A port where it is not the scheme's own (RFC 9110 §7.2).
        ("http://example.com:80/", "example.com", "/"),
        ("https://example.com:443/", "example.com", "/"),
        ("http://example.com:443/", "example.com:443", "/"),
        ("https://example.com:80/", "example.com:80", "/"),
        ("http://example.com:/", "example.com", "/"),
        ("http://example.com:65535/", "example.com:65535", "/"),
        ("http://127.0.0.1:8770/v1", "127.0.0.1:8770", "/v1"),
        ("http://[::1]/", "[::1]", "/"),
        ("http://[2001:DB8::1]:8770/", "[2001:db8::1]:8770", "/"),
        ("http://[fe80::1%25eth0]:81/", "[fe80::1]:81", "/"),
        # The fragment is never sent (RFC 9110 §4.2.5).
        ("http://example.com/a#b?c", "example.com", "/a"),
        ("http://example.com#b", "example.com", "/"),
        # Characters that RFC 3986 does not allow are percent-encoded; encoded ones stay.
        ("http://example.com/a b", "example.com", "/a%20b"),
        ("http://example.com/ü?€", "example.com", "/%C3%BC?%E2%82%AC"),
        ("http://example.com/%41%zz", "example.com", "/%41%zz"),
        ('http://example.com/"<>\\^`{|}', "example.com", "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("http://bücher.example/", "xn--bcher-kva.example", "/"),
        ("http://a_b.example./", "a_b.example", "/"),
        ("http://user:pw@example.com/", "example.com", "/"),
    ],
)
def test_accepted(text: str, authority: str, target: str) -> None:
    url = parse_url(text)
    assert (url.authority, url.target) == (authority, target)
    assert url.scheme == text.partition(":")[0].lower()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://example.com/", "example.com", 80),
        ("https://example.com/", "example.com", 443),
        ("http://[::1]:8770/", "::1", 8770),
        # A zone is for the socket alone (RFC 6874 §4).
        ("http://[fe80::1%25eth0]/", "fe80::1%eth0", 80),
        # It is the name of an interface, and there "Eth0" is another than "eth0".
        ("http://[FE80::A%25Eth0]/", "fe80::a%Eth0", 80),
    ],
)
def test_where_it_connects_to(text: str, host: str, port: int) -> None:
    url = parse_url(text)
    assert (url.host, url.port) == (host, port)


@pytest.mark.parametrize("label", ["a", "\xe4", "\u5b57"])
def test_a_long_host_name_is_refused_before_idna(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding 15,000 labels takes 0.2 s of processor time, and a Location can hold them."""
    encoded: list[str] = []
    monkeypatch.setattr(url_module, "_idna", lambda host, what: encoded.append(host))
    with pytest.raises(InvalidRequestError, match="more than 255 characters"):
        parse_url("https://" + ".".join([label] * 15_000) + "/")
    assert encoded == []


def test_the_authority_form_always_has_the_port() -> None:
    assert parse_url("https://example.com/x").host_and_port == "example.com:443"
    assert parse_url("https://[::1]/x").host_and_port == "[::1]:443"


@pytest.mark.parametrize(
    ("text", "path", "target"),
    [
        ("unix:///run/wire.sock", "/run/wire.sock", "/"),
        ("unix:///run/wire.sock?path=/v1/x", "/run/wire.sock", "/v1/x"),
        ("unix:///run/wire.sock?path=%2Fv1%3Fsince%3D7%26limit%3D1", "/run/wire.sock", "/v1?since=7&limit=1"),
        ("unix:///run/a%20b.sock?path=/a b", "/run/a b.sock", "/a%20b"),
        ("unix:///run/wire.sock?", "/run/wire.sock", "/"),
        ("unix:/run/wire.sock", "/run/wire.sock", "/"),
    ],
)
def test_unix(text: str, path: str, target: str) -> None:
    url = parse_url(text)
    assert (url.scheme, url.socket_path, url.target, url.authority) == ("unix", path, target, "localhost")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must begin with http://"),
        ("seKret", "must begin with http://"),
        ("//seKret/", "must begin with http://"),
        ("ftp://seKret/", "must begin with http://"),
        ("ws://seKret/", "must begin with http://"),
        ("http:/seKret", "names no host"),
        ("http:seKret", "names no host"),
        ("http:///seKret", "names no host"),
        ("http://seKret\r\nHost: x/", "control character"),
        ("http://example.com/seKret\n", "control character"),
        ("http://example.com/\tseKret", "control character"),
        ("http://example.com/\0seKret", "control character"),
        ("http://example.com/\x7fseKret", "control character"),
        (" http://example.com/seKret", "space"),
        ("http://example.com/seKret ", "space"),
        ("http://example.com/seKret\u00a0", "space"),
        ("http://seKret:0/", "port"),
        ("http://seKret:65536/", "port"),
        ("http://seKret:8x/", "port"),
        ("http://seKret:+80/", "port"),
        ("http://seKret:٨٠/", "port"),
        ("http://seKret:80:80/", "port"),
        ("http://example.com:seKret@/", "host name"),
        ("http://user:seKret@:80/", "host name"),
        ("http://se Kret/", "host name"),
        ("http://seKret%00/", "host name"),
        ("http://[seKret]/", "IPv6"),
        ("http://[::1/seKret", "IPv6"),
        ("http://[::1]seKret/", "IPv6"),
        ("http://[127.0.0.1]/seKret", "IPv6"),
        ("http://[v1.seKret]/", "IPv6"),
        ("http://[fe80::1%25]/seKret", "IPv6"),
        ("http://[fe80::1%eth0]/seKret", "IPv6"),
        ("http://[fe80::1%25se Kret]/", "IPv6"),
        ("http://seKret..example/", "host name"),
        ("http://.seKret/", "host name"),
        ("http://seKret../", "host name"),
        ("http://./seKret", "host name"),
        (f"http://{'x' * 64}.seKret/", "host name"),
        ("http://seKret.1/", "ends in a number"),
        ("http://seKret／x/", "host name"),
        (f"http://{'ü' * 64}.seKret/", "host name"),
        ("http://example.com/\ud800seKret", "surrogate"),
        ("unix://seKret/run/x.sock", "absolute"),
        ("unix://user:seKret@/run/x.sock", "absolute"),
        ("unix:run/seKret", "absolute"),
        ("unix:///", "absolute"),
        ("unix:///run/x.sock?target=/seKret", "path="),
        ("unix:///run/x.sock?path=/a&b=seKret", "path="),
        ("unix:///run/x.sock?path=seKret", "begin with /"),
        ("unix:///run/x.sock?path=/%0d%0aseKret", "control character"),
        ("unix:///run/%00seKret", "control character"),
        ("unix:///run/%ffseKret", "UTF-8"),
    ],
)
def test_refused(text: str, why: str) -> None:
    """With a text that says why, and never quotes what it refuses: it may hold a password."""
    with pytest.raises(InvalidRequestError, match=why) as refused:
        parse_url(text, "relay's URL")
    assert "relay's URL" in str(refused.value)
    assert "ekret" not in str(refused.value).lower()
    assert refused.value.permanent


@pytest.mark.parametrize("value", [None, 7, b"http://example.com/"])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError, match="must be a str"):
        parse_url(value)  # type: ignore[arg-type]  # what a caller without a type checker may do


class TestUserinfo:
    @pytest.mark.parametrize(
        ("text", "pair"),
        [
            ("http://user:pass@example.com/", b"user:pass"),
            ("http://user@example.com/", b"user:"),
            ("http://:pass@example.com/", b":pass"),
            ("http://user:p:w@example.com/", b"user:p:w"),
            ("http://us%3Aer:p%40ss%2f@example.com/", b"us:er:p@ss/"),
            ("http://a@b:c@example.com/", b"a@b:c"),
            ("http://us%C3%BCr:%E2%82%AC@example.com/", "usür:€".encode()),
            ("http://usür:€@example.com/", "usür:€".encode()),
            ("http://100%:%4@example.com/", b"100%:%4"),
        ],
    )
    def test_becomes_basic_credentials(self, text: str, pair: bytes) -> None:
        url = parse_url(text)
        assert url.authorization == "Basic " + base64.b64encode(pair).decode()
        assert url.host == "example.com"

    def test_is_in_nothing_that_is_shown_or_sent_as_a_target(self) -> None:
        url = parse_url("https://user:seKret@example.com/path?token=seKret#seKret")
        assert url.redacted == "https://example.com/path"
        for text in (repr(url), str(url), url.redacted, url.authority, url.host_and_port):
            assert "seKret" not in text and "user" not in text
        assert "user" not in url.target

    def test_none(self) -> None:
        assert parse_url("http://example.com/").authorization is None
        assert parse_url("http://@example.com/").authorization is None


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/x.sock",
        "unix:///run/a%20b%25%3F%23.sock",
        "unix:///run/x.sock?path=/v1/a%20b",
        "unix:///run/x.sock?path=/v1%252Fa%26b",
        "http://example.com:81/a%2Fb",
        "https://[::1]/",
    ],
)
def test_shown_can_be_typed(url: str) -> None:
    assert parse_url(parse_url(url).redacted) == parse_url(url)


def test_shown_is_cut() -> None:
    for url in ("http://example.com/" + "x" * 60_000, "unix:///" + "x" * 60_000, "unix:///s?path=/" + "x" * 60_000):
        assert len(parse_url(url).redacted) == 300


def test_shown_has_the_place_and_the_path() -> None:
    assert parse_url("http://example.com:81/a?b").redacted == "http://example.com:81/a"
    assert parse_url("unix:///run/x.sock?path=/v1%3Ft=s").redacted == "unix:///run/x.sock?path=/v1"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        # RFC 3986 §5.4.1, against the base of that section.
        ("g:h", None),
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        (";x", "http://a/b/c/;x"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        # §5.4.2
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        ("..g", "http://a/b/c/..g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        # And what servers send.
        ("https://other:8443/x?y", "https://other:8443/x?y"),
        ("//other:81/x", "http://other:81/x"),
        ("/straße", "http://a/stra%C3%9Fe"),
        ("  /g  ", "http://a/g"),
        ("HTTP://A/g", "http://a/g"),
        ("?", "http://a/b/c/d;p?"),
    ],
)
def test_resolving_a_location(reference: str, expected: str | None) -> None:
    base = parse_url("http://a/b/c/d;p?q")
    if expected is None:
        with pytest.raises(InvalidRequestError):
            resolve(base, reference)
    else:
        assert resolve(base, reference) == parse_url(expected)


@pytest.mark.parametrize("reference", ["/a\r\nb", "http://x/\n", "//", "http://", "http://x:99999/", "mailto:a@b"])
def test_a_bad_location_is_refused(reference: str) -> None:
    with pytest.raises(InvalidRequestError, match="Location"):
        resolve(parse_url("http://example.com/"), reference)


def test_a_relative_location_keeps_the_userinfo_and_an_absolute_one_does_not() -> None:
    base = parse_url("http://user:pw@example.com/a")
    assert resolve(base, "/b").authorization == base.authorization
    assert resolve(base, "http://example.com/b").authorization is None
    assert resolve(base, "//other/b").authorization is None


def test_a_location_at_a_unix_socket() -> None:
    base = parse_url("unix:///run/x.sock?path=/a/b")
    assert resolve(base, "../c") == parse_url("unix:///run/x.sock?path=/c")
    with pytest.raises(InvalidRequestError, match="off a Unix-domain socket"):
        resolve(base, "//example.com/")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/x", "http://a:80/y?z", True),
        ("http://a/", "http://A/", True),
        ("http://a/", "https://a/", False),
        ("http://a/", "http://a:81/", False),
        ("http://a/", "http://b.a/", False),
        ("unix:///x", "unix:///x?path=/y", True),
        ("unix:///x", "unix:///y", False),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert (parse_url(one).origin == parse_url(other).origin) is same


def test_basic_has_no_line_breaks_in_it() -> None:
    assert base64.b64decode(basic("user:" + "x" * 500).removeprefix("Basic ")) == b"user:" + b"x" * 500


anything = st.text(max_size=60) | st.text("http://@:[]%?#.\\\r\n\0 aA0é", max_size=60)


@given(anything.map(lambda text: "http://" + text) | anything)
@example("http://[:]/")
@example("unix:///?path=%")
def test_any_text_is_either_refused_or_safe_to_send(text: str) -> None:
    try:
        url = parse_url(text)
    except InvalidRequestError:
        return
    _check_safe(url)


@given(anything)
def test_any_location_is_either_refused_or_safe_to_send(text: str) -> None:
    try:
        url = resolve(parse_url("http://example.com/a/b?c"), text)
    except InvalidRequestError:
        return
    _check_safe(url)


def _check_safe(url: Url) -> None:
    for sent in (url.target, url.authority, url.host_and_port, url.authorization or ""):
        assert sent.isascii() and sent.isprintable()
    assert url.target.startswith("/") and " " not in url.target
    assert " " not in url.authority
