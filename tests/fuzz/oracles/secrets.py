"""No text holds a piece of a secret that was sent, whatever the peer echoes, and no text has more than one line."""

from __future__ import annotations

from typing import Final

from wire_rawsse.errors import MalformedResponseError, TruncatedError, WireRawSSEError
from wire_rawsse.redact import Secrets

SECRET: Final = "Qx7Zk9Vw2Jp5"
SECRETS: Final = Secrets([SECRET])

_PIECE: Final = 4
_PIECES: Final = tuple({SECRET[at : at + _PIECE].lower() for at in range(len(SECRET) - _PIECE + 1)})


def shows_secret(text: str) -> bool:
    text = text.lower()
    return any(piece in text for piece in _PIECES)


def check_error(error: WireRawSSEError) -> None:
    text = str(error)
    assert text.isprintable() and len(text) < 400, "an error that is no single line"
    assert not shows_secret(f"{text} {error!r} {error.args!r} {vars(error)!r}"), "a secret in an error"
    assert not error.permanent or not isinstance(error, (MalformedResponseError, TruncatedError)), (
        "what a peer sent ends all"
    )
    # h11's own error quotes what it was given.
    assert error.__cause__ is None and (error.__suppress_context__ or error.__context__ is None), "a cause that quotes"
