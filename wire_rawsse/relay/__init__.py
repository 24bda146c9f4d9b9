"""Internal: a development relay with the HTTP interface of wire's relay, in memory.

It has the same paths, statuses, bodies and heartbeat, compared with wire's own relay by the tests, and keeps everything
in memory until it ends. It is no relay for production: it stores nothing on disk and verifies no signature.
`wire_rawsse.testing` makes it fail on request.

The modules, each of which imports only from those above it:

`store`      slots, events, limits, the limit on allocations: no I/O, no clock
`event_log`  a log of each connection, and counters
`guard`      which requests are refused, and how much memory peers may use
`tls`        TLS between two byte strings
`messages`   requests and replies as values
`http`       one server connection: h11 on an asyncio transport
`replies`    whole replies, and JSON requests
`stream`     one live event stream
`app`        wire's routes
`listeners`  sockets that listen, refuse, and listen again
`server`     options, and the life of the process

Only this package, `wire_rawsse.testing` and `wire_rawsse.aio` import asyncio.
"""
