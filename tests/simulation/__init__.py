"""Years of bad weather in minutes: the shipped code against a network, names, relays, a clock and dice in memory.

Everything that runs in production runs here: `Loop` with its rules for late hosts, `Task`, the resolver, the race of
addresses, TLS's read and write wants, h11, the parsers, backoff and pace. Only `OsServices` is replaced, and the
sockets that come with it.

`kernel`     time, descriptors, the poller, and what may never happen in them
`network`    addresses, sockets, and connections that keep TCP's promises and no others
`paths`      what lies between the two ends
`tls`        a stand-in for `ssl` that has its traps: records, tickets, both kinds of want
`names`      the resolver's thread, without a thread
`scene`      all of these on one stage, with the shipped loop; `single` is one with a single stream, for exact times
`relay`      a server and its streams
`answers`    how it answers, well or badly
`disk`       files, as much of `os` as wire's need
`wires`      a daemon of wire's between relay.json and stream_state.json
`watch`      the invariants, checked whenever the host goes to sleep
`host`       the daemons that embed the library, on time or not
`weather`    every fault, in any order, overlapping; many are in `faults_of_relays`, `faults_of_tls`, `faults_of_files`
`life`       one stretch of simulated time, from a seed
`run`        years of lives, on any executor
`hours`      an hour of each fault, and how many connections it costs
`hunt`       after how long each of `tests.mutants` is found
`__main__`   `python -m tests.simulation`

Everything is deterministic from one seed: no wall time, no thread, no hash order is read.
"""
