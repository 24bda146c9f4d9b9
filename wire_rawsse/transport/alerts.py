"""The meaning of the peer's TLS alert (RFC 8446 §6.2) in words.

A server judges the client's certificate after the client has finished its own handshake (TLS 1.3), so such an alert may
be the answer to the handshake, to the request, or to a read.
"""

from __future__ import annotations

from typing import Final

_ABOUT_OUR_CERTIFICATE: Final = (
    "bad certificate",
    "unsupported certificate",
    "certificate revoked",
    "certificate expired",
    "certificate unknown",
    "unknown ca",
    "access denied",
)


def is_alert(error: BaseException) -> bool:
    """Whether OpenSSL raised `error` because of an alert of the peer."""
    return " alert " in _reason(error)


def told(error: BaseException) -> str | None:
    """The alert in words, or None if `error` is none. OpenSSL's reason is like `tlsv13 alert unknown ca`."""
    _, alert, name = _reason(error).rpartition(" alert ")
    if not alert:
        return None
    if name == "certificate required":
        return "the server requires a client certificate, and none was sent"
    if name in _ABOUT_OUR_CERTIFICATE:
        return f"the server refused our certificate ({name})"
    if name == "no application protocol":
        return "the server does not speak HTTP/1.1 there (its ALPN refuses http/1.1); perhaps only HTTP/2"
    if name == "handshake failure":
        return "the handshake failed (the server refused it; it may require a client certificate)"
    return f"the server ended TLS with the alert {name!r}"


def failure(error: BaseException) -> str | None:
    """How TLS failed on a connection, in words, or None if `error` is not about TLS."""
    reason = _reason(error)
    return told(error) or (f"TLS failed ({reason})" if reason else None)


def _reason(error: BaseException) -> str:
    """OpenSSL's reason in lower case; "" for an error without one.

    `SSLError.reason` is None for a constant that CPython's own table lacks. The text has it then, as in `[SSL] tlsv1
    alert no application protocol (_ssl.c:1006)`.
    """
    reason = getattr(error, "reason", None)
    if reason is None and " alert " in (text := getattr(error, "strerror", None) or "") and text.startswith("[SSL] "):
        reason = text.removeprefix("[SSL] ").partition(" (")[0]
    return reason.lower().replace("_", " ") if isinstance(reason, str) else ""
