"""Our own daemons for the lab: each is `python -m tests.faults.daemons.NAME` and speaks the protocol of `lines`.

They are what a person would write who embeds the library, and three things more: they say what happens to them, they
pull what they are woken for over a socket that no fault touches, and they do all of it twice. The first round loads
what is loaded once and shows what a living stream holds; the second is the one that is tested. On standard input `go`
begins a round, `stop` ends it, and the end of the input ends the process.
"""
