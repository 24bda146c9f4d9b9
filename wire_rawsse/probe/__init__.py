"""`wire-rawsse probe URL`: says what is wrong with an event stream, hop by hop, and the one thing to change.

The modules with I/O, in the order of use:

    measure          the whole: redirects, all addresses at once, listening, second opinions
    blocking         runs the library's coroutines in a thread
    reach            one connection to one address, with chain (certificates) and tcp_info (the kernel's view)
    answer           what a response head says
    listening        reads a stream and notes each arrival
    second           further connections that tell apart what looks the same from one

What does none:

    measurements     what was measured: plain values
    rhythm           what the arrivals tell: heartbeat, bursts, events that were held back
    findings         measurements in, findings out; with findings_stream, refusals and finding
    report           both as text and as JSON

Loaded by the command `probe` and by nothing else.
"""
