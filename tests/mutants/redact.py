"""The masking of secrets: `redact`."""

from typing import Final

from tests.mutants.edits import call, expression, put
from tests.mutants.engine import FUZZ, at, mutant, setting

SECRETS: Final = FUZZ + "secrets"

MUTANTS: Final = [
    mutant("Escapes are not undone.", SECRETS, at("redact:_readings", put(expression("_NESTED", "Add"), "1"))),
    mutant(
        "An escape of another escape is not undone.",
        SECRETS,
        at("redact:_readings", put(expression("_NESTED", "Add"), "2")),
    ),
    mutant("Forms derived from a secret are not masked.", SECRETS, setting("redact:_MOST_DERIVED", 0)),
    mutant(
        "Only the fully unescaped text is searched.",
        SECRETS,
        at("redact:Secrets._masked", put(call("_readings"), "list(IT)[-1:]")),
    ),
]
