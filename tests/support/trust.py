"""A certificate authority for the tests, and servers' contexts for every way in which a certificate can be wrong."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import trustme

EVERY_NAME = ("localhost", "127.0.0.1", "::1")
YEAR = datetime.timedelta(days=365)


class Authority:
    """Issues certificates; `file` is what a client has to trust."""

    def __init__(self, folder: Path, name: str = "ca.pem") -> None:
        self.ca = trustme.CA()
        self.file = folder / name
        self.ca.cert_pem.write_to_path(str(self.file))

    def server(
        self, *names: str, lifetime: tuple[datetime.datetime, datetime.datetime] | None = None
    ) -> ssl.SSLContext:
        """A server's context with a certificate for these names and addresses."""
        before, after = lifetime or (None, None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self.ca.issue_cert(*(names or EVERY_NAME), not_before=before, not_after=after)
        certificate.configure_cert(context)
        return context

    def expired(self) -> ssl.SSLContext:
        now = datetime.datetime.now(datetime.timezone.utc)
        return self.server(lifetime=(now - 2 * YEAR, now - YEAR))

    def not_yet_valid(self) -> ssl.SSLContext:
        now = datetime.datetime.now(datetime.timezone.utc)
        return self.server(lifetime=(now + YEAR, now + 2 * YEAR))

    def self_signed(self) -> ssl.SSLContext:
        """A server that shows an authority's own certificate, and no authority that anybody knows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        both = self.file.with_suffix(".chain")
        both.write_bytes(self.ca.private_key_pem.bytes() + self.ca.cert_pem.bytes())
        context.load_cert_chain(both)
        return context
