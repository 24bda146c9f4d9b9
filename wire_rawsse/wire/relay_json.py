"""wire's `relay.json`: which endpoints are ours, and whether that has changed.

The file belongs to wire, which replaces it whole; but people edit it too, disks fill up, and another version may write
another shape. So everything in it is checked before it is used. An error is one line: its place, the expected type and
the type that was found. It never has a value, because the file is full of secrets. For the same reason no error here
has the parser's error as its cause, which holds the whole text.

Three outcomes are told apart, because they ask for different things:

* endpoints: subscribe to them. If one entry is broken the others are still good; `problems` has the errors.
* no endpoint, and a `note` that says why (no file, nothing bound yet): a state. Streams to what was there are over.
* `RelayFileError`: the file cannot be relied on (half-written, unreadable). Keep the present endpoints and read it
  again.

`endpoints` is the newer truth; the flat triple beside it is used only where that list is missing or empty.

`FileWatch` tells cheaply whether to read again. Make it before you read: what changes in between is then noticed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from wire_rawsse import foreign
from wire_rawsse.errors import InvalidRequestError, RelayFileError
from wire_rawsse.protocol.url import Url, parse_url
from wire_rawsse.wire.file_system import FileSystem

LARGEST: Final = 10 * 1024 * 1024
"""Bytes. A real file has a few hundred for each endpoint and peer; a larger file is not relay.json."""

MOST_ENDPOINTS: Final = 1000
"""More are left out, and that is told: each takes a connection, and a process has room for 1,024 by default."""

GRANULE: Final = 2.5
"""Seconds: two writes within this may bear the same time stamp (FAT counts in 2 s), with room for a lagging clock."""

_TOLD: Final = 10
"""Problems told one by one; a file with more is broken in one way many times."""

_KEYS: Final = ("relay_url", "slot_id", "slot_token")
_NAMES: Final = {bool: "a boolean", str: "a string", dict: "an object", list: "an array", type(None): "null"}
_ABSENT: Final = object()

_RELAY_URL: Final = re.compile(r"https?://[^?#]+|unix:///.+", re.IGNORECASE | re.DOTALL)
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986 §2.3


_tables: dict[bytes, list[str]] = {}


class Endpoint:
    """One slot of ours on one relay. Frozen. Raises `InvalidRequestError` if no URL can be made of it.

    Two are equal if everything is, the token included, so that a rotated slot is another endpoint.

    It is not a dataclass, because debuggers and test runners print each field of one in spite of its `repr`.
    """

    __slots__ = ("relay_url", "scope", "slot_id", "slot_token", "url")

    relay_url: str
    slot_id: str
    slot_token: str
    scope: str
    """`federation`, `local`, `lan`, `uds`, or another word of a later wire; empty if the file has none."""
    url: Url
    """The URL of its event stream."""

    def __init__(self, relay_url: str, slot_id: str, slot_token: str, scope: str = "") -> None:
        object.__setattr__(self, "relay_url", relay_url)
        object.__setattr__(self, "slot_id", slot_id)
        object.__setattr__(self, "slot_token", slot_token)
        object.__setattr__(self, "scope", scope)
        object.__setattr__(self, "url", parse_url(stream_url(relay_url, slot_id), "stream's URL"))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Endpoint is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Endpoint is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return self._all() == other._all() if isinstance(other, Endpoint) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"<Endpoint {self.relay_url!r} {self.slot_id!r} {self.scope!r}>"

    def _all(self) -> tuple[str, str, str, str]:
        return self.relay_url, self.slot_id, self.slot_token, self.scope


@dataclass(frozen=True, slots=True)
class RelayFile:
    """The content of relay.json. `note` tells why there is no endpoint; `problems`: errors in the other ones."""

    endpoints: tuple[Endpoint, ...] = ()
    note: str | None = None
    problems: tuple[str, ...] = ()
    warning: str | None = None
    """Other users can read the file."""


def read_endpoints(path: str | os.PathLike[str], limit: int = LARGEST, file_system: FileSystem = os) -> RelayFile:
    """Every endpoint of `self` in the file at `path`, each stream once. A missing file reads as `{"self": null}`.

    Raises `RelayFileError` with one line for what is unreadable, empty, no JSON, of the wrong shape, or larger than
    `limit` bytes (which is then not read), and where not one of several endpoints is usable.
    """
    name = foreign.shown(os.fspath(path))
    try:
        file = foreign.read_file(os.fspath(path), limit, system=file_system)
    except FileNotFoundError:
        return RelayFile(note=f"{name} does not exist yet; `wire up` makes it")
    except OSError as error:
        raise RelayFileError(f"{name} cannot be read: {foreign.reason(error)}") from error
    found = parse(file.content, name)
    warning = foreign.exposed(os.fspath(path), file.mode) if found.endpoints else None
    return replace(found, warning=warning) if warning else found


def parse(content: bytes, name: str = "relay.json") -> RelayFile:
    """The same for a file's content; `name` opens each text. Raises `RelayFileError`."""
    document, problem = _json(content)
    if problem:
        raise RelayFileError(f"{name} {problem}")
    try:
        return _endpoints(document, name)
    except _WrongShape as wrong:
        text = f"{name}: {wrong}"
    raise RelayFileError(text)


def stream_url(relay_url: str, slot_id: str) -> str:
    """The URL of a slot's event stream: `{relay_url}/v1/events/{slot_id}/stream`.

    The slot's id is one path segment, whatever it holds (RFC 3986 §2.4 and §3.3). The text after `unix://` is a path as
    it is in the file system; it becomes `unix:///path.sock?path={target}`, with both percent-encoded once (more).

    Raises `InvalidRequestError` for a slot_id that no segment can stand for: empty, `.` or `..` (which mean the same
    when percent-encoded, RFC 3986 §5.2.4), or with a lone surrogate.
    """
    if slot_id in ("", ".", ".."):
        raise InvalidRequestError("the slot_id must be able to stand in a path: it is empty, . or ..")
    target = f"/v1/events/{_encoded(slot_id)}/stream"
    scheme, slashes, place = relay_url.partition("://")
    place = place.rstrip("/")
    if scheme.lower() == "unix":
        return f"unix://{_encoded(place, b'/')}?path={_encoded(target, b'/')}"
    return scheme + slashes + place + target


class FileWatch:
    """Has the file at `path` changed since last asked? One stat(2) a question.

    A file replaced by rename has another inode, one written in place other times or another size; one that appears,
    vanishes or cannot be looked at any more has changed too. Links are followed.

    Two writes in place within one tick of the file system's clock leave the same stamps. So a file that was young when
    it was looked at is reported as changed once more, when it is old enough for its stamps to be final.
    """

    __slots__ = ("_doubt", "_file_system", "_path", "_seen", "_wall")

    def __init__(
        self, path: str | os.PathLike[str], wall: Callable[[], float] = time.time, file_system: FileSystem = os
    ) -> None:
        """`wall` gives seconds since the epoch, to be compared with the file's stamps."""
        self._path = os.fspath(path)
        self._file_system = file_system
        self._wall = wall
        self._seen = self._look()
        self._doubt = self._young()

    def changed(self) -> bool:
        """True at most once for each change. Never raises."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self._doubt = self._young()
            return True
        if self._doubt and not self._young():
            self._doubt = False
            return True
        return False

    def _look(self) -> tuple[int, ...]:
        try:
            about = self._file_system.stat(self._path)
        except OSError as error:
            return (error.errno or -1,)
        except ValueError:
            return (-1,)
        return about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino, about.st_dev

    def _young(self) -> bool:
        now = self._wall()
        return len(self._seen) > 1 and any(now - stamp / 1e9 < GRANULE for stamp in self._seen[:2])


class _WrongShape(ValueError):
    """Inside this module: what stands where, and what was expected there."""


def _json(content: bytes) -> tuple[Any, str | None]:
    """The document, or what is wrong with it. Errors are turned into text here, since they hold what they are about."""
    import json

    if not content or content.isspace():
        return None, "is empty: expected a JSON object (it may be just being written)"
    try:
        return json.loads(content.decode("utf-8-sig")), None
    except UnicodeDecodeError as error:
        return None, f"is not UTF-8: byte {error.start} cannot stand where it does"
    except json.JSONDecodeError as error:
        return None, (
            f"is not JSON: it breaks off or goes wrong at line {error.lineno}, column {error.colno} "
            "(it may be just being written)"
        )
    except ValueError:
        return None, "is not JSON that can be read: it holds a number of thousands of digits"
    except RecursionError:
        return None, "is not JSON that can be read: it is nested too deeply"


def _endpoints(document: Any, name: str) -> RelayFile:
    own = _typed(document, dict, "the top level").get("self")
    if own is None:
        return RelayFile(note=f"{name} has no `self` yet; `wire up` or `wire bind-relay` fills it in")
    own = _typed(own, dict, "self")
    entries = own.get("endpoints")
    if entries is not None:
        entries = _typed(entries, list, "self.endpoints")
    problems: list[str] = []
    if entries:
        found = _usable(entries, problems)
    elif all(own.get(key) in (None, "") for key in _KEYS):
        return RelayFile(note=f"{name} has no endpoint in `self` yet; `wire up` or `wire bind-relay` makes one")
    else:
        found = (_endpoint(own, "self", problems),)
    if not found:
        raise _WrongShape("; ".join(problems))
    return RelayFile(found, problems=tuple(f"{name}: {problem}" for problem in problems))


def _usable(entries: list[Any], problems: list[str]) -> tuple[Endpoint, ...]:
    """The good ones, each stream once; the errors of the others are added to `problems`."""
    found: dict[Url, Endpoint] = {}
    more = 0
    too_many = None
    for index, entry in enumerate(entries):
        if len(found) == MOST_ENDPOINTS:
            too_many = (
                f"self.endpoints: expected at most {MOST_ENDPOINTS} endpoints, found {len(entries)}; "
                f"those from self.endpoints[{index}] on are left out"
            )
            break
        if len(problems) > _TOLD:  # A file of 10 MiB has room for millions of them.
            more += len(problems) - _TOLD
            del problems[_TOLD:]
        where = f"self.endpoints[{index}]"
        try:
            endpoint = _endpoint(_typed(entry, dict, where), where, problems)
        except _WrongShape as wrong:
            problems.append(str(wrong))
            continue
        first = found.setdefault(endpoint.url, endpoint)
        if first.slot_token != endpoint.slot_token:
            problems.append(
                f"{where}: names the slot of an entry before it with another slot_token; that entry is used"
            )
    more += max(0, len(problems) - _TOLD)
    if more:
        problems[_TOLD:] = [f"and {more} problems more"]
    if too_many is not None:
        problems.insert(0, too_many)
    return tuple(found.values())


def _endpoint(entry: dict[str, Any], where: str, problems: list[str]) -> Endpoint:
    relay_url, slot_id, slot_token = (_text(entry, key, where) for key in _KEYS)
    scope = entry.get("scope")
    if not isinstance(scope, str):
        if scope is not None:
            problems.append(f"{where}.scope: expected a string, found {_kind(scope)}; the endpoint is used without it")
        scope = ""
    if not _VISIBLE.fullmatch(slot_token):
        raise _WrongShape(
            f"{where}.slot_token: expected visible ASCII characters only (RFC 6750 §2.1), found a space, a control "
            "character (a line end?) or one beyond ASCII"
        )
    if not _RELAY_URL.fullmatch(relay_url):
        raise _WrongShape(f"{where}.relay_url: expected http://…, https://… or unix:///…, without query and fragment")
    try:
        endpoint = Endpoint(relay_url, slot_id, slot_token, scope)
    except InvalidRequestError as error:
        raise _WrongShape(f"{where}: no stream can be asked for: {error}") from None
    if endpoint.url.authorization is not None:
        raise _WrongShape(f"{where}.relay_url: expected no user name or password; the slot_token stands in their place")
    return endpoint


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    text: str = _typed(entry.get(key, _ABSENT), str, f"{where}.{key}")
    if not text:
        raise _WrongShape(f"{where}.{key}: expected a string, found an empty one")
    return text


def _typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise _WrongShape(f"{where}: expected {_NAMES[kind]}, found {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return "nothing" if value is _ABSENT else _NAMES.get(type(value), "a number")


def _encoded(text: str, kept: bytes = b"") -> str:
    """Percent-encoded (RFC 3986 §2.1) but for the unreserved and `kept` characters. Raises `InvalidRequestError`."""
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        pass
    else:
        # A new text for each byte would cost sixty times as much as the id itself.
        table = _tables.get(kept)
        if table is None:
            plain = _UNRESERVED.union(kept)
            table = _tables[kept] = [chr(byte) if byte in plain else f"%{byte:02X}" for byte in range(256)]
        return "".join([table[byte] for byte in octets])
    raise InvalidRequestError("it holds a lone surrogate, which has no UTF-8")
