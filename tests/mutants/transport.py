"""Names, addresses, sockets and TLS: `transport`."""

from typing import Final

from tests.mutants.edits import (
    after,
    assignment,
    block,
    call,
    condition,
    drop,
    never,
    nth,
    operand,
    put,
    statement,
)
from tests.mutants.engine import STORMS, at, does_nothing, mutant

ATTEMPTS: Final = "simulation/test_exact_attempts.py::"
BODIES: Final = "simulation/test_exact_bodies.py::"
REQUESTS: Final = "simulation/test_exact_requests.py::"


MUTANTS: Final = [
    # dial and addresses
    mutant(
        "The losers of an address race stay open.",
        STORMS,
        at("transport.dial:dial", drop(nth(-1, statement("release")))),
    ),
    mutant(
        "A connect budget that ends while addresses are left is not noticed, and the loop spins.",
        STORMS,
        at(
            "transport.dial:dial",
            put(condition("at", "GtE"), "IT[0] and not LEFT", LEFT=operand(0, condition("Or", "Not"))),
        ),
    ),
    mutant(
        "Of several addresses only as many of each family are tried as the smaller family has.",
        ATTEMPTS + "test_every_address_is_tried_however_unequal_the_families_are",
        at("transport.addresses:interleaved", put(call("max"), "min(IT[0], default=0)")),
    ),
    mutant(
        "An address that is dead after TCP is tried first for ever.",
        (
            ATTEMPTS + "test_an_address_that_stalls_tls_is_tried_last_the_next_time",
            ATTEMPTS + "test_an_address_that_a_caller_has_restarted_out_of_silence_is_tried_last",
        ),
        does_nothing("transport.addresses:AddressMemory.failed"),
    ),
    # resolve
    mutant(
        "Each retry of a silent name starts another thread.",
        STORMS,
        at("transport.resolve:Resolver.resolve", put(nth(-1, condition("Is")), "True")),
    ),
    mutant(
        "The answer of a look-up goes to those who asked first, not to those who still wait.",
        "simulation/test_exact_files.py::test_two_streams_that_wait_for_one_name_both_hear_of_it",
        at("transport.resolve:Resolver._finish", put(nth(0, block("error")), "_ = error")),
    ),
    mutant(
        "A look-up whose thread cannot be started is under way for ever.",
        ATTEMPTS + "test_a_moment_without_a_thread_for_a_look_up_is_only_a_moment",
        at(
            "transport.resolve:Resolver._start",
            put(call("_finish"), "[one.set_exception(IT[5]) for one in IT[3]]"),
        ),
    ),
    # connection
    mutant(
        "The rest of a request after a partial send is never sent.",
        REQUESTS + "test_a_request_is_sent_whole_however_little_a_socket_takes_at_once",
        at("transport.channel:Channel.send", after(nth(0, call("send")), "return True")),
    ),
    mutant(
        "An answer that comes before the request is sent is not read.",
        REQUESTS + "test_an_answer_ends_the_sending_of_its_request",
        at("transport.channel:Channel.send", put(nth(-1, condition("heard", "Is")), "True")),
    ),
    mutant(
        "An answer that a reset follows is not read.",
        REQUESTS + "test_a_refusal_is_read_where_a_reset_follows_it",
        at("transport.channel:Channel.send", put(nth(0, condition("heard", "Is")), "True")),
    ),
    # tls
    mutant(
        "A socket is not released when TLS fails.",
        STORMS,
        at("transport.tls:secure", drop(nth(1, statement("release")))),
    ),
    mutant(
        "A reset under TLS is reported as an end.",
        STORMS,
        at("connection:broken", put(condition("EOF", "Or"), "IT or record.url.startswith('https:')")),
    ),
    mutant(
        "Of the records of one reception only the first is decrypted.",
        STORMS,
        at("transport.tls:TlsChannel.decrypt", never("_incoming")),
    ),
    mutant(
        "An answer of TLS is not sent after its socket was full.",
        STORMS,
        at("transport.tls:TlsChannel.flush", put(nth(0, condition("_unsent")), "not self._outgoing.pending")),
    ),
    mutant(
        "An end of TLS that comes in one piece with data is overlooked.",
        BODIES + "test_an_end_of_tls_in_one_piece_with_data_ends_the_stream",
        at("transport.tls:TlsChannel._with_further_records", drop(assignment("ended"))),
    ),
    mutant(
        "A CA file that was replaced on disk is never read again.",
        "simulation/test_exact_trust.py::test_a_ca_file_that_was_replaced_is_trusted_at_the_next_attempt",
        at("transport.contexts:context_for", never("stamps", "young")),
    ),
]
