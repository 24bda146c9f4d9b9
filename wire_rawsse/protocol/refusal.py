"""The text of an error for a response that refuses the stream: status, reason in words, and advice.

Loaded by the first refusal.
"""

from __future__ import annotations

import re
from typing import Final

from wire_rawsse.errors import EXCERPT_CHARACTERS, MOST_BODY_CHARACTERS, NotAnEventStreamError, StatusError, one_line
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.response import Response, compression
from wire_rawsse.redact import Secrets

_WAIT: Final = (
    r"[0-9]{1,4}|[A-Z][a-z]{2,8}, [0-9]{2}[ -][A-Z][a-z]{2}[ -](?:[0-9]{2}|[0-9]{4}) [0-9:]{8} GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} [0-9]{4}"
)
"""A wait of less than three hours, or an HTTP date (RFC 9110 §5.6.7): no secret, although a token may hold its year."""
_MOST_FIELDS: Final = 50
_VALUE_CHARACTERS: Final = 200
_WITH_URLS: Final = ("location", "content-location", "link", "refresh")
_USERINFO: Final = r"//[^/?#\s]*@"
_QUERY: Final = r"[?#][^\s\">,;]*"
_SEARCHED_FOR_URLS: Final = 1000
PRIVATE: Final = (
    "cookie",
    "authorization",
    "token",
    "secret",
    "session",
    "credential",
    "api-key",
    "apikey",
    "authentication-info",
    "csrf",
    "jwt",
    "passw",
    "signature",
    "xsrf",
)
"""A field whose name holds one of these may bring a new secret."""

# The members in which JSON errors say what is wrong, the most telling first: RFC 9457, RFC 6749 §5.2, and common APIs.
_KEYS: Final = ("detail", "message", "msg", "error_description", "error", "reason", "title")
_STRING: Final = r'"{}"\s*:\s*"((?:[^"\\]|\\.)*)'
_TITLE: Final = r"(?is)<title[^>]*>([^<]*)"


def refused(response: Response, request: Request, place: str, body: bytes = b"", left_at: str = "") -> StatusError:
    """The error for a status other than 200. `body` is the beginning of its content.

    `left_at` is the place of the redirect to another origin at which the caller's credentials were left behind, or "".
    """
    status, secrets = response.status, request.secrets
    reason = secrets.quote(response.reason)
    content, said = _said(response, secrets, body)
    text = f"{place} answered {status}{' ' + reason if reason else ''}, {_expected(status)}{said}"
    text += _hint(status, request, left_at)
    retry_after = response.get("retry-after")
    return StatusError(
        status,
        text,
        retry_after=retry_after
        if retry_after is None or re.fullmatch(_WAIT, retry_after)
        else secrets.quote(retry_after),
        headers=_public_fields(response, secrets),
        body=content,
    )


def not_a_stream(response: Response, request: Request, place: str, body: bytes) -> NotAnEventStreamError:
    """The error for a 200 of another type. It may be a page for a login, or JSON with an error in it."""
    secrets = request.secrets
    content, said = _said(response, secrets, body)
    kind = response.get("content-type")
    came = f"Content-Type {secrets.quote(kind)}" if kind else "no Content-Type"
    text = f"{place} answered 200 with {came}, expected text/event-stream{said}"
    return NotAnEventStreamError(text, headers=_public_fields(response, secrets), body=content)


def _said(response: Response, secrets: Secrets, body: bytes) -> tuple[str, str]:
    """The beginning of the content as one line, and the reason in it as the end of a sentence."""
    content = "" if compression(response) else _readable(body, secrets)
    reason = _reason_in(content)
    return content, f"; it said: {reason}" if reason else ""


def _expected(status: int) -> str:
    if status == 204:
        return "which tells an event stream to stop"
    if 200 < status < 300:
        return "expected 200, the only status of an event stream"
    return "expected 200"


def _hint(status: int, request: Request, left_at: str) -> str:
    if status not in (401, 403):
        return ""
    if left_at:
        return (
            f"; credentials were not sent, because {left_at} redirected to another origin; "
            "if you trust that origin, give its URL instead"
        )
    names = [name.decode() for name, _ in request.headers if name.lower() != b"proxy-authorization"]
    sent = [name for name in names if any(word in name.lower() for word in PRIVATE)]
    if not sent:
        return "; no Authorization was sent: give a bearer_token, or the header that it expects"
    what = "token" if "authorization" in map(str.lower, sent) else sent[0]
    if status == 401:
        return f"; the {what} that was sent is not accepted: is it the right one, and still valid?"
    return f"; the {what} that was sent is known but does not permit this, or is the wrong one"


def _public_fields(response: Response, secrets: Secrets) -> tuple[tuple[str, str], ...]:
    fields = []
    for name, value in response.headers[:_MOST_FIELDS]:
        if not any(word in name for word in PRIVATE):
            shown = _without_secrets_of_urls(value) if name in _WITH_URLS else value
            fields.append((secrets.quote(name), secrets.quote(shown, _VALUE_CHARACTERS)))
    return tuple(fields)


def _without_secrets_of_urls(value: str) -> str:
    """Without userinfo, query and fragment, in which servers put credentials of their own: signatures and tokens."""
    value = value[:_SEARCHED_FOR_URLS]
    return re.sub(_QUERY, "", re.sub(_USERINFO, "//", value))


def _readable(body: bytes, secrets: Secrets) -> str:
    """The body as one line of masked text; "" if it is no text."""
    text = body.decode("utf-8", "replace")
    if "\0" in text or text.count("\ufffd") > 1:  # One may be a character that was cut.
        return ""
    return one_line(" ".join(secrets.mask(text).split()), MOST_BODY_CHARACTERS)


def _reason_in(content: str) -> str:
    """The sentence for people in the content of a refusal: JSON, a web page, or plain text."""
    said = ""
    if content in ("{}", "[]", "null"):
        return ""
    if content[:1] in ("{", "["):
        for key in _KEYS:
            found = re.search(_STRING.format(key), content)
            if found and found[1].strip():
                said = re.sub(r"\\(?:n|r|t)", " ", found[1])
                said = re.sub(r'\\(["\\/])', r"\1", said)
                break
    elif content[:1] == "<":
        found = re.search(_TITLE, content)
        return one_line(found[1].strip(), EXCERPT_CHARACTERS) if found else ""
    return one_line(said or content, EXCERPT_CHARACTERS)
