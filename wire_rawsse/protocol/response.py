"""The head of a response: a status, a reason and fields (RFC 9112 §4)."""

from __future__ import annotations

from typing import NamedTuple


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
