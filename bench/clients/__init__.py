"""One program per way of waiting: floors, ours and the peers, each what a person would write with that library.

`python -m bench.clients.NAME URL [CA file]` runs one. It says `connected` at its first wake and reports its stamps when
it is told to stop (`_probe` has the rules). Programs of a peer come in pairs: NAME_stock is the library as its own
documentation shows it, in a thread that hands each event to the daemon through `queue.Queue`; NAME_tuned is the fastest
use of its public interface that we found, iterated by the main thread itself, which then can do nothing else and
has no timeout of its own: a bound, no daemon. Clients that live in asyncio are in the main thread either way.
"""
