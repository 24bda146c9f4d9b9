"""Fuzzing: feeds arbitrary input from the network and from files to the library, and checks that an invariant holds.

Each target (`targets`) states its invariant and checks it as a plain function of bytes, most of them against a second,
slow reading of the same standard. Three things use it:

* `python -m tests.fuzz TARGET` searches for an input that breaks it, guided by the branches that inputs take (atheris,
  which is libFuzzer for Python). A finding is minimised and reported with the command that replays it.
* `corpus/TARGET/` holds the inputs kept from long runs. Each takes a branch, or takes one a number of times, that no
smaller input does. The ordinary tests replay them, without atheris, on every Python.
* `tests.mutants` puts bugs into the shipped code: the corpus alone must find each that belongs to a target.

Small inputs cannot show whether time is linear and memory bounded: `test_cost` enlarges the corpus and measures, and
the target `growth` searches for pieces whose repetition is expensive. `slow` reports small inputs that take long.
"""
