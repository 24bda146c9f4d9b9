"""Invariant: whatever text is given for a URL, it is refused with one line that quotes nothing, or it is split into
parts that are fit to be sent as they are, mean the same when written out and split again, are those that the standard
library's splitter finds, and show neither userinfo nor query. Whatever stands in the environment, the proxy for a URL
is the one that a slow reading of the rules finds, or one error that holds no credentials.

Layout: a byte of options, then texts with 0xFF between them (UTF-8 has no such byte): the URL, the value of a proxy
variable, that of another, that of NO_PROXY, a password for all of them. A text that is not UTF-8 has surrogates, as an
argument or the environment has.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from wire_rawsse.errors import InvalidRequestError, ProxyError, WireRawSSEError
from wire_rawsse.protocol import proxy as proxies
from wire_rawsse.protocol import url as urls
from wire_rawsse.protocol.url import Url

LONGEST: Final = 384
WORDS: Final = (
    *(
        b"http://",
        b"https://",
        b"unix:///",
        b"HTTP://",
        b"ftp://",
        b"socks5://",
        b"//",
        b"?path=",
        b"/../",
        b"/./",
        b"%2F",
    ),
    *(
        b"%00",
        b"%0A",
        b"%25",
        b"[::1]",
        b"[fe80::1%25eth0]",
        b"127.0.0.1",
        b":80",
        b":443",
        b":65535",
        b":0",
        b"@",
        b"u:p@",
    ),
    *(
        b"#",
        b"?",
        b"&",
        b";",
        b"*",
        b",",
        b".example.com",
        b"example.com",
        b"10.0.0.0/8",
        b"::/0",
        b"xn--",
        b"\xc3\xa9",
    ),
    *(
        b"\xef\xbc\x8e",
        b"\xe3\x80\x82",
        b"\xc2\xa0",
        b"\xe2\x84\xaa",
        b"\xff",
        b"\x7f",
        b"\t",
        b" ",
        b"\xed\xa0\x80",
        b"\\",
    ),
)
SEEDS: Final = (
    b"\x00http://example.com/a?b#c",
    b"\x01https://user:p%40ss@Example.COM:443/x%20y/\xc3\xa9?q=\xe2\x82\xac",
    b"\x02http://[::1]:8080/\xffhttp://proxy:3128\xffhttp://u:p@other\xff::/0,localhost",
    b"\x03http://[FE80::1%25Eth0]/x",
    b"\x03http://u:p@q@h.example:0/x",
    b"\x04unix:///run/x%20y.sock?path=/v1/events%3Fa",
    b"\x05http://m\xc3\xbcnchen.example/\xffuser:secret@proxy\xff\xff.example",
    b"\x06http://10.1.2.3:81/\xffsocks5://proxy:1\xff\xff10.0.0.0/8, example.com",
    b"\x07https://a.b.example.com\xff\xffproxy:1\xff.b.example.com.,*x",
    b"\x13http://example.com.\xff http://[::1]:1 \xffhttp://x\xffexample.com",
    b"\x2bhttp://h:99999/",
    b"\x3dhttp://h\xff//\xff:\xff*",
)

_TRUE_PARTS: Final = re.compile(r"/[!$&-;=?-\[\]_a-z~%#-]*", re.IGNORECASE)
_PLAIN: Final = re.compile(
    r"https?://(?:[A-Za-z0-9:@]*@)?([a-z0-9][a-z0-9.-]*)(?::([0-9]{1,5}))?(?:/[a-z0-9/?=]*)?", re.ASCII
)
_NAMES: Final = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def check(data: bytes) -> None:
    if not data:
        return
    options = data[0]
    texts = [part.decode("utf-8", "surrogateescape") for part in data[1:].split(b"\xff")]
    text, first, second, excepted = [*texts, "", "", ""][:4]
    url = _check_url(text)
    if url is None:
        # Still a place to look for a proxy for.
        url = _PLACES[options & 1]
    if len(texts) > 1:
        environ = {_NAMES[options % 6]: first, _NAMES[options // 6 % 6]: second, "no_proxy": excepted}
        if options >= 216:
            environ["REQUEST_METHOD"] = "GET"
        elif options >= 144:
            environ["NO_PROXY"] = environ.pop("no_proxy")
        _check_proxy(url, environ)


_PLACES: Final = (urls.parse_url("http://a.example.com/"), urls.parse_url("https://10.1.2.3/"))


def _check_refusal(error: WireRawSSEError, given: str) -> None:
    text = str(error)
    assert text.isprintable() and len(text) < 250, "a refusal that is no single line"
    assert error.__cause__ is None and (error.__suppress_context__ or error.__context__ is None), "a cause that quotes"
    # Words of ours are shorter, or are none that a URL or a setting has by chance.
    assert not any(word in text for word in re.findall(r"[^\s:/?#\[\]@,;.=]{12,}", given)), "it is quoted"


def _check_url(text: str) -> Url | None:
    try:
        url = urls.parse_url(text)
    except InvalidRequestError as error:
        _check_refusal(error, text)
        plain = _PLAIN.fullmatch(text)
        if plain is not None and 0 < int(plain[2] or 80) < 65536:
            assert not _is_host(plain[1]), "a plain URL was refused"
        return None
    assert url.scheme in ("http", "https", "unix"), "another scheme"
    assert _TRUE_PARTS.fullmatch(url.target) and "#" not in url.target, "a target that cannot be sent as it is"
    assert not re.search(r"[\x00-\x1f\x7f]", text), "a control was let in"
    _check_shown(url)
    again = urls.parse_url(_written(url))
    assert again == url._replace(authorization=None), "another URL when written out and split again"
    if url.scheme != "unix":
        name = url.host.partition("%")[0]
        assert name and url.host.isascii() and name == name.lower() and 0 < url.port < 65536, "no place to connect to"
        assert _is_host(name), "neither a name nor an address"
        assert not set(text) & set("\xdf\u1e9e\u03c2\u200c\u200d") & set(text.split("/")[2]), "another owner's name"
        assert not set(url.host) & set(' /?#@\\"<>^`{|}'), "a host that could be another's"
        _compare(text, url)
    else:
        assert url.socket_path.startswith("/") and "\x00" not in url.socket_path
    return url


def _is_host(host: str) -> bool:
    """An address as `ipaddress` has it, or a name that DNS can hold and that does not end in a number."""
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        labels = host.removesuffix(".").split(".")
        number = re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1])
        return ":" not in host and number is None and all(0 < len(label) < 64 for label in labels)


def _check_shown(url: Url) -> None:
    path = url.target.partition("?")[0]
    assert url.redacted.isprintable() and len(url.redacted) <= 300, "no single line is shown"
    if url.scheme == "unix":
        if not url.redacted.endswith("…"):
            assert urls.parse_url(url.redacted) == url._replace(target=path), "what is shown cannot be typed"
        return
    whole = f"{url.scheme}://{url.place}{path}"
    cut = len(whole) > 300 and url.redacted.endswith("…") and whole.startswith(url.redacted[:-1])
    assert url.redacted == whole or cut, "more is shown than a place"
    assert not url.authorization or url.authorization not in f"{url.redacted}{url!r}", "credentials are shown"
    for authority in (url.authority, url.host_and_port):
        assert not set(authority) & set(" @%/?#\\"), "an authority that cannot be sent"


def _written(url: Url) -> str:
    if url.scheme == "unix":
        return f"unix://{_percent(url.socket_path)}?path={_percent(url.target)}"
    host = f"[{url.host.replace('%', '%25')}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}:{url.port}{url.target}"


def _percent(text: str) -> str:
    return "".join(f"%{byte:02x}" if byte != 0x2F else "/" for byte in text.encode())


def _compare(text: str, url: Url) -> None:
    """The standard library's splitter, which refuses less, has to find the same parts."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return
    if parts.netloc.isascii():
        if host.startswith("fe80") or "%" in host:
            host = host.replace("%25", "%")
        assert host == url.host, "another host than urlsplit's"
    assert (port or urls.DEFAULT_PORTS[url.scheme]) == url.port or port == 0, "another port than urlsplit's"
    path, _, query = url.target.partition("?")
    raw = parts.path.encode("utf-8", "surrogatepass") if parts.path else b"/"
    assert unquote_to_bytes(path) == unquote_to_bytes(raw), "another path than urlsplit's"
    assert unquote_to_bytes(query) == unquote_to_bytes(parts.query.encode("utf-8", "surrogatepass")), "another query"
    userinfo = parts.netloc.rpartition("@")[0]
    if not userinfo:
        assert url.authorization is None
        return
    user, _, password = userinfo.partition(":")
    pair = b":".join(unquote_to_bytes(part.encode("utf-8", "surrogatepass")) for part in (user, password))
    assert url.authorization == "Basic " + base64.b64encode(pair).decode(), "other credentials"


# --- proxies --------------------------------------------------------------------------------------------------------


def _check_proxy(url: Url, environ: Mapping[str, str]) -> None:
    wanted = _proxy_by_hand(url, environ)
    try:
        proxy = proxies.proxy_for(url, environ)
    except ProxyError as error:
        assert not error.permanent, "a setting that may be repaired ends all"
        assert wanted, "there is no proxy to complain of"
        _check_refusal(error, wanted)
        return
    if wanted is None:
        assert proxy is None, "a proxy where none is set"
        return
    assert proxy is not None, "a proxy that is set was gone around"
    assert proxy.url.scheme == "http", "a proxy of a kind that is not spoken"
    value = wanted if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", wanted) else "http://" + wanted
    assert proxy.url == urls.parse_url(value), "another proxy"
    for shown in (str(proxy), repr(proxy)):
        assert "@" not in shown and shown.isprintable(), "credentials are shown"


def _proxy_by_hand(url: Url, environ: Mapping[str, str]) -> str | None:
    if url.scheme == "unix":
        return None
    value = ""
    for variable in (url.scheme.upper() + "_PROXY", "ALL_PROXY"):
        cgi = "REQUEST_METHOD" in environ and variable == "HTTP_PROXY"
        if variable in environ and not cgi:
            value = environ[variable]
        elif variable.lower() in environ:
            value = environ[variable.lower()]
        if value.strip():
            break
    if not value.strip():
        return None
    for entry in (environ["NO_PROXY"] if "NO_PROXY" in environ else environ.get("no_proxy", "")).lower().split(","):
        if _excepts(entry.strip(), url.host):
            return None
    return value.strip()


def _excepts(entry: str, host: str) -> bool:
    if entry == "*":
        return True
    try:
        address = ipaddress.ip_address(host) if re.fullmatch(r"[0-9a-f:.]*", host) else None
    except ValueError:
        address = None
        if re.fullmatch(r"[0-9.]+|.*:.*", host):
            return False  # Digits and dots that are no address are no name either.
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return False
    labels, suffix = host.rstrip(".").split("."), entry.lstrip(".")
    return bool(suffix) and any(".".join(labels[at:]) == suffix for at in range(len(labels)))
