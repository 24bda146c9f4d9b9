"""wire's files: `wire` (relay.json, stream_state.json, the status)."""

import ast
from typing import Final

from tests.mutants.edits import (
    after,
    assignment,
    before,
    call,
    condition,
    drop,
    never,
    nth,
    put,
    result,
    select,
    statement,
    term,
)
from tests.mutants.engine import FUZZ, STORMS, at, mutant

RELAY_JSON: Final = FUZZ + "relay_json"
STATE_JSON: Final = FUZZ + "state_json"
ROTATIONS: Final = "simulation/test_exact_rotations.py::"


MUTANTS: Final = [
    # wire.relay_json
    mutant(
        "A bad slot_token is quoted in the error.",
        RELAY_JSON,
        at(
            "wire.relay_json:_endpoint",
            put(nth(0, select(ast.Raise)), "raise _WrongShape(f'{where}.slot_token: {entry!r}')"),
        ),
    ),
    mutant(
        "Of two entries for one stream the last one counts.",
        RELAY_JSON,
        at("wire.relay_json:_usable", put(call("setdefault"), "[OF.__setitem__(IT[0], IT[1]), IT[1]][1]")),
    ),
    mutant(
        "A slot_id may be several path segments.",
        RELAY_JSON,
        at("wire.relay_json:stream_url", put(call("_encoded", "slot_id"), "_encoded(IT[0], b'/')")),
    ),
    mutant(
        "A slot_id may lead upwards in the path.",
        RELAY_JSON,
        at("wire.relay_json:stream_url", put(condition("slot_id"), "slot_id == ''")),
    ),
    mutant(
        "A user name beside the slot_token is accepted.",
        RELAY_JSON,
        at("wire.relay_json:_endpoint", never("authorization")),
    ),
    mutant(
        "An empty list of endpoints hides the flat triple.",
        RELAY_JSON,
        at("wire.relay_json:_endpoints", put(nth(-1, condition()), "IT is not None")),
    ),
    mutant(
        "Each endpoint is compared with all those before it.",
        FUZZ + "growth",
        at(
            "wire.relay_json:_usable",
            put(
                call("setdefault"),
                "next((OF[one] for one in OF if one == parse_url(stream_url(IT[1].relay_url, IT[1].slot_id))), None)"
                " or IT",
            ),
        ),
    ),
    mutant(
        "A second change of relay.json in one tick of the clock is never seen.",
        ROTATIONS + "test_a_slot_that_is_rotated_twice_in_one_tick_of_the_disks_clock_is_joined",
        at("wire.relay_json:FileWatch.changed", drop(assignment("_doubt", "_young"))),
    ),
    # wire.follow
    mutant(
        "Each look at an unreadable relay.json postpones its next reading.",
        STORMS,
        at("wire.follow:Follower._run", after(assignment("_looked_at"), "self._read_at = now")),
    ),
    mutant(
        "Work that a signal handler interrupts is not repeated.",
        STORMS,
        at("wire.follow:Follower.run", drop(statement("reload"))),
    ),
    mutant(
        "A missing home folder is looked for without a pause.",
        STORMS,
        at("wire.follow:Follower._begin", before(statement("_report"), "self._changed = True")),
    ),
    mutant(
        "A home folder that was missing at first is never looked for again.",
        STORMS,
        at("wire.follow:Follower._run", put(condition("_watch", "Is"), "IT and not self._problem")),
    ),
    mutant(
        "A half-written relay.json is taken for one without endpoints.",
        STORMS,
        at(
            "wire.follow:Follower._read",
            after(nth(0, statement("_report")), "for gone in list(self._handles): self._leave(gone)"),
        ),
    ),
    mutant(
        "relay.json is looked at only when the state file is due.",
        STORMS,
        at("wire.follow:Follower._run", put(call("min"), "IT[1]")),
    ),
    mutant(
        "A relay.json that once could not be read is not read again.",
        STORMS,
        at("wire.follow:Follower._read", put(call("isinstance"), "False")),
    ),
    # wire.state_file and wire.files
    mutant(
        "A state file whose write a signal handler interrupts counts as written.",
        STORMS,
        at(
            "wire.state_file:StateFile._write",
            after(nth(0, select(ast.Import)), "self._tried_at, self._written_news = now, self._news"),
        ),
    ),
    mutant(
        "stream_state.json is written in place.",
        STORMS,
        at("wire.files:replace_whole", before(call("_create"), "remove(path, file_system); temporary = path")),
    ),
    mutant(
        "A state file that once could not be written counts as failing for ever.",
        STORMS,
        at("wire.state_file:StateFile._write", drop(assignment("_failing", "False"))),
    ),
    mutant(
        "A short write puts half a file in place.",
        ROTATIONS + "test_a_state_is_whole_however_little_of_it_a_write_takes",
        at("wire.files:replace_whole", after(call("write"), "break")),
    ),
    mutant(
        "A state that was offered within the last second is lost when the file is closed.",
        ROTATIONS + "test_a_file_that_is_closed_right_after_a_write_says_so",
        at("wire.state_file:StateFile.close", put(call("_write"), "self.flush(now)")),
    ),
    # wire.status
    mutant(
        "A relay that is null is printed.",
        STATE_JSON,
        at("wire.status:_details", put(condition("relay"), "'relay' in OF")),
    ),
    mutant("A file whose writer is gone is believed.", STATE_JSON, at("wire.status:_stale", never("there"))),
    mutant(
        "A time stamp in the future is believed.", STATE_JSON, at("wire.status:_stale", never("STALE_AFTER", "USub"))
    ),
    mutant(
        "Unprintable characters of the file reach the terminal.",
        STATE_JSON,
        at("wire.status:_printable", put(result("isprintable"), "text[:_LONGEST_TEXT]")),
    ),
    mutant(
        "`true` counts as a number.",
        STATE_JSON,
        at("wire.status:_is_count", put(term("type"), "isinstance(value, int)")),
    ),
]
