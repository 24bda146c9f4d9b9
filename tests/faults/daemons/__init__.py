"""Our own daemons for the lab: each is `python -m tests.faults.daemons.NAME` and speaks the protocol of `lines`.

They are ordinary programs that embed the library, with three additions: they report each step, they pull events over a
socket that no fault touches, and they run two rounds. The first round loads the modules and shows what a live stream
holds; the second is tested. On standard input `go` begins a round, `stop` ends it, and the end of the input ends the
process.

**Your own daemon** takes their place with `--daemon CMD`, in any language. Four steps:

1. Let it read its endpoint from the environment: `FAULTS_URL`, `FAULTS_TOKEN`, `FAULTS_CA`
   (`tests.faults.daemon` has the list), or from the relay.json under `WIRE_HOME`, as wire's own daemon does.
2. Let it print `state streaming` when a stream is open, `state backing-off` when it has given one up, `wake` when it is
told of new events. `failed CLOCK` and `pulled ID …` let the lab check more (`tests.faults.lines`). Print unbuffered. 3.
Tell the lab its clocks: `--set read=5 --set keepalive_idle=3` and so on; the rest stay as they are. 4. `python -m
tests.faults run drop-both --daemon CMD`. The exit status is 0 if every promise was kept; the checks are reported as for
ours. `--json FILE` has the lines, the sockets and the proof.

`curl.sh` here is one in sh around `curl -N`: it notices a reset at once, and silence far later than its option says.
"""
