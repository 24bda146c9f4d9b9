"""Fuzzing: what anybody can send or write reaches the library's own code, and whatever it is, an invariant holds.

Each target (`targets`) states its invariant and checks it as a plain function of bytes, most of them against a second,
slow reading of the same standard. Three things use it:

* `python -m tests.fuzz TARGET` searches for an input that breaks it, guided by the branches that inputs take (atheris,
  which is libFuzzer for Python). What it finds is made small and reported with the line that replays it.
* `corpus/TARGET/` holds the inputs that long runs found worth keeping, each because it takes some branch, or takes one
  so often, as no smaller one does. The ordinary tests replay them, without atheris, on every Python.
* `tests.mutants` puts bugs into the shipped code: the corpus alone must find each that belongs to a target.

Whether time is linear and memory bounded does not show in small inputs: `test_cost` blows the corpus up and measures,
and the target `growth` searches for what must not be repeated. What takes long while small is told by `slow`.
"""
