"""Wakes before decryption: `early_wakes`, `tls_body`, `transport.records`."""

from typing import Any, Final

from tests.mutants.edits import drop, never, statement
from tests.mutants.engine import STORMS, at, does_nothing, mutant, setting, wrap

EARLY: Final = "simulation/test_exact_early_wakes.py::"


def _lost(right: Any, scanner: Any, received: bytes) -> Any:
    scanner._header, scanner._left = b"", 0
    return right(scanner, received)


MUTANTS: Final = [
    mutant(
        "The place between two records is lost at the end of a reception.",
        EARLY + "test_a_record_in_two_pieces_wakes_at_its_end",
        wrap("transport.records:RecordScanner.scan", _lost),
    ),
    mutant(
        "Nothing is learned from a record without a data line.",
        EARLY + "test_a_long_heartbeat_wakes_once_over_all_connections",
        does_nothing("early_wakes:EarlyWakes.judge"),
    ),
    mutant(
        "A spurious wake is not counted.",
        (STORMS, EARLY + "test_a_forged_record_wakes_once_and_ends_the_connection"),
        at("early_wakes:EarlyWakes.judge", drop(statement("spurious", "Add"))),
    ),
    mutant(
        "Early wakes are never switched off.",
        EARLY + "test_a_server_that_has_too_many_records_without_an_event_is_decrypted_first",
        setting("early_wakes:ONE_IN", 0),
    ),
    mutant(
        "A record in the middle of a line is a wake.",
        EARLY + "test_a_large_event_wakes_once",
        at("tls_body:TlsWakeReader.feed", never("line_open")),
    ),
]
