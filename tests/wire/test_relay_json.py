"""relay.json: what is read from it, what is refused, and that nothing secret is ever repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wire.relay_files import FIRST, FLAT, ONE, SECOND, TOKEN, TWO, file_of
from wire_rawsse.errors import RelayFileError
from wire_rawsse.wire.relay_json import MOST_ENDPOINTS, Endpoint, RelayFile, parse, read_endpoints


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


# --- anything at all ------------------------------------------------------------------------------------------------

slot_ids = st.text(max_size=8) | st.text("./?#%&=\\ ab\n", max_size=8)
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
        assert one.url.authorization is None
    assert len({one.url for one in found.endpoints}) == len(found.endpoints)


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


def test_no_more_than_the_bound_is_read_and_that_is_told() -> None:
    entries = [{"relay_url": "http://a", "slot_id": f"s{n}", "slot_token": "t"} for n in range(MOST_ENDPOINTS + 500)]
    found = parse(json.dumps({"self": {"endpoints": entries}}).encode())
    assert [one.slot_id for one in found.endpoints] == [f"s{n}" for n in range(MOST_ENDPOINTS)]
    assert found.problems == (
        "relay.json: self.endpoints: expected at most 1000 endpoints, found 1500; "
        "those from self.endpoints[1000] on are left out",
    )
    exactly = parse(json.dumps({"self": {"endpoints": entries[:MOST_ENDPOINTS]}}).encode())
    assert len(exactly.endpoints) == MOST_ENDPOINTS and exactly.problems == ()


def test_that_too_many_were_found_is_told_before_ten_other_problems() -> None:
    good = [{"relay_url": "http://a", "slot_id": f"s{n}", "slot_token": "t"} for n in range(MOST_ENDPOINTS + 1)]
    found = parse(json.dumps({"self": {"endpoints": [*([None] * 50), *good]}}).encode())
    assert "expected at most 1000 endpoints, found 1051" in found.problems[0]
    assert found.problems[-1].endswith("and 40 problems more")
