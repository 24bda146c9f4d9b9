"""The embedded development relay: wire's HTTP surface, in memory, with every way to fail on request.

A client that claims to survive a broken relay needs a relay that breaks when told to, and proof that it did. wire's own
relay cannot be told, and is no part of this package; this one speaks the same HTTP (same paths, statuses, bodies and
heartbeat, compared with the real one by the tests) and keeps everything in memory until it ends. It serves the demo,
the tests and the measurements. It is no relay for production: it keeps nothing on disk and verifies no signature.

The rooms, each importing only from those above it:

`faults`     what can be asked to go wrong: plain values, no I/O
`store`      slots, events, limits, the allocation budget: no I/O, no clock
`facts`      what happened and when, for the control report
`guard`      which requests are refused, and what peers may hold
`tls`        TLS between two byte strings
`messages`   requests and answers as values
`http`       one server connection: h11 on an asyncio transport
`answers`    whole answers, and JSON requests
`stream`     one live event stream
`misbehave`  how each fault is done to a connection
`app`        wire's routes
`control`    the local control call
`listeners`  sockets that listen, refuse, and listen again
`server`     options, and the life of the process
`client`     a small blocking client (of these it imports `faults` alone)
`process`    the relay in a process of its own, as a context manager (of these it imports `client` alone)

This is the one place of the package where asyncio is used: a server of many connections is what it is for, and nothing
that a user embeds ever imports this room. `client` and `process` stay free of it, for those who measure.
"""
