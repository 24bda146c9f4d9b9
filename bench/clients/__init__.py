"""One program per way of waiting: floors, ours, and the peers, each what a person would write with that library.

`python -m bench.clients.NAME [VARIANT] URL[,URL…] [CA file]` runs one. It says `connected` at its first wake and
reports its stamps when it is told to stop (`_probe` has the rules). A peer's module holds its variants:

- stock: the library as its own documentation shows it, in a thread;
- tuned: the same with the options that it has for less work, each named where it is set;
- main: the tuned one iterated by the main thread itself, so that nothing is handed over. A bound and no daemon: while
  it waits the main thread can do nothing else, and it has no timeout of its own.

stock and tuned reach the main thread by the same hand-over (`_handover`), that of the fastest floor, so that nobody
loses to a slow queue. A client that is written for asyncio runs in a loop of the main thread, as its documentation has
it.
"""
