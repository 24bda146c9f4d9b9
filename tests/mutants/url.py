"""URLs and references: `protocol.url`."""

import ast
from typing import Final

from tests.mutants.edits import always, assigned, drop, expression, never, nth, put, select, statement
from tests.mutants.engine import FUZZ, at, mutant

URLS: Final = FUZZ + "urls"

MUTANTS: Final = [
    mutant("A URL may hold control characters.", URLS, at("protocol.url:parse_url", never("_has_controls"))),
    mutant(
        "The host begins after the first @.",
        URLS,
        at("protocol.url:parse_url", put(assigned("@"), 'OF.partition("@") if "@" in OF else ("", "", OF)')),
    ),
    mutant("Port 0 is accepted.", URLS, at("protocol.url:_host_and_port", put(expression("65536"), "IT[1] < 65536"))),
    mutant(
        "The name of a network interface loses its case.",
        URLS,
        at("protocol.url:_host_and_port", put(assigned("lower", "Add"), "(IT).lower()")),
    ),
    mutant("A path is sent without percent-encoding.", URLS, at("protocol.url:_ascii", always("strip"))),
    mutant(
        "A `..` segment removes nothing.", FUZZ + "exchange", at("protocol.url:_without_dots", drop(select(ast.Delete)))
    ),
    mutant(
        "Each segment of a path copies those before it.",
        FUZZ + "growth",
        at("protocol.url:_without_dots", put(nth(0, statement("append")), "OF[:] = [*map(str, OF), IT[0]]")),
    ),
    mutant(
        "A host name keeps its case, so the same host in other letters is another origin.",
        "simulation/test_exact_requests.py::test_a_redirect_to_the_same_host_in_other_letters_keeps_the_token",
        at("protocol.url:_host_and_port", put(nth(-1, assigned("lower")), "OF")),
    ),
]
