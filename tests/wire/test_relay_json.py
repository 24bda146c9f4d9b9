"""relay.json: what is read from it, what is refused, and that nothing secret is ever repeated."""

from __future__ import annotations

import json
import os
import pprint
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.vendor import pretty

from tests.wire import needs
from wire_rawsse.errors import InvalidRequest, RelayFileError
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.wire.relay_json import LARGEST, Endpoint, RelayFile, parse, read_endpoints, stream_url

TOKEN = "s3cr3t-0123456789abcdef"
FLAT = {"relay_url": "https://flat.example", "slot_id": "f1", "slot_token": TOKEN}
ONE = {"relay_url": "https://relay.example", "slot_id": "a1", "slot_token": TOKEN, "scope": "federation"}
TWO = {"relay_url": "http://127.0.0.1:8770", "slot_id": "b2", "slot_token": TOKEN + "2", "scope": "local"}
FIRST = Endpoint("https://relay.example", "a1", TOKEN, "federation")
SECOND = Endpoint("http://127.0.0.1:8770", "b2", TOKEN + "2", "local")


def file_of(own: object) -> bytes:
    return json.dumps({"self": own, "peers": {"x": {"slot_token": "peer-s3cr3t"}}}).encode()


def refused(content: bytes) -> str:
    with pytest.raises(RelayFileError) as caught:
        parse(content)
    text = str(caught.value)
    assert "\n" not in text
    assert "s3cr3t" not in text
    # Neither as cause nor as context: the parser's own errors hold the whole text.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return text


# --- what is read ---------------------------------------------------------------------------------------------------


def test_every_endpoint_of_self() -> None:
    assert parse(file_of({**FLAT, "endpoints": [ONE, TWO]})) == RelayFile((FIRST, SECOND))


@pytest.mark.parametrize("endpoints", [{}, {"endpoints": []}, {"endpoints": None}])
def test_the_flat_triple_where_there_is_no_list(endpoints: dict[str, object]) -> None:
    assert parse(file_of({**FLAT, **endpoints})) == RelayFile((Endpoint("https://flat.example", "f1", TOKEN),))


@pytest.mark.parametrize(
    "content",
    [
        b'{"self": null, "peers": {}}',
        b"{}",
        file_of({}),
        file_of({"endpoints": []}),
        file_of({"relay_url": "", "slot_id": None, "slot_token": "", "endpoints": []}),
    ],
)
def test_nothing_bound_yet_is_a_state(content: bytes) -> None:
    found = parse(content, "relay.json")
    assert found.endpoints == ()
    assert found.problems == ()
    assert found.note is not None
    assert found.note.startswith("relay.json has no ")


def test_a_missing_file_is_a_state(tmp_path: Path) -> None:
    for path in (tmp_path / "relay.json", tmp_path / "no folder" / "relay.json"):
        found = read_endpoints(path)
        assert found.endpoints == ()
        assert found.note == f"{path} does not exist yet; `wire up` makes it"


def test_the_same_stream_is_kept_once() -> None:
    again = {**ONE, "relay_url": "https://relay.example///", "scope": "lan"}
    assert parse(file_of({"endpoints": [ONE, again, TWO, ONE]})) == RelayFile((FIRST, SECOND))


def test_the_same_slot_with_another_token_is_told() -> None:
    found = parse(file_of({"endpoints": [ONE, {**ONE, "slot_token": TOKEN + "x"}]}))
    assert found.endpoints == (FIRST,)
    [problem] = found.problems
    assert "self.endpoints[1]" in problem
    assert "s3cr3t" not in problem


def test_a_byte_order_mark_is_no_obstacle() -> None:
    assert parse(b"\xef\xbb\xbf" + file_of({"endpoints": [ONE]})).endpoints == (FIRST,)


def test_what_a_later_wire_may_add_is_no_obstacle() -> None:
    entry = {**ONE, "scope": "orbit", "weight": [1, {}]}
    [found] = parse(file_of({"endpoints": [entry], "new": True})).endpoints
    assert found == Endpoint("https://relay.example", "a1", TOKEN, "orbit")
    other = parse(file_of({"endpoints": [{**ONE, "scope": {"lan": "s3cr3t"}}]}))
    assert [one.scope for one in other.endpoints] == [""]
    assert other.problems == (
        "relay.json: self.endpoints[0].scope: expected a string, found an object; the endpoint is used without it",
    )


# --- what is refused ------------------------------------------------------------------------------------------------

BAD_ENTRIES: list[tuple[object, str]] = [
    (5, ": expected an object, found a number"),
    (None, ": expected an object, found null"),
    ([ONE], ": expected an object, found an array"),
    ("s3cr3t", ": expected an object, found a string"),
    (True, ": expected an object, found a boolean"),
    ({**ONE, "relay_url": 5}, ".relay_url: expected a string, found a number"),
    ({**ONE, "slot_id": None}, ".slot_id: expected a string, found null"),
    ({**ONE, "slot_token": ["s3cr3t"]}, ".slot_token: expected a string, found an array"),
    ({**ONE, "slot_token": False}, ".slot_token: expected a string, found a boolean"),
    ({**ONE, "slot_token": ""}, ".slot_token: expected a string, found an empty one"),
    ({"relay_url": "https://relay.example", "slot_id": "a"}, ".slot_token: expected a string, found nothing"),
    ({**ONE, "slot_token": "s3cr3t\r\nX-Admin: 1"}, ".slot_token: expected visible ASCII"),
    ({**ONE, "slot_token": "s3cr3t\n"}, ".slot_token: expected visible ASCII"),
    ({**ONE, "slot_token": "s3cr3t\x00"}, ".slot_token: expected visible ASCII"),
    ({**ONE, "slot_token": " s3cr3t"}, ".slot_token: expected visible ASCII"),
    ({**ONE, "slot_token": "s3cr3t\x7f"}, ".slot_token: expected visible ASCII"),
    ({**ONE, "slot_token": "s3cr3t-é"}, ".slot_token: expected visible ASCII"),
    ({**ONE, "slot_token": "s3cr3t-\ud800"}, ".slot_token: expected visible ASCII"),
    ({**ONE, "relay_url": "ftp://s3cr3t"}, ".relay_url: expected http://"),
    ({**ONE, "relay_url": "relay.example"}, ".relay_url: expected http://"),
    ({**ONE, "relay_url": "https://r/?key=s3cr3t"}, ".relay_url: expected http://"),
    ({**ONE, "relay_url": "https://r/#s3cr3t"}, ".relay_url: expected http://"),
    ({**ONE, "relay_url": "unix:/r.sock"}, ".relay_url: expected http://"),
    ({**ONE, "relay_url": "unix://r.sock"}, ".relay_url: expected http://"),
    ({**ONE, "relay_url": "unix:///"}, ".relay_url: expected http://"),
    ({**ONE, "relay_url": "unix:////"}, ": no stream can be asked for"),
    ({**ONE, "relay_url": "https://"}, ".relay_url: expected http://"),
    ({**ONE, "relay_url": "https:///path"}, ": no stream can be asked for"),
    ({**ONE, "relay_url": "https://r:99999"}, ": no stream can be asked for"),
    ({**ONE, "relay_url": "https://r\r\nHost: evil"}, ": no stream can be asked for"),
    ({**ONE, "relay_url": "https://u:s3cr3t@r"}, ".relay_url: expected no user name or password"),
    ({**ONE, "slot_id": "."}, ": no stream can be asked for"),
    ({**ONE, "slot_id": ".."}, ": no stream can be asked for"),
    ({**ONE, "slot_id": "\ud800"}, ": no stream can be asked for"),
    ({**ONE, "relay_url": "unix:///a\ud800"}, ": no stream can be asked for"),
    ({**ONE, "relay_url": "unix:///a\nb.sock"}, ": no stream can be asked for"),
]


@pytest.mark.parametrize(("entry", "told"), BAD_ENTRIES)
def test_a_broken_entry_is_told_and_takes_nobody_down(entry: object, told: str) -> None:
    found = parse(file_of({**FLAT, "endpoints": [ONE, entry, TWO]}))
    assert found.endpoints == (FIRST, SECOND)
    [problem] = found.problems
    assert problem.startswith("relay.json: self.endpoints[1]" + told)
    assert "s3cr3t" not in problem
    assert "\n" not in problem
    # And where nothing else is left it is an error: an older truth (the flat triple) is no way out.
    assert f"self.endpoints[0]{told}" in refused(file_of({**FLAT, "endpoints": [entry]}))


@pytest.mark.parametrize(("entry", "told"), [pair for pair in BAD_ENTRIES if isinstance(pair[0], dict)])
def test_a_broken_flat_triple_is_refused(entry: object, told: str) -> None:
    assert f"relay.json: self{told}" in refused(file_of(entry))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty: expected a JSON object"),
        (b" \n\t", "is empty: expected a JSON object"),
        (b"null", "the top level: expected an object, found null"),
        (b'["s3cr3t"]', "the top level: expected an object, found an array"),
        (b'"s3cr3t"', "the top level: expected an object, found a string"),
        (b"1.5", "the top level: expected an object, found a number"),
        (b'{"self": "s3cr3t"}', "self: expected an object, found a string"),
        (b'{"self": [1]}', "self: expected an object, found an array"),
        (b'{"self": false}', "self: expected an object, found a boolean"),
        (file_of({**FLAT, "endpoints": {"s3cr3t": 1}}), "self.endpoints: expected an array, found an object"),
        (file_of({**FLAT, "endpoints": "s3cr3t"}), "self.endpoints: expected an array, found a string"),
        (file_of({**FLAT, "endpoints": 0}), "self.endpoints: expected an array, found a number"),
        (file_of({**FLAT, "slot_id": 0, "relay_url": "", "slot_token": ""}), "self.relay_url: expected a string"),
        (file_of({"slot_token": TOKEN}), "self.relay_url: expected a string, found nothing"),
        (b'{"self": {"slot_token": "s3cr3t', "is not JSON: it breaks off or goes wrong at line 1, column 25"),
        (b'{"self": {"slot_token": "s3cr3t\n"}}', "is not JSON: it breaks off or goes wrong at line 1, column 32"),
        (b'{"self": {"slot_token": "\\s3cr3t"}}', "is not JSON: it breaks off or goes wrong at line 1, column 26"),
        (b'{"self": null} s3cr3t', "is not JSON: it breaks off or goes wrong at line 1, column 16"),
        (b'{"self": {"slot_token": "s3cr3t\xff"}}', "is not UTF-8: byte 31"),
        (json.dumps({"self": None}).encode("utf-16"), "is not UTF-8: byte 0"),
        (b"[" * 200_000, "is nested too deeply"),
        (b'{"self":' * 200_000, "is nested too deeply"),
        (b'{"peers": ' + b"7" * 5000 + b"}", "a number of thousands of digits"),
    ],
)
def test_a_file_that_says_nothing_reliable(content: bytes, told: str) -> None:
    assert told in refused(content)


def test_a_file_broken_in_the_same_way_many_times_is_told_briefly() -> None:
    text = refused(file_of({"endpoints": [7] * 5000}))
    assert text.endswith("and 4990 problems more")
    assert len(text) < 1000
    assert len(parse(file_of({"endpoints": [ONE, *[7] * 5000]})).problems) == 11


def test_every_half_of_a_file_is_refused_or_a_state() -> None:
    whole = file_of({"endpoints": [ONE, TWO]})
    for cut in range(len(whole)):
        refused(whole[:cut])


# --- what stands at the path ----------------------------------------------------------------------------------------


def test_a_whole_file_with_its_path_in_front(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    path.write_bytes(file_of({"endpoints": [ONE, 5]}))
    found = read_endpoints(path)
    assert found.endpoints == (FIRST,)
    assert found.problems == (f"{path}: self.endpoints[1]: expected an object, found a number",)
    assert read_endpoints(str(path)) == found
    path.write_bytes(b"{")
    with pytest.raises(RelayFileError, match="is not JSON") as caught:
        read_endpoints(path)
    assert str(caught.value).startswith(str(path))
    assert not caught.value.permanent


def test_ten_mebibytes_are_read_and_a_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    content = file_of({"endpoints": [ONE]})
    path.write_bytes(content + b" " * (LARGEST - len(content)))
    assert read_endpoints(path).endpoints == (FIRST,)
    with path.open("ab") as file:
        file.write(b" ")
    with pytest.raises(RelayFileError, match=r"expected at most 10485760 bytes, found more"):
        read_endpoints(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # A TiB of nothing: reading it would take minutes, holding it would end the process.

    def read(descriptor: int, size: int) -> bytes:
        raise AssertionError("it was read")

    with monkeypatch.context() as patched, pytest.raises(RelayFileError, match="found more"):
        patched.setattr(os, "read", read)
        read_endpoints(path)


def test_a_file_that_is_larger_than_it_says() -> None:
    needs.linux()
    assert os.stat("/proc/self/maps").st_size == 0
    with pytest.raises(RelayFileError, match="expected at most 100 bytes, found more"):
        read_endpoints("/proc/self/maps", limit=100)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file types")
def test_what_is_no_file_neither_blocks_nor_fills_the_memory(tmp_path: Path) -> None:
    pipe, folder, link, door = (tmp_path / name for name in ("pipe", "folder", "link", "door"))
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(link)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(door))
        told = {
            str(pipe): "expected a regular file, found a named pipe",
            str(folder): "expected a regular file, found a folder",
            "/dev/zero": "expected a regular file, found a device",
            str(link): "Too many levels of symbolic links",
            str(door): "cannot be read",
            str(folder / ("x" * 300)): "File name too long",
            str(tmp_path / "a\0b"): "no path may have",
        }
        for path, words in told.items():
            with pytest.raises(RelayFileError, match=words) as caught:
                read_endpoints(path)
            assert "\n" not in str(caught.value)


def test_a_path_cannot_break_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\x1b[31m"
    path.mkdir()
    with pytest.raises(RelayFileError) as caught:
        read_endpoints(path)
    assert str(caught.value).isprintable()


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    needs.linux()
    path = tmp_path / "relay.json"
    path.write_bytes(file_of({"endpoints": [ONE]}))
    path.chmod(0)
    code = (
        "import os, sys\n"
        "from wire_rawsse.wire.relay_json import read_endpoints\n"
        "from wire_rawsse.errors import RelayFileError\n"
        "if os.getuid() == 0:\n"  # Root may read anything, so whoever asks must be somebody else.
        "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: read_endpoints(sys.argv[1])\n"
        "except RelayFileError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.stdout == f"{path} cannot be read: Permission denied\n", done.stderr


def test_a_reader_never_sees_a_half_when_wire_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    path.write_bytes(file_of({"endpoints": [ONE]}))
    over = threading.Event()

    def replace() -> None:
        for turn in range(300):
            beside = tmp_path / "relay.json.tmp"
            beside.write_bytes(file_of({"endpoints": [ONE, TWO][: 1 + turn % 2] * (1 + turn % 50)}))
            beside.replace(path)
        over.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not over.is_set():
        assert read_endpoints(path).endpoints in ((FIRST,), (FIRST, SECOND))
    writer.join()


# --- the endpoint ---------------------------------------------------------------------------------------------------


def test_a_rotated_token_is_another_endpoint() -> None:
    rotated = Endpoint(FIRST.relay_url, FIRST.slot_id, TOKEN + "new", FIRST.scope)
    assert rotated != FIRST
    assert len({FIRST, rotated, Endpoint(FIRST.relay_url, FIRST.slot_id, TOKEN, FIRST.scope)}) == 2
    assert Endpoint(FIRST.relay_url, FIRST.slot_id, TOKEN, "lan") != FIRST
    assert FIRST != "https://relay.example"


def test_no_text_shows_the_token() -> None:
    for text in (repr(FIRST), str(FIRST), f"{FIRST}", pprint.pformat([FIRST]), pretty.pretty([FIRST])):
        assert "s3cr3t" not in text
        assert "relay.example" in text


def test_an_explained_difference_does_not_show_the_token(tmp_path: Path) -> None:
    (tmp_path / "test_differences.py").write_text(
        "import unittest\n"
        "from wire_rawsse.wire.relay_json import Endpoint, RelayFile\n"
        "a, b = (Endpoint('https://r', 'a1', token) for token in ('s3cr' + '3t-old', 's3cr' + '3t-new'))\n"
        "def test_equal(): assert a == b\n"
        "def test_tuples(): assert (a,) == (b,)\n"
        "def test_files(): assert RelayFile((a,)) == RelayFile((b,))\n"
        "class Case(unittest.TestCase):\n"
        "    def test(self): self.assertEqual([a], [b])\n"
    )
    options = ["-vv", "--showlocals", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert "4 failed" in done.stdout
    assert "s3cr3t" not in done.stdout


@pytest.mark.parametrize("name", ["relay_url", "slot_token"])
def test_an_endpoint_is_frozen(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(FIRST, name, "x")
    assert not hasattr(FIRST, "__dict__")


@pytest.mark.parametrize(
    ("relay_url", "slot_id", "url"),
    [
        ("https://r", "a1", "https://r/v1/events/a1/stream"),
        ("https://r/", "a1", "https://r/v1/events/a1/stream"),
        ("https://r///", "a1", "https://r/v1/events/a1/stream"),
        ("http://[::1]:8770/wire/", "a1", "http://[::1]:8770/wire/v1/events/a1/stream"),
        ("https://r", "a/b", "https://r/v1/events/a%2Fb/stream"),
        ("https://r", "a?b#c", "https://r/v1/events/a%3Fb%23c/stream"),
        ("https://r", "../../x", "https://r/v1/events/..%2F..%2Fx/stream"),
        ("https://r", "...", "https://r/v1/events/.../stream"),
        ("https://r", "%2e%2e", "https://r/v1/events/%252e%252e/stream"),
        ("https://r", "a b\r\n", "https://r/v1/events/a%20b%0D%0A/stream"),
        ("https://r", "ä", "https://r/v1/events/%C3%A4/stream"),
        ("unix:///run/w.sock", "a1", "unix:///run/w.sock?path=/v1/events/a1/stream"),
        ("UNIX:///run/w.sock/", "a1", "unix:///run/w.sock?path=/v1/events/a1/stream"),
        ("unix:///run/w?.sock", "a&b", "unix:///run/w%3F.sock?path=/v1/events/a%2526b/stream"),
    ],
)
def test_stream_urls(relay_url: str, slot_id: str, url: str) -> None:
    assert stream_url(Endpoint(relay_url, slot_id, TOKEN)) == url


@pytest.mark.parametrize("slot_id", ["", ".", "..", "\udfff"])
def test_a_slot_id_that_no_path_can_hold(slot_id: str) -> None:
    with pytest.raises(InvalidRequest):
        stream_url(Endpoint("https://r", slot_id, TOKEN))


slot_ids = st.text(min_size=1, max_size=12) | st.text("./?#%&=\\ ab\n", min_size=1, max_size=8)


@given(slot_ids.filter(lambda text: text not in (".", "..")))
def test_no_slot_id_changes_the_path(slot_id: str) -> None:
    from urllib.parse import unquote

    for relay_url, socket_path in (("https://r/base", ""), ("unix:///run/w.sock", "/run/w.sock")):
        url = parse_url(stream_url(Endpoint(relay_url, slot_id, TOKEN)))
        prefix = "" if socket_path else "/base"
        assert url.socket_path == socket_path
        assert url.target.startswith(f"{prefix}/v1/events/")
        assert url.target.endswith("/stream")
        segment = url.target.removeprefix(f"{prefix}/v1/events/").removesuffix("/stream")
        assert not set(segment) & set("/?#& ")
        assert unquote(segment) == slot_id


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text.strip("/")))
def test_a_socket_path_comes_through(name: str) -> None:
    path = "/run/" + name
    assert parse_url(stream_url(Endpoint("unix://" + path, "a", TOKEN))).socket_path == path.rstrip("/")


# --- anything at all ------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(TOKEN)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
tokens = st.one_of(st.just(TOKEN), st.text("\r\n\0 é", max_size=2).map(lambda tail: TOKEN + tail), anything)
urls = st.one_of(
    st.sampled_from(["https://r", "http://127.0.0.1:1/x/", "unix:///a b.sock", "unix://x", "ftp://x", "http://[::1"]),
    st.text("htps:/?#@[]%u nix.\u00e9\ud800", max_size=12).map(lambda tail: "http://" + tail),
    anything,
)
entries = (
    st.fixed_dictionaries(
        {},
        optional={
            "relay_url": urls,
            "slot_id": slot_ids | anything,
            "slot_token": tokens,
            "scope": st.sampled_from(["local", "uds"]) | anything,
        },
    )
    | anything
)
selves = st.fixed_dictionaries(
    {},
    optional={
        "relay_url": urls,
        "slot_id": slot_ids | anything,
        "slot_token": tokens,
        "endpoints": st.lists(entries, max_size=4) | anything,
    },
)
documents = st.fixed_dictionaries({}, optional={"self": selves | anything, "peers": anything}) | anything


def judge(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        found = read_endpoints(path)
    except RelayFileError as error:
        assert "s3cr3t" not in repr(error)
        assert str(error).isprintable()
        return
    assert "s3cr3t" not in repr(found).replace(str(path), "")
    assert (found.note is None) == bool(found.endpoints)
    for problem in found.problems:
        assert problem.isprintable()
    for one in found.endpoints:
        assert isinstance(one, Endpoint)
        assert one.slot_token.isascii()
        assert one.slot_token.isprintable()
        parse_url(stream_url(one))
    assert len(set(map(stream_url, found.endpoints))) == len(found.endpoints)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anything") / "relay.json"


@given(document=documents)
@example(document={"self": {**FLAT, "endpoints": [ONE, TWO]}})
def test_any_json_value(document: Any, scratch: Path) -> None:
    # A slot_id is shown, and so is a relay_url, so a secret may stand where a secret belongs and nowhere else.
    if "s3cr3t" in json.dumps(_without_tokens(document)):
        return
    judge(json.dumps(document).encode(), scratch)


@given(st.binary(max_size=200))
def test_any_bytes(scratch: Path, content: bytes) -> None:
    judge(content, scratch)


@given(document=documents, data=st.data())
def test_any_json_that_was_damaged(document: Any, data: st.DataObject, scratch: Path) -> None:
    if "s3cr3t" in json.dumps(_without_tokens(document)):
        return
    content = bytearray(json.dumps(document).encode())
    at = data.draw(st.integers(0, len(content)))
    content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        damaged = json.loads(content)
    except ValueError:
        damaged = None
    if "s3cr3t" in json.dumps(_without_tokens(damaged)):
        return
    judge(bytes(content), scratch)


def _without_tokens(value: Any) -> Any:
    """`value` without what is never shown: everything but relay_url, slot_id and scope of an entry."""
    if isinstance(value, list):
        return [_without_tokens(one) for one in value]
    if isinstance(value, dict):
        shown = {key: one for key, one in value.items() if key in ("relay_url", "slot_id", "scope")}
        return [shown, [_without_tokens(value.get(key)) for key in ("self", "endpoints")]]
    return None
