"""The scanner of record headers, against a reading of the whole ciphertext, however that is split."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import example, given
from hypothesis import strategies as st

from wire_rawsse.transport.records import APPLICATION_DATA, RecordScanner

TYPES = st.sampled_from([20, 21, 22, APPLICATION_DATA, APPLICATION_DATA, 255])
LENGTHS = st.one_of(st.integers(0, 40), st.sampled_from([255, 256, 257, 16640, 65535]))


def ciphertext(records: list[tuple[int, int]]) -> bytes:
    """Bodies full of what looks like headers, so that a lost position shows."""
    header = b"\x17\x03\x03\x00\x01"
    return b"".join(
        bytes((kind, 3, 3)) + size.to_bytes(2, "big") + (header * (size // 5 + 1))[:size] for kind, size in records
    )


@given(st.lists(st.tuples(TYPES, LENGTHS), max_size=12), st.lists(st.integers(1, 80), max_size=40), st.integers(0, 99))
@example([(23, 100)], [], 0)
@example([(23, 0), (22, 7), (23, 0)], [1] * 40, 0)
def test_each_record_is_seen_once_in_the_reception_that_ends_it(
    records: list[tuple[int, int]], sizes: list[int], missing: int
) -> None:
    whole = ciphertext(records)
    whole = whole[: len(whole) - missing] if missing < len(whole) else whole
    ends = list(accumulate(5 + size for _, size in records))
    scanner = RecordScanner()
    start, sizes = 0, list(sizes)
    while start < len(whole):
        end = min(len(whole), start + (sizes.pop() if sizes else len(whole)))
        here = [
            size
            for (kind, size), at in zip(records, ends, strict=True)
            if start < at <= end and kind == APPLICATION_DATA
        ]
        assert scanner.scan(whole[start:end]) == max(here, default=0)
        start = end


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_are_taken_and_a_split_changes_nothing(pieces: list[bytes]) -> None:
    """It judges no ciphertext: what is no TLS at all is OpenSSL's to refuse."""
    split, joined = RecordScanner(), RecordScanner()
    longest = max([split.scan(piece) for piece in pieces], default=0)
    assert longest == joined.scan(b"".join(pieces))
