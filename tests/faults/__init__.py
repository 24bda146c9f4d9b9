"""The lab: every way a stream can die, done for real to a real daemon, and measured.

A cell of the matrix is one process tree in a private world: three hosts (`client`, `middle`, `relay`) that are network
namespaces joined by veth pairs, with real kernels' TCP between them. A daemon runs in `client`, a relay in `relay`, and
`middle` routes. The stream is brought into a phase of its life and held there; the fault is injected and proven; then
the lab waits for the daemon to notice, lifts the fault, waits for the stream to be back, and holds everything that was
measured against what was promised.

The rooms, each importing only from those above it:

`bounds`     what is promised: pure functions
`tools`      the system's programs, and what to say where one is missing
`player`     a part of the lab that runs as a process of its own: `proxy`, `nameserver` and `link` are
`world`      the three hosts, and the way into a world of one's own; `inside` runs one function there
`proxy`      a forward proxy that goes wrong as proxies do
`nameserver` a name server that answers, or does not
`link`       a bad link: two TUN devices and one process; `weather` decides, `flows` sees how far each connection came
`counters`   the kernel's own counters of one host
`drops`      packets dropped on the receiving side, counted
`look`       what the kernel says of a process and of its sockets
`lines`      what a daemon says, line by line; the protocol for a daemon of your own
`stage`      the relay in its host, and anyone who posts events to it
`daemon`     the daemon under test as a process
`daemons/`   our own daemons, one for each consumer and host
`names`      the resolver of this world
`phases`     how a stream is brought into a phase and held there
`stranger`   somebody else's connection, which meets what spares the stream
`catalogue/` the faults
`measured`   what was measured in a cell, as plain data
`repair`   within what time a stream must be back
`changes`    changes of the client's network, each beside the clocks; a command of its own
`cell`       one cell: its world, relay and daemon, and what may be done with them
`rounds`     the rounds of a cell, from an empty world to what was measured
`verdict`    what was measured against what was promised, `check` by check; `wakes` has those of the events,
             `statefile` those of stream_state.json
`pcap`       a cell's packets in a file
`outcome`    one cell's outcome as plain data
`pairs`      which cells there are
`matrix`     many cells side by side
`report`     tables, and by `picture` the picture
`cli`        `python -m tests.faults`
"""
