"""The head of a response: a status, a reason and fields (RFC 9112 §4)."""

from __future__ import annotations

from typing import Final, NamedTuple

COMPRESSIONS: Final = ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz")
"""The registered content codings that change the content (RFC 9110 §8.4.1, and IANA's registry). Any other value is
taken for a mistake of the server's and ignored, as browsers do."""


class Response(NamedTuple):
    """A final response head. Field names are lower-case, values Latin-1 text, in the order they came."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The values of one field, joined as RFC 9110 §5.3 says, or None."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def compression(response: Response) -> str | None:
    """The first registered compression among its content codings, or None."""
    for coding in (response.get("content-encoding") or "").split(","):
        name = coding.partition(";")[0].strip(" \t").lower()
        if name in COMPRESSIONS:
            return name
    return None
