"""Invariant: whatever bytes stand in relay.json, they are read as endpoints with told problems, as none with a note, or
as one `RelayFileError`: never another exception, never a text of several lines, and never a text that holds a value of
the file. The endpoints are those that a slow reading of the shape finds; each can be asked for, sends its token as it
stands in one well-formed request, and its URL means its slot and no other.

Layout: after a first byte of 0 the file itself; after any other a recipe for a document, which is what it takes to
reach what lies behind the JSON.
"""

from __future__ import annotations

import inspect
import json
from typing import Any, Final
from urllib.parse import quote, unquote

from tests.fuzz.pieces import Recipe
from wire_rawsse.errors import InvalidRequestError, RelayFileError
from wire_rawsse.protocol import request as requests
from wire_rawsse.protocol import url as urls
from wire_rawsse.protocol.url import Url
from wire_rawsse.wire import relay_json

LONGEST: Final = 512
WORDS: Final = (
    *(
        b'{"self":',
        b'"endpoints":[',
        b'{"relay_url":"',
        b'"slot_id":"',
        b'"slot_token":"',
        b'"scope":"local"',
        b'"peers":{}',
    ),
    *(
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"}]}}",
        b"5,5,5,5,5,",
        b'","',
        b"http://h",
        b"https://",
        b"unix:///s",
        b"\\ud800",
        b"\\u0000",
    ),
    *(b"NaN", b"1e999", b"\xef\xbb\xbf", b"\\r\\n", b"..", b"%2e", b"?", b"#", b"@", b"\xc3\xa9", b"[::1]", b"9" * 40),
    *(b"\x01\x02\x03\x04", b"\x05\x05", b"\x0f\x0f\x0f"),
)
_ONE: Final = b'{"relay_url":"http://h:1","slot_id":"a","slot_token":"Qx7Zk9Vw2Jp5","scope":"local"}'
SEEDS: Final = (
    b'\x00{"self":null,"peers":{}}',
    b'\x00{"self":{"endpoints":[' + _ONE + b',{"relay_url":"unix:///s","slot_id":"b/c","slot_token":"t"}]}}',
    b'\x00\xef\xbb\xbf{"self":' + _ONE + b',"peers":{}}',
    b'\x00{"self":{"relay_url":"","slot_id":null,"endpoints":[]}}',
    b'\x00{"self":{"endpoints":[' + _ONE + b"," + _ONE.replace(b"Qx7", b"xyz") + b",5,[]]}}",
    b'\x00{"self":{"endpoints":[' + b"5," * 12 + _ONE + b"]}}",
    b'\x00{"self":{"endpoints":[' + _ONE + b",[]" * 9 + b',{"scope":5}' * 3 + b"]}}",
    b'\x00{"self":[' + b"[" * 40,
    b"\x00 \n",
    b"\x01" + bytes(range(40)),
    b"\x02" + bytes(range(60, 0, -1)),
    b"\x03\x02\x01\x00\x08http://h\x01\x02ab\x01\x03tok\x00\x00\x03\x09unix:///s\x01\x02..\x01\x03tok\x00\x00",
)

_VOCABULARY: Final = inspect.getsource(relay_json) + inspect.getsource(urls) + "self.endpoints["
"""Words that a text may hold although the file holds them too."""
_URLS: Final = (
    *("http://h", "https://relay.example", "HTTP://[::1]:8770/", "unix:///run/r.sock", "http://h/base/", "https://h//"),
    *(
        "unix:///",
        "ftp://h",
        "http://u:p@h",
        "http://h?q",
        "http://h#f",
        "h",
        "",
        "http://h:0",
        "http://\u00e9",
        "http://a b",
    ),
)
_IDS: Final = (
    "a1",
    "a1",
    "a/b?c#d",
    "..",
    ".",
    "",
    "\u00e9 \u20ac",
    "%2e%2e",
    "\ud800",
    "x" * 70,
    "a\x00b",
    "a:b@c",
    "~",
)
_TOKENS: Final = (
    "Qx7Zk9Vw2Jp5",
    "Zq8Xy7Wv6Ut5",
    "Qx7 Zk9Vw2",
    "Qx7Zk9Vw2\r\n",
    "Qx7Zk9\x7f",
    "Qx7Zk\u00e9",
    "\ud800Qx7Zk9",
    "",
)
_SCOPES: Final = ("local", "lan", "federation", "uds", "orbit", "", "\u2028")


def check(data: bytes) -> None:
    if not data:
        return
    content = data[1:] if not data[0] else _written(Recipe(data, 1), data[0])
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        document = content.decode("latin-1").split('"')
        wanted = None
    else:
        wanted = _by_hand(document)
    try:
        found = relay_json.parse(content)
    except RelayFileError as error:
        _check_texts([str(error)], document)
        # The parser's own errors hold the whole text.
        assert error.__cause__ is None and error.__context__ is None, "a cause that quotes"
        assert not error.permanent, "a file that may be repaired ends all"
        assert not wanted, "a good endpoint was refused"
        return
    _check_texts([*found.problems, *([found.note] if found.note is not None else [])], document)
    assert bool(found.endpoints) == (found.note is None), "endpoints with a note, or neither"
    assert len(found.problems) <= 11, "problems without end"
    assert wanted is not None, "what is no document was read"
    told = [(one.relay_url, one.slot_id, one.slot_token, one.scope) for one in found.endpoints]
    assert told == [one for one, _ in wanted.values()], "other endpoints than the file has"
    for endpoint, (place, (_, url)) in zip(found.endpoints, wanted.items(), strict=True):
        assert relay_json.stream_url(endpoint.relay_url, endpoint.slot_id) == place, "another URL"
        _check_endpoint(endpoint, url)


def _check_texts(texts: list[str], document: Any) -> None:
    """`document` holds all values that must not be told."""
    if not texts:
        return
    for text in texts:
        assert text.startswith("relay.json") and text.isprintable(), "a text that is no single line"
    whole = "\n".join(texts)
    for value in _values(document):
        if len(value) > 4 and value in whole and value not in _VOCABULARY:
            raise AssertionError(f"a value of the file in a text: {whole}")


def _values(document: Any) -> set[str]:
    found: set[str] = set()
    todo = [document]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, dict):
            todo += one.values()
            found.update(one)
        elif isinstance(one, list):
            todo += one
    return found


def _check_endpoint(endpoint: relay_json.Endpoint, url: Url) -> None:
    assert url.authorization is None, "a name in the URL beside the token"
    prefix, _, rest = url.target.rpartition("/v1/events/")
    segment, slash, last = rest.partition("/")
    assert slash and last == "stream" and unquote(segment, errors="strict") == endpoint.slot_id, "another slot"
    assert "?" not in url.target and segment not in (".", ".."), "a slot that is no segment"
    if url.scheme == "unix":
        assert not prefix and url.socket_path == endpoint.relay_url[7:].rstrip("/"), "another socket"
    bearer = requests.ask_bearer(endpoint.slot_token)
    assert bearer == [(b"Authorization", b"Bearer " + endpoint.slot_token.encode())], "another token"
    sent = requests.compose(url, headers=bearer)
    for part in (sent.target, *(value for _, value in sent.headers)):
        assert part.isascii() and part.decode().isprintable(), "what could split the request"
    elsewhere = endpoint.relay_url + endpoint.slot_id + endpoint.scope
    if len(endpoint.slot_token) > 4 and endpoint.slot_token not in elsewhere:
        assert endpoint.slot_token not in f"{endpoint!r}{url!r}{sent!r}", "a token in a repr"


def _by_hand(document: Any) -> dict[str, tuple[tuple[str, ...], Url]] | None:
    """The endpoints that the document names, by the URL of their stream; None where it has not the right shape."""
    if not isinstance(document, dict):
        return None
    own = document.get("self")
    if own is None:
        return {}
    if not isinstance(own, dict):
        return None
    entries = own.get("endpoints")
    if entries is None or entries == []:
        entries = [own]
    elif not isinstance(entries, list):
        return None
    found: dict[str, tuple[tuple[str, ...], Url]] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        relay_url, slot_id, token = entry.get("relay_url"), entry.get("slot_id"), entry.get("slot_token")
        if not (isinstance(relay_url, str) and isinstance(slot_id, str) and isinstance(token, str)):
            continue
        if not token or not (token.isascii() and token.isprintable()) or " " in token or slot_id in ("", ".", ".."):
            continue
        scheme, _, rest = relay_url.partition("://")
        scheme = scheme.lower()
        if scheme == "unix":
            if not rest.startswith("/") or rest == "/":
                continue
        elif scheme not in ("http", "https") or not rest or "?" in rest or "#" in rest:
            continue
        try:
            place = _place(relay_url, scheme == "unix", slot_id)
            url = urls.parse_url(place)
        except (InvalidRequestError, UnicodeEncodeError):
            continue
        if url.authorization is None:
            scope = entry.get("scope")
            told = (relay_url, slot_id, token, scope if isinstance(scope, str) else "")
            found.setdefault(place, (told, url))
    return found


def _place(relay_url: str, unix: bool, slot_id: str) -> str:
    scheme, _, rest = relay_url.partition("://")
    rest = rest.rstrip("/")
    target = f"/v1/events/{quote(slot_id, safe='')}/stream"
    if unix:
        return f"unix://{quote(rest)}?path={quote(target)}"
    return f"{scheme}://{rest}{target}"


# --- documents from recipes -----------------------------------------------------------------------------------------


_ENCODERS: Final = json.JSONEncoder(ensure_ascii=False), json.JSONEncoder()


def _written(recipe: Recipe, form: int) -> bytes:
    content = _ENCODERS[form & 1].encode(_document(recipe)).encode("utf-8", "surrogatepass")
    if form & 0xC0 == 0xC0:  # A file that is just being written.
        return content[: recipe.byte() * 4]
    if form & 0xC0 == 0x80:
        return b"\xef\xbb\xbf" + content
    return content


_MANY: Final = (0, 1, 1, 1, 2, 2, 3, 4)
"""More only cost time; a list that is long, for what depends on that, is among the seeds."""


def _document(recipe: Recipe) -> Any:
    kind = recipe.byte()
    if kind > 250:
        return _anything(recipe)
    own = _entry(recipe) if kind & 1 else {}
    if kind & 2:
        own["endpoints"] = [
            _entry(recipe) if recipe.byte() < 240 else _anything(recipe) for _ in range(_MANY[kind >> 5])
        ]
    elif kind & 4:
        own["endpoints"] = _anything(recipe)
    return {"self": own if kind & 8 or own else _anything(recipe), "peers": {}}


def _entry(recipe: Recipe) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for key, usual in (("relay_url", _URLS), ("slot_id", _IDS), ("slot_token", _TOKENS), ("scope", _SCOPES)):
        choice = recipe.byte()
        if choice < 128:
            entry[key] = usual[choice % len(usual)]
        elif choice < 240:
            entry[key] = usual[choice % len(usual)] + recipe.text()
        elif choice < 252:
            entry[key] = _anything(recipe)
    return entry


def _anything(recipe: Recipe, depth: int = 0) -> Any:
    kind = recipe.byte() % (8 if depth < 3 else 6)
    if kind < 5:
        return (None, True, 7, 0.5, "")[kind]
    if kind == 5:
        return recipe.text()
    several = [_anything(recipe, depth + 1) for _ in range(recipe.byte() % 4)]
    return several if kind == 6 else {recipe.text(): one for one in several}
