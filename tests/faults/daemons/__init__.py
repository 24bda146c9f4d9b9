"""Our own daemons for the lab: each is `python -m tests.faults.daemons.NAME` and speaks the protocol of `lines`.

They are what a person would write who embeds the library, and three things more: they say what happens to them, they
pull what they are woken for over a socket that no fault touches, and they do all of it twice. The first round loads
what is loaded once and shows what a living stream holds; the second is the one that is tested. On standard input `go`
begins a round, `stop` ends it, and the end of the input ends the process.

**A daemon of yours** takes their place with `--daemon CMD`, in any language. Four steps:

1. Let it read what it is to listen to from the environment: `FAULTS_URL`, `FAULTS_TOKEN`, `FAULTS_CA`
   (`tests.faults.daemon` has the list), or from the relay.json under `WIRE_HOME`, as wire's own daemon does.
2. Let it print `state streaming` when a stream is open, `state backing-off` when it has given one up, `wake` when it is
   told of news. `failed CLOCK` and `pulled ID …` let the lab check more (`tests.faults.lines`). Print unbuffered.
3. Give the lab the clocks that it promises: `--set read=5 --set keepalive_idle=3` and so on; the rest stay as they are.
4. `python -m tests.faults run drop-both --daemon CMD`. The exit status is 0 where every promise was kept; what is said
   of each check is the same as for ours. `--json FILE` has the lines, the sockets and the proof.

`curl.sh` here is one in sh around `curl -N`: it notices a reset at once, and silence far later than its option says.
"""
