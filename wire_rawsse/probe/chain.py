"""The certificates that a server sent, decoded by the interpreter's own OpenSSL.

`SSLObject.getpeercert()` decodes only a certificate that was verified, and the first one only. A probe most wants
the one that did not verify. The object below `SSLObject` has had `get_unverified_chain` since Python 3.10, whose
certificates decode themselves. If a Python lacks it, the chain is the verified first certificate, or empty.
"""

from __future__ import annotations

import ssl
from typing import Any

from wire_rawsse.probe.measurements import Certificate
from wire_rawsse.redact import Secrets

_MOST = 10
_MOST_NAMES = 20


def chain_of(session: ssl.SSLObject, secrets: Secrets) -> list[Certificate]:
    """The certificates that the server sent, its own first; at most ten."""
    try:
        found = [one.get_info() for one in session._sslobj.get_unverified_chain() or ()]  # type: ignore[attr-defined]  # typeshed lacks it
    except (AttributeError, TypeError, ValueError, OSError):
        own: Any = session.getpeercert()
        found = [own] if own else []
    return [_certificate(one, secrets) for one in found[:_MOST]]


def _certificate(info: dict[str, Any], secrets: Secrets) -> Certificate:
    names = [value for kind, value in info.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    return Certificate(
        subject=secrets.quote(_name(info.get("subject", ()))),
        issuer=secrets.quote(_name(info.get("issuer", ()))),
        names=[secrets.quote(name) for name in names[:_MOST_NAMES]],
        not_before=_seconds(info.get("notBefore")),
        not_after=_seconds(info.get("notAfter")),
        self_issued=info.get("subject") == info.get("issuer"),
    )


def _name(pairs: Any) -> str:
    """The common name, or what there is instead (RFC 5280 section 4.1.2.4)."""
    values = {kind: value for part in pairs for kind, value in part}
    for kind in ("commonName", "organizationName", "organizationalUnitName"):
        if kind in values:
            return str(values[kind])
    return ", ".join(f"{kind}={value}" for kind, value in values.items())


def _seconds(text: Any) -> float | None:
    try:
        return float(ssl.cert_time_to_seconds(text))
    except (ValueError, TypeError):
        return None
