"""Which proxy the environment names for which URL, as reqwest reads it; and that its password never shows."""

from __future__ import annotations

import base64

import pytest

from tests.support.listen import told
from wire_rawsse.errors import ProxyError
from wire_rawsse.protocol.proxy import proxy_for
from wire_rawsse.protocol.url import parse_url

HTTP = "http://example.com/x"
HTTPS = "https://example.com/x"


def chosen(url: str, **environ: str) -> str | None:
    """The authority of the proxy for `url`."""
    proxy = proxy_for(parse_url(url), environ)
    return None if proxy is None else str(proxy)


class TestWhichVariable:
    @pytest.mark.parametrize(
        ("environ", "for_http", "for_https"),
        [
            ({}, None, None),
            ({"HTTP_PROXY": "http://h:1"}, "h:1", None),
            ({"http_proxy": "http://h:1"}, "h:1", None),
            ({"HTTPS_PROXY": "http://s:1"}, None, "s:1"),
            ({"https_proxy": "http://s:1"}, None, "s:1"),
            ({"ALL_PROXY": "http://a:1"}, "a:1", "a:1"),
            ({"all_proxy": "http://a:1"}, "a:1", "a:1"),
            ({"HTTP_PROXY": "http://h:1", "ALL_PROXY": "http://a:1"}, "h:1", "a:1"),
            ({"https_proxy": "http://s:1", "ALL_PROXY": "http://a:1"}, "a:1", "s:1"),
            ({"HTTP_PROXY": "http://h:1", "HTTPS_PROXY": "http://s:1"}, "h:1", "s:1"),
            # Upper case comes first, also where it is empty.
            ({"HTTP_PROXY": "http://h:1", "http_proxy": "http://i:1"}, "h:1", None),
            ({"HTTP_PROXY": "", "http_proxy": "http://i:1"}, None, None),
            ({"HTTP_PROXY": "", "ALL_PROXY": "http://a:1"}, "a:1", "a:1"),
            ({"HTTP_PROXY": "  "}, None, None),
            ({"Http_Proxy": "http://h:1"}, None, None),
            ({"PROXY": "http://h:1"}, None, None),
        ],
    )
    def test_is_read(self, environ: dict[str, str], for_http: str | None, for_https: str | None) -> None:
        assert (chosen(HTTP, **environ), chosen(HTTPS, **environ)) == (for_http, for_https)

    def test_http_proxy_is_ignored_in_a_cgi_program(self) -> None:
        """Anyone who sends a request can set HTTP_PROXY there, by a field called `Proxy`; and nothing else."""
        assert chosen(HTTP, HTTP_PROXY="http://h:1", REQUEST_METHOD="GET") is None
        assert chosen(HTTP, HTTP_PROXY="http://h:1", REQUEST_METHOD="") is None
        assert chosen(HTTP, HTTP_PROXY="http://h:1", http_proxy="http://i:1", REQUEST_METHOD="GET") == "i:1"
        assert chosen(HTTP, HTTP_PROXY="http://h:1", ALL_PROXY="http://a:1", REQUEST_METHOD="GET") == "a:1"
        assert chosen(HTTPS, HTTPS_PROXY="http://s:1", REQUEST_METHOD="GET") == "s:1"

    def test_a_unix_socket_has_none(self) -> None:
        assert chosen("unix:///run/x.sock", ALL_PROXY="http://a:1", HTTP_PROXY="http://h:1") is None


class TestItsForm:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("http://proxy:3128", "proxy:3128"),
            ("http://proxy:3128/", "proxy:3128"),
            ("HTTP://proxy", "proxy"),
            ("proxy:3128", "proxy:3128"),
            ("proxy", "proxy"),
            ("127.0.0.1:3128", "127.0.0.1:3128"),
            ("http://[::1]:3128", "[::1]:3128"),
            (" http://proxy:3128 ", "proxy:3128"),
            ("user:pass@proxy:3128", "proxy:3128"),
        ],
    )
    def test_is_understood(self, value: str, expected: str) -> None:
        assert chosen(HTTP, HTTP_PROXY=value) == expected

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            ("socks5://user:seKret@proxy:1080", "socks5"),
            ("socks5h://seKret:1080", "socks5h"),
            ("SOCKS4://seKret", "socks4"),
            ("https://user:seKret@proxy", "https"),
            ("ftp://seKret", "ftp"),
        ],
    )
    def test_another_kind_is_an_error_and_never_a_direct_connection(self, value: str, kind: str) -> None:
        with pytest.raises(
            ProxyError, match=f"ALL_PROXY names a proxy of the kind {kind}://, expected http://"
        ) as error:
            chosen(HTTPS, ALL_PROXY=value)
        assert "NO_PROXY" in str(error.value)
        assert not error.value.permanent
        assert "seKret" not in told(error.value)

    def test_a_kind_that_is_none_is_not_repeated(self) -> None:
        """It may be a password with a colon in the wrong place, and it may be as long as the environment."""
        with pytest.raises(ProxyError, match="ALL_PROXY names a proxy of an unknown kind") as error:
            chosen(HTTPS, ALL_PROXY="seKret" + "x" * 1000 + "://proxy")
        assert "sekret" not in told(error.value).lower()

    @pytest.mark.parametrize(
        "value",
        ["http://", "http://user:seKret@", "http://seKret:0", "http://se Kret", "seKret:port", "http://[seKret]"],
    )
    def test_a_malformed_one_is_an_error_and_not_quoted(self, value: str) -> None:
        with pytest.raises(
            ProxyError, match=r"HTTP_PROXY .* expected to be http://\[user:password@\]host:port"
        ) as error:
            chosen(HTTP, HTTP_PROXY=value)
        assert not error.value.permanent
        assert "ekret" not in told(error.value).lower()

    def test_its_credentials(self) -> None:
        proxy = proxy_for(parse_url(HTTP), {"HTTP_PROXY": "http://us%40er:pass%3aword@proxy:3128"})
        assert proxy is not None
        assert proxy.url.authorization == "Basic " + base64.b64encode(b"us@er:pass:word").decode()
        for text in (str(proxy), repr(proxy), f"{proxy.url!r}"):
            assert "pass" not in text and "us" not in text


class TestExceptions:
    @pytest.mark.parametrize(
        ("exceptions", "host", "direct"),
        [
            ("example.com", "example.com", True),
            ("example.com", "www.example.com", True),
            ("example.com", "a.b.example.com", True),
            (".example.com", "www.example.com", True),
            (".example.com", "example.com", True),
            ("example.com", "notexample.com", False),
            ("example.com", "example.com.evil", False),
            ("example.com", "com", False),
            ("www.example.com", "example.com", False),
            ("EXAMPLE.com", "www.Example.COM", True),
            ("example.com", "example.com.", True),
            ("a.test, example.com ,b.test", "example.com", True),
            ("a.test,,b.test", "example.com", False),
            ("", "example.com", False),
            (",", "example.com", False),
            (".", "example.com", False),
            ("*", "example.com", True),
            ("*", "127.0.0.1", True),
            ("*", "[::1]", True),
            (" * ", "example.com", True),
            ("a.test,*", "example.com", True),
            ("127.0.0.1", "127.0.0.1", True),
            ("127.0.0.1", "127.0.0.2", False),
            ("127.0.0.0/8", "127.200.0.1", True),
            ("127.0.0.1/8", "127.200.0.1", True),
            ("10.0.0.0/8,192.168.0.0/16", "192.168.7.7", True),
            ("10.0.0.0/8", "127.0.0.1", False),
            ("::1", "[::1]", True),
            ("[::1]", "[::1]", True),
            ("0:0::1", "[::1]", True),
            ("fe80::/10", "[fe80::7]", True),
            ("fe80::/10", "[2001:db8::1]", False),
            ("10.0.0.0/99", "10.0.0.1", False),
            # An address is no name, and the other way round.
            ("0.1", "127.0.0.1", False),
            ("localhost", "127.0.0.1", False),
        ],
    )
    def test_no_proxy(self, exceptions: str, host: str, direct: bool) -> None:
        for url in (f"http://{host}/", f"https://{host}:8443/x"):
            for name in ("NO_PROXY", "no_proxy"):
                found = proxy_for(parse_url(url), {"ALL_PROXY": "http://a:1", name: exceptions})
                assert (found is None) is direct

    def test_upper_case_comes_first(self) -> None:
        assert chosen(HTTP, HTTP_PROXY="h", NO_PROXY="example.com", no_proxy="other") is None
        assert chosen(HTTP, HTTP_PROXY="h", NO_PROXY="", no_proxy="example.com") == "h"

    def test_it_is_the_way_out_of_a_kind_that_we_do_not_speak(self) -> None:
        assert chosen(HTTP, ALL_PROXY="socks5://x", NO_PROXY="example.com") is None
