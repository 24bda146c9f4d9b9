"""The exit statuses of `listen --fail` and `--retries`: those of curl (EXIT CODES in curl(1)) where one fits."""

from __future__ import annotations

from typing import Final

from wire_rawsse import errors
from wire_rawsse.cli.exit import FAILED

_STATUSES: Final[tuple[tuple[type[errors.WireRawSSEError], int, str], ...]] = (
    (errors.ResolveError, 6, "the name could not be resolved"),
    (errors.DialError, 7, "no address could be connected"),
    (errors.MalformedResponseError, 8, "the answer was no valid HTTP/1 response"),
    (errors.TruncatedError, 18, "the answer was cut off"),
    (errors.StatusError, 22, "the status was not 200"),
    (errors.CredentialsError, 26, "a token or headers file could not be read"),
    (errors.DeadlineError, 28, "a time limit was reached"),
    (errors.CertificateError, 60, "the certificate did not verify"),
    (errors.HandshakeError, 35, "TLS failed"),
    (errors.RedirectError, 47, "a redirect was not followed"),
    (errors.ConnectionBrokenError, 56, "the connection broke"),
    (errors.ProxyError, 56, "the proxy refused"),
    (errors.EventTooLargeError, 63, "an event was too large"),
    (errors.TrustError, 77, "a certificate file could not be used"),
)
_EMPTY: Final = 52

LINES: Final = [
    "with --fail and --retries the exit status after a failure is curl's:",
    *sorted(
        [f"  {status:<4} {text}" for _, status, text in _STATUSES if text != "the proxy refused"]
        + [f"  {_EMPTY:<4} the connection was closed before an answer", f"  {FAILED:<4} anything else"],
        key=lambda line: int(line.split()[0]),
    ),
    "",
]
"""For the help."""


def exit_status(error: errors.WireRawSSEError, *, opened: bool) -> int:
    """`opened`: there was a stream in this connection."""
    if isinstance(error, errors.TruncatedError) and not opened:
        return _EMPTY
    return next((status for kind, status, _ in _STATUSES if isinstance(error, kind)), FAILED)
