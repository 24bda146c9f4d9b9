"""The tests, from a single function to years of weather. Each room says what it holds; the larger ones have a command.

`protocol`    bytes in, facts out: the parsers and HTTP, against second readings of the same standards
`transport`   names, sockets and TLS, on loopback and in a world made of memory
`stream`      one connection's life against a scripted server: clocks, redirects, proxies, secrets
`hosts`       who waits: inline, in a thread, in a select loop; forks, signals, floods, scarcity
`wire`        relay.json and stream_state.json
`relay`       the embedded development relay, and every way in which it can be told to fail
`cli`         the command, as a process
`interop`     programs that are not ours: wire's own relay and daemon, nginx, curl
`faults`      the lab: real packets between real hosts, each fault proven (`python -m tests.faults`)
`simulation`  the shipped code through years of weather in memory (`python -m tests.simulation`)
`fuzz`        anything at all into whatever reads what others wrote (`python -m tests.fuzz`)
`bench`       that the bench reads, counts and compares rightly
`support`     what several rooms use: scripted servers, proxies, authorities, exact clocks, the cost of a call

`conftest` guards all of them: a test that leaves a thread, a descriptor or a process behind fails.
"""
