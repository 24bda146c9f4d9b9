"""`wire-rawsse probe URL`: says what is wrong with an event stream, hop by hop, and the one thing to change.

    measure      opens connections and records what happens; the only part that does I/O (with blocking, reach, listen)
    measurements what was measured: plain values
    rhythm       what the arrivals of a stream tell: heartbeat, bursts, events that were held back
    findings     measurements in, findings out: no I/O and no clock
    report       both as text and as JSON

Loaded by the command `probe` and by nothing else.
"""
