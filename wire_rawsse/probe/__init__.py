"""Internal: `wire-rawsse probe URL` tells what is wrong with an event stream, hop by hop, and the one thing to change.

The modules with I/O, in the order of use:

    measure          the whole: redirects, all addresses at once, listening, second opinions
    blocking         runs the library's coroutines in a thread
    reach            one connection to one address, with chain (certificates) and tcp_info (the kernel's view)
    answer           reads the facts from a response head
    listening        reads a stream and notes each arrival
    second           further connections that distinguish causes which look the same on one

The modules without I/O:

    measurements     the measured facts, as plain values
    rhythm           the heartbeat, bursts, and held-back events in the arrivals
    findings         turns measurements into findings; with findings_stream, refusals and finding
    report           shows both as text and as JSON

Only the command `probe` loads this package.
"""
