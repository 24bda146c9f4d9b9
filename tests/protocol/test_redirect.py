"""The target of a redirect, and the parts of the request that go there."""

from __future__ import annotations

import pytest

from tests.support.listen import told
from wire_rawsse.errors import RedirectError
from wire_rawsse.protocol.redirect import Hop, follow
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.url import parse_url


def response_with(*fields: tuple[str, str], status: int = 200, reason: str = "OK") -> Response:
    return Response(status, reason, fields)


class TestRedirects:
    def hop(self, url: str = "http://example.com/a/b?c", method: bytes = b"GET", body: bytes | None = None) -> Hop:
        return Hop(parse_url(url), method, body, credentials=True)

    def go(self, location: str | None, hop: Hop | None = None, status: int = 302) -> Hop:
        fields = () if location is None else (("location", location),)
        return follow(response_with(*fields, status=status), hop or self.hop())

    @pytest.mark.parametrize(
        ("location", "expected"),
        [
            ("http://other/x", "http://other/x"),
            ("/x", "http://example.com/x"),
            ("x", "http://example.com/a/x"),
            ("?y", "http://example.com/a/b?y"),
            ("//other:81/x", "http://other:81/x"),
            ("https://example.com/x#fragment", "https://example.com/x"),
            ("/straße".encode().decode("latin-1"), "http://example.com/stra%C3%9Fe"),
        ],
    )
    def test_where_to(self, location: str, expected: str) -> None:
        assert self.go(location).url == parse_url(expected)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_get_stays_a_get(self, status: int) -> None:
        hop = self.go("/x", status=status)
        assert (hop.method, hop.body) == (b"GET", None)

    @pytest.mark.parametrize(("status", "kept"), [(301, False), (302, False), (303, False), (307, True), (308, True)])
    def test_a_post(self, status: int, kept: bool) -> None:
        hop = self.go("/x", self.hop(method=b"POST", body=b"b"), status)
        assert (hop.method, hop.body) == ((b"POST", b"b") if kept else (b"GET", None))

    @pytest.mark.parametrize(("status", "kept"), [(301, True), (302, True), (303, False), (307, True), (308, True)])
    def test_any_other_method(self, status: int, kept: bool) -> None:
        hop = self.go("/x", self.hop(method=b"REPORT", body=b"b"), status)
        assert (hop.method, hop.body) == ((b"REPORT", b"b") if kept else (b"GET", None))

    @pytest.mark.parametrize(
        ("location", "kept"),
        [
            ("/x", True),
            ("http://EXAMPLE.com:80/x", True),
            ("http://example.com:81/x", False),
            ("https://example.com/x", False),
            ("http://www.example.com/x", False),
        ],
    )
    def test_credentials_stay_within_the_origin(self, location: str, kept: bool) -> None:
        hop = self.go(location, self.hop("http://user:pw@example.com/"))
        assert hop.credentials is kept
        assert (hop.url.authorization is not None) is kept

    def test_credentials_that_were_dropped_do_not_come_back(self) -> None:
        there = self.go("http://other/", self.hop("http://user:pw@example.com/"))
        back = self.go("http://example.com/", there)
        assert back.credentials is False
        assert back.url.authorization is None

    def test_https_to_http_is_refused_for_good(self) -> None:
        with pytest.raises(RedirectError, match="from https to http") as refused:
            self.go("http://example.com/", self.hop("https://example.com/"))
        assert refused.value.permanent

    @pytest.mark.parametrize(
        ("url", "location"),
        [
            ("unix:///run/x.sock", "http://localhost/"),
            ("unix:///run/x.sock", "https://localhost/"),
            ("unix:///run/x.sock", "unix:///run/y.sock"),
            ("http://example.com/", "unix:///run/x.sock"),
            ("https://example.com/", "unix:///run/x.sock?path=/"),
        ],
    )
    def test_on_or_off_a_unix_socket_is_refused_for_good(self, url: str, location: str) -> None:
        with pytest.raises(RedirectError, match="Unix-domain socket") as refused:
            self.go(location, self.hop(url))
        assert refused.value.permanent

    def test_within_a_unix_socket(self) -> None:
        hop = self.go("/x?y", self.hop("unix:///run/x.sock?path=/a"))
        assert (hop.url.socket_path, hop.url.target, hop.credentials) == ("/run/x.sock", "/x?y", True)

    @pytest.mark.parametrize(
        "location", [None, "", " ", "#", "#there", "http://", "mailto:x@y", "http://x:0/", "/a\x7fb", "ftp://x/", "//"]
    )
    def test_one_that_leads_nowhere_is_refused_for_good(self, location: str | None) -> None:
        with pytest.raises(RedirectError, match=r"^http://example\.com/a/b answered 302") as refused:
            self.go(location)
        assert refused.value.permanent

    @pytest.mark.parametrize("location", ["", "#there"])
    def test_a_get_after_a_post_may_be_of_the_same_url(self, location: str) -> None:
        hop = self.go(location, self.hop(method=b"POST", body=b"b"), status=303)
        assert (hop.method, hop.url) == (b"GET", self.hop().url)

    def test_two_locations(self) -> None:
        """Which of them is meant, nobody can know; the same one twice is one."""
        same = response_with(("location", "/x"), ("location", "/x"), status=302)
        assert follow(same, self.hop()).url.target == "/x"
        with pytest.raises(RedirectError, match="several Locations") as refused:
            follow(response_with(("location", "/x"), ("location", "/y"), status=302), self.hop())
        assert refused.value.permanent

    def test_a_bad_location_is_not_quoted(self) -> None:
        with pytest.raises(RedirectError) as refused:
            self.go("http://seKret:seKret/")
        assert "seKret" not in told(refused.value)
