"""The duties of every host of a stream: read this page before you add one.

A host runs the coroutines of streams: it waits for what they yield, and resumes them (`wire_rawsse.waits`). Scenes in
`test_scenes` state what it owes them. Each scene is run against every host in `hosts.HOSTS`:

* inline: `wait(timeout)` is the sleep of the program
* select: the program has a loop of its own, with `fileno()` and `deadline()`, and calls `wait(0)`
* thread: a thread runs the loop and sets a `WakeChannel`
* asyncio, uvloop: an event loop watches the descriptor, while the program awaits `wait(timeout)`
* asyncio-thread: the same with an event loop that cannot watch descriptors
* streams, events: `Streams` and `EventStreams`, where the streams of the scene are among others
* simulation: the same loop on a machine in memory, where times are exact

To add a host, write a subclass of `hosts.Host` (of `hosts.RealHost` if it has real sockets, which needs `wait` and
little more) and add it to `HOSTS`. If it cannot do a thing by its nature, leave its word out of `can`. The words are:

* "late": its program can be elsewhere while nothing runs the streams
* "fork": it can be forked
* "signal": a signal handler of the program may raise in its sleep

What a host owes:

1. A wake is given once, and at once. Whatever has been received is parsed before the next sleep.
2. A deadline is judged only by a look that began after it. A program that was elsewhere keeps a stream from which
   something has come meanwhile, and drops a dead one at once.
3. No flood of one stream keeps the program, `close` or the other streams from their turn.
4. `close` works in every phase and leaves nothing open. `restart` makes a new connection. At its `max_age` a
   connection is closed only when another one is open.
5. A forked child refuses, and leaves the parent's streams alone.
6. A signal handler that raises in the sleep costs nothing.
"""
