"""`demo`: what this package is for, in ten seconds, on this machine alone.

Three processes, as in life: the embedded relay, a sender that posts to it, and a daemon that sleeps on the stream and
pulls when it wakes. This process only directs them and tells what they report; it stands in nobody's way. The clocks
are scaled down, since nobody watches a terminal for 75 s, and that is said. Nothing else is made easier: the files, the
requests and the code are those of every daemon.

`stage` starts and ends the processes, `play` has the acts in their order, `tell` the words, `sender` and `daemon` are
what two of the processes run.
"""

from __future__ import annotations


def run(arguments: list[str]) -> int:
    from wire_rawsse.cli.arguments import Parser
    from wire_rawsse.cli.demo.play import play
    from wire_rawsse.cli.exit import FAILED, INTERRUPTED, OK, TERMINATED

    Parser(
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
    ).parse(arguments)
    return OK if play() else FAILED
