"""Requests, responses, redirects and proxy settings: `protocol`, without the chunked coding and event streams."""

import ast
from typing import Final

from tests.mutants.edits import (
    always,
    argument,
    assigned,
    assignment,
    call,
    condition,
    drop,
    expression,
    never,
    nth,
    put,
    select,
    statement,
    term,
)
from tests.mutants.engine import FUZZ, STORMS, at, mutant

EXCHANGE: Final = FUZZ + "exchange"
REQUESTS: Final = FUZZ + "requests"
URLS: Final = FUZZ + "urls"
EXACT: Final = "simulation/test_exact_requests.py::"

MUTANTS: Final = [
    # protocol.http
    mutant(
        "Whether a head is too long depends on how it was split into reads.",
        EXCHANGE,
        at("protocol.http:Exchange.head", put(assigned("HEAD_BYTES"), "data")),
    ),
    mutant(
        "Body bytes that came with the head are lost.",
        EXCHANGE,
        at("protocol.http:Exchange.head", drop(assignment("_behind_head"))),
    ),
    mutant(
        "Text that came instead of a response is quoted with the secrets in it.",
        EXCHANGE,
        at("protocol.http:Exchange.head", put(nth(1, call("quote")), "repr(IT[0][:80])")),
    ),
    mutant(
        "Bytes that are no chunk are quoted with the secrets in them.",
        EXCHANGE,
        at("protocol.http:Exchange.body", put(call("quote"), "IT[0][:80]")),
    ),
    mutant(
        "A body that was cut short counts as ended.",
        EXCHANGE,
        at("protocol.http:Exchange._plain_body", put(statement("TruncatedError"), "return")),
    ),
    mutant(
        "The body of a 204 is decoded as chunks.",
        EXCHANGE,
        at("protocol.http:Exchange._next_head", put(assigned("SEND_BODY"), "True")),
    ),
    mutant(
        "After an interim response any HTTP version is accepted.",
        EXCHANGE,
        at("protocol.http:Exchange._next_head", put(term("http_version"), "False")),
    ),
    mutant("A compressed event stream is accepted.", EXCHANGE, at("protocol.http:check_event_stream", never("IsNot"))),
    mutant(
        "A final response in the same read as an interim one is not looked for.",
        STORMS,
        at("protocol.http:Exchange._next_head", put(select(ast.Continue), "return None")),
    ),
    mutant(
        "Body bytes beyond the first 64 KiB are dropped if they came with the head.",
        "simulation/test_exact_bodies.py::test_events_without_number_after_a_head_in_two_pieces_all_arrive",
        at("protocol.http:Exchange.head", never("len", "Gt")),
    ),
    mutant(
        "The end of a quoted string is searched from each quote.",
        FUZZ + "growth",
        at("protocol.http:_essence", put(argument("findall", 0), """_ELEMENT.replace('"?)+', '")+')""")),
    ),
    # protocol.redirect
    mutant(
        "Credentials follow a redirect to another origin.",
        EXCHANGE,
        at("protocol.redirect:follow", put(expression("credentials"), "IT[0]")),
    ),
    mutant(
        "A redirect from https to http is followed.", EXCHANGE, at("protocol.redirect:follow", never("https", "http"))
    ),
    mutant(
        "Credentials are sent again at the second redirect within a foreign origin.",
        EXACT + "test_a_stranger_never_gets_the_token_however_often_it_redirects",
        at("protocol.redirect:follow", put(expression("credentials"), "IT[1]")),
    ),
    mutant(
        "Only credentials with a known field name are withheld from another origin.",
        EXACT + "test_a_stranger_gets_no_field_that_may_hold_a_token",
        at("protocol.redirect:fields_for", put(term("CROSSES"), "IT[0] not in (b'authorization', b'cookie')")),
    ),
    # protocol.request
    mutant(
        "A field value may hold control characters.",
        REQUESTS,
        at("protocol.request:check_value", never("_BAD_IN_VALUE")),
    ),
    mutant(
        "The caller may give the connection's own fields.",
        REQUESTS,
        at("protocol.request:check_headers", never("_OURS_ALONE")),
    ),
    mutant(
        "An id is sent even if a header field cannot carry it.",
        REQUESTS,
        at("protocol.request:compose", put(call("can_carry"), "IT[0].isprintable()")),
    ),
    mutant(
        "The caller's fields do not replace ours if their case differs.",
        REQUESTS,
        at("protocol.request:compose", put(nth(0, call("lower")), "OF")),
    ),
    mutant(
        "Only the first character of a method is checked.",
        REQUESTS,
        at("protocol.request:check_method", put(argument("_is_token", 0), "IT[:1]")),
    ),
    mutant(
        "A Last-Event-ID beyond Latin-1 is sent with question marks.",
        "simulation/test_exact_requests.py::test_a_reconnect_asks_for_what_came_after_the_last_event_that_was_whole",
        at("protocol.request:compose", put(call("encode", "last_event_id"), 'OF.encode("latin-1", "replace")')),
    ),
    # protocol.proxy
    mutant(
        "A name in NO_PROXY matches the end of a longer label.",
        URLS,
        at("protocol.proxy:_excepted", put(argument("endswith", 0), "IT[1]")),
    ),
    mutant("HTTP_PROXY is used in a CGI program.", URLS, at("protocol.proxy:_names", never("REQUEST_METHOD"))),
    mutant(
        "An empty proxy variable does not count as set.",
        URLS,
        at("protocol.proxy:_names", put(nth(1, condition("environ")), "environ.get(IT[0])")),
    ),
    mutant("An unknown proxy scheme of any length is quoted.", URLS, at("protocol.proxy:_parse", always("socks5h"))),
    mutant(
        "A name in NO_PROXY hides the addresses and networks that follow it.",
        EXACT + "test_what_no_proxy_names_is_reached_without_one",
        at("protocol.proxy:_address_in", put(select(ast.Continue), "return False")),
    ),
]
