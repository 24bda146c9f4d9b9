"""The caller's request. It is checked when it is given, and its callables are called before each connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from wire_rawsse import checks
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.request import (
    HeaderList,
    HeaderSource,
    ask_bearer,
    ask_headers,
    ask_url,
    check_body,
    check_headers,
    check_method,
    pairs_of,
)
from wire_rawsse.protocol.url import Url, parse_url
from wire_rawsse.transport.trust import (
    AnyTrust,
    ClientCertificate,
    ClientFiles,
    Trust,
    check_client_cert,
    check_trust,
)


class _NotAsked(Url):
    """Stands for the URL that a callable has not been asked for yet."""

    __slots__ = ()

    @property
    def redacted(self) -> str:
        return "(a callable URL)"


class Asked(NamedTuple):
    """The URL and the caller's header fields for one connection."""

    url: Url
    headers: HeaderList

    def __repr__(self) -> str:
        return f"<Asked {self.url.redacted}>"


class Plan(NamedTuple):
    """The caller's request, checked. Its repr shows no header, token or body.

    ask_url:   a callable in place of `url`.
    reconnect: False for one response and no more.
    """

    url: Url
    method: bytes = b"GET"
    body: bytes | None = None
    headers: HeaderSource = None
    bearer_token: str | Callable[[], str] | None = None
    timeouts: Timeouts = Timeouts()
    keepalive: Keepalive = Keepalive()
    backoff: Backoff = Backoff()
    trust: AnyTrust = None
    client_cert: ClientFiles | None = None
    environ: Mapping[str, str] = os.environ
    ask_url: Callable[[], str] | None = None
    reconnect: bool = True

    def __repr__(self) -> str:
        return f"<Plan {self.method.decode()} {self.url.redacted}>"

    def ask(self) -> Asked:
        """The fields for this attempt. Raises `CredentialsError` if a callable fails."""
        headers = ask_headers(self.headers)
        if not any(name.lower() == b"authorization" for name, _ in headers):
            headers += ask_bearer(self.bearer_token)
        return Asked(self.url if self.ask_url is None else ask_url(self.ask_url), headers)

    @property
    def may_answer_differently(self) -> bool:
        """Whether `ask` asks a callable."""
        return self.ask_url is not None or callable(self.headers) or callable(self.bearer_token)


def make_plan(
    url: str | Callable[[], str],
    *,
    headers: HeaderSource,
    method: str,
    body: bytes | None,
    bearer_token: str | Callable[[], str] | None,
    timeouts: Timeouts,
    keepalive: Keepalive,
    backoff: Backoff,
    tls: Trust,
    client_cert: ClientCertificate = None,
    reconnect: bool = True,
) -> Plan:
    """Check what a caller gave, before anything is opened. Raises `InvalidRequestError`."""
    if not isinstance(url, str) and not callable(url):
        raise checks.wrong("url", "a str, or a callable that returns one", url)
    if not (bearer_token is None or isinstance(bearer_token, str) or callable(bearer_token)):
        raise checks.wrong("bearer_token", "a str, a callable that returns one, or None", bearer_token)
    fixed: HeaderSource = headers
    if headers is not None and not callable(headers):
        # Copied, since the caller may change a mapping, and an iterator would be used up by the first connection.
        fixed = pairs_of(headers)
        check_headers(fixed)
    if not callable(bearer_token):
        ask_bearer(bearer_token)
    check_settings(timeouts, keepalive, backoff, tls)
    checks.flag(reconnect, "reconnect")
    return Plan(
        url=_NotAsked("http", "", 0, "", "", None) if callable(url) else parse_url(url),
        method=check_method(method),
        body=check_body(body),
        headers=fixed,
        bearer_token=bearer_token,
        timeouts=timeouts,
        keepalive=keepalive,
        backoff=backoff,
        trust=tls,
        client_cert=check_client_cert(client_cert, tls),
        ask_url=url if callable(url) else None,
        reconnect=reconnect,
    )


def check_settings(timeouts: Timeouts, keepalive: Keepalive, backoff: Backoff, tls: Trust) -> None:
    """The settings that every subscriber has. Raises `InvalidRequestError`."""
    checks.instance(timeouts, Timeouts, "timeouts")
    checks.instance(keepalive, Keepalive, "keepalive")
    checks.instance(backoff, Backoff, "backoff")
    check_trust(tls)
