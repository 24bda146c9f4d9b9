"""The chunked coding: `protocol.chunked`."""

import ast
from typing import Final

from tests.mutants.edits import (
    after,
    assigned,
    assignment,
    condition,
    drop,
    never,
    nth,
    part,
    put,
    select,
    term,
    value_of,
)
from tests.mutants.engine import FUZZ, FUZZ_SEARCH, at, mutant

CHUNKS: Final = FUZZ + "chunks"

MUTANTS: Final = [
    mutant(
        "A read that ends like a chunk is taken for one, whatever its size says.",
        CHUNKS,
        at("protocol.chunked:ChunkedBody.whole", put(term("len"), "True")),
    ),
    mutant(
        "A chunk size may have a sign and spaces around it, as Python's int() accepts it.",
        CHUNKS,
        at(
            "protocol.chunked:ChunkedBody.whole",
            put(
                assigned("_sizes"),
                "_sizes[LINE.strip(b' +')]",
                LINE=part(assigned("_sizes"), lambda node: node.slice),
            ),
        ),
    ),
    mutant(
        "A whole chunk is accepted in the middle of another one.",
        CHUNKS,
        at("protocol.chunked:ChunkedBody.whole", put(term("_state"), "True")),
    ),
    mutant(
        "A chunk's data need not end where its size says.",
        CHUNKS,
        at("protocol.chunked:_whole_chunks", put(term("\r\n"), "False")),
    ),
    mutant(
        "A line of the coding need not end with CR.",
        CHUNKS,
        at("protocol.chunked:ChunkedBody._take_line", never("endswith")),
    ),
    mutant(
        "The first trailer ends the body.",
        CHUNKS,
        at("protocol.chunked:ChunkedBody._interpret", put(value_of("ended"), "True")),
    ),
    mutant(
        "The beginning of a line that was cut is forgotten.",
        CHUNKS,
        at(
            "protocol.chunked:ChunkedBody._take_line",
            after(nth(0, assignment("_line")), "self._line = self._line[-1:]"),
        ),
    ),
    mutant(
        "A long line is refused only if it was cut.",
        CHUNKS,
        at(
            "protocol.chunked:ChunkedBody._take_line",
            put(condition("LONGEST_LINE"), "data.find(b'\\n', position) < 0 and IT"),
        ),
    ),
    mutant(
        "The last chunk, alone in its read, is taken for an empty one.",
        "simulation/test_exact_bodies.py::test_the_last_chunk_ends_a_stream_when_it_comes_alone",
        at("protocol.chunked:ChunkedBody.whole", put(part(condition("_CR"), lambda node: node.values[0]), "True")),
    ),
    mutant(
        "The loop over whole chunks never advances.",
        FUZZ_SEARCH + "chunks",
        at("protocol.chunked:_whole_chunks", drop(nth(-1, select(ast.Assign, "2", "Add")))),
    ),
]
