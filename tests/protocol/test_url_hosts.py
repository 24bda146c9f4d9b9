"""Which hosts a URL may have: addresses in one form, names that DNS can hold and that belong to one owner."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_rawsse.errors import InvalidRequestError
from wire_rawsse.protocol.url import parse_url, resolve

IPV6 = {
    "::": True,
    "::1": True,
    "1::": True,
    "1:2:3:4:5:6:7:8": True,
    "1:2:3:4:5:6:7::": True,
    "::2:3:4:5:6:7:8": True,
    "::ffff:127.0.0.1": True,
    "64:ff9b::192.0.2.33": True,
    "1:2:3:4:5:6:1.2.3.4": True,
    "ABCD:EF01::2345": True,
    ":": False,
    ":::": False,
    "0::0::0": False,
    "0:1:2:3:4:5:6:7:8": False,
    "1:2:3:4:5:6:7": False,
    "1:2:3:4::5:6:7:8": False,
    "::127.0.0.0.1": False,
    "::127.0.0": False,
    "::256.0.0.1": False,
    "::01.2.3.4": False,
    "1.2.3.4::": False,
    "1.2.3.4:5::": False,
    "1:2:3:4:5:6:7:1.2.3.4": False,
    "12345::": False,
    ":1": False,
    "1:": False,
    "::1:": False,
    ":1::": False,
    "::g": False,
    "": False,
}


@pytest.mark.parametrize(("address", "valid"), IPV6.items())
def test_an_ipv6_address(address: str, valid: bool) -> None:
    """As inet_pton(3) judges it; a name is never made of it (RFC 3986 §3.2.2)."""
    for text in (f"http://[{address}]:1/", f"http://[{address}%25lo]/"):
        if valid:
            socket.inet_pton(socket.AF_INET6, address)
            assert parse_url(text).host.startswith(address.lower())
            continue
        with pytest.raises(OSError):
            socket.inet_pton(socket.AF_INET6, address)
        with pytest.raises(InvalidRequestError, match="IPv6"):
            parse_url(text)
        with pytest.raises(InvalidRequestError, match="IPv6"):
            resolve(parse_url("http://example.com/"), text)


@given(
    st.lists(
        st.sampled_from(["1", "0", "ab12", "12345", "::", ":", ":", ":", ".", "127.0.0.1", "256", "01"]), max_size=18
    )
)
def test_any_ipv6_address(parts: list[str]) -> None:
    address = "".join(parts)
    try:
        socket.inet_pton(socket.AF_INET6, address)
        valid = True
    except OSError:
        valid = False
    try:
        parse_url(f"http://[{address}]/")
    except InvalidRequestError:
        assert not valid
    else:
        assert valid


@pytest.mark.parametrize(
    "host",
    [
        *("1.2.3", "127.1", "0x7f.1", "0x7f000001", "2130706433", "256.1.1.1", "1.2.3.4.5", "127.0.0.01"),
        *("010.0.0.1", "1.2.3.4.", "1.2.3.0x4", "a.1", "0x", "１２７.1", "-1.2"),
    ],
)
def test_what_ends_in_a_number_is_an_ipv4_address_or_refused(host: str) -> None:
    """The C library would read most of these as some other address."""
    with pytest.raises(InvalidRequestError, match="ends in a number"):
        parse_url(f"http://{host}/")
    with pytest.raises(InvalidRequestError, match="ends in a number"):
        resolve(parse_url("http://example.com/"), f"//{host}/")


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "255.255.255.255", "10.1.2.3", "1.2.3.4.example", "a1", "0x7f.example", "1a.b2"]
)
def test_what_is_accepted_all_the_same(host: str) -> None:
    assert parse_url(f"http://{host}/").host == host


@pytest.mark.parametrize(
    "host",
    [
        "faß.de",
        "FAẞ.de",
        "βόλος.com",
        "ශ්\u200dරී.com",
        "نامه\u200cای.com",
        "a.faß",
        "fa\u00df\u3002de",
        "\U0001d6d3.com",
    ],
)
def test_a_name_that_idna_2003_would_give_to_another_owner(host: str) -> None:
    """UTS 46 §2.3: the four deviation characters, however they are written."""
    with pytest.raises(InvalidRequestError, match="xn--"):
        parse_url(f"https://{host}/")
    with pytest.raises(InvalidRequestError, match="xn--"):
        resolve(parse_url("https://example.com/"), f"//{host}/")


@pytest.mark.parametrize("host", ["ΟΔΟΣ.gr", "www.ΟΔΟΣ", "x.ΟΔΟΣ.", "ΟΔΟΣ-x.gr"])
def test_a_capital_sigma_at_the_end_of_a_word_is_no_final_one(host: str) -> None:
    """Both map it to the small sigma (UTS 46, IdnaMappingTable; RFC 3454 B.2)."""
    assert parse_url(f"https://{host}/").host == host.replace("ΟΔΟΣ", "οδοσ").encode("idna").decode()


def test_its_xn_form_is_accepted() -> None:
    assert parse_url("https://xn--fa-hia.de/").host == "xn--fa-hia.de"


def test_the_dot_at_the_end_is_for_resolvers_only() -> None:
    url = parse_url("https://name.example.:8443/x")
    assert (url.host, url.host_and_port) == ("name.example.", "name.example.:8443")
    assert (url.server_name, url.authority) == ("name.example", "name.example:8443")
    assert url.redacted == "https://name.example.:8443/x"


def test_the_c_librarys_word_for_this_host_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no valid host name"):
        parse_url("http://*/")
