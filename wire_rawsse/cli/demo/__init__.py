"""`demo`: shows in ten seconds, on this machine alone, how events wake a daemon and how a wedge is noticed.

Three processes take part: the development relay, a sender that posts to it, and a daemon that sleeps on the stream and
pulls when it wakes. This process starts them and prints their reports. The times are scaled down from 75 s, and the
output says so. The files, the requests and the code are those of every daemon.

`processes` starts and ends the three, `steps` has the steps in their order, `output` the texts. `sender` and `daemon`
run in two of the processes.
"""

from __future__ import annotations

from wire_rawsse.cli.arguments import Parser
from wire_rawsse.cli.exit import FAILED, INTERRUPTED, OK, TERMINATED


def parser() -> Parser:
    return Parser(
        "demo",
        "Start a relay, a sender and a daemon on this machine. Show how events wake the daemon, how its stream wedges, "
        "and how it notices and reconnects. It needs no network and no configuration, leaves nothing behind, and ends "
        "within 20 s.",
        examples=["wire-rawsse demo", "NO_COLOR=1 wire-rawsse demo | tee demo.txt"],
        statuses={
            OK: "every promise in the table was kept, except perhaps the latency on a busy machine",
            FAILED: "a promise was not kept, or a process could not be started; one line says which",
            INTERRUPTED: "ended by SIGINT",
            TERMINATED: "ended by SIGTERM",
        },
    )


def run(arguments: list[str]) -> int:
    parser().parse(arguments)
    from wire_rawsse.cli.demo.steps import run_demo

    return OK if run_demo() else FAILED
