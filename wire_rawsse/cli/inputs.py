"""Input from files and the environment: tokens, header fields, bodies.

A command line is no place for a secret: every user of the machine can read it, and shells write it down. So a token has
no option of its own, a header that is a credential by its name is refused there, and so is a URL with a password.

No error here quotes the content. At the start every failure is wrong usage, told in one line before any connection is
made. At a reconnect it is a `CredentialsError` with the same text, and is retried.
"""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Callable
from typing import Final, Generic, TypedDict, TypeVar

from wire_rawsse.cli.exit import USAGE, Failure
from wire_rawsse.errors import CredentialsError, InvalidRequestError, TrustError
from wire_rawsse.foreign import File, exposed, read_file, reason, shown
from wire_rawsse.log import warn_once
from wire_rawsse.protocol.request import check_headers
from wire_rawsse.protocol.url import Url, parse_url

_LARGEST_TOKEN: Final = 64 * 1024
_LARGEST_HEADERS: Final = 256 * 1024
_LARGEST_BODY: Final = 64 * 1024 * 1024

_CREDENTIAL: Final = re.compile(r"auth(?!ors?\b)|cookie|token|secret|passw|credential|api-?key", re.IGNORECASE)

PIPE_WAIT: Final = 10.0
"""Seconds in which a pipe given as a file must end."""

HeaderPairs = list[tuple[str, str]]
T = TypeVar("T")


def url(text: str) -> Url:
    """A checked URL without user name and password."""
    try:
        found = parse_url(text)
    except InvalidRequestError as error:
        raise Failure(str(error), USAGE) from None
    if found.authorization is not None:
        raise Failure(
            "the URL holds a user name or password, which others can read in the list of processes; "
            "put an Authorization line into a --headers-file",
            USAGE,
        )
    return found


def token(file: str | None, variable: str | None) -> str | Callable[[], str] | None:
    """The bearer token from a file or from an environment variable.

    For a regular file the result is a callable that reads it at each connect, so that a rotated token is used. It
    raises `CredentialsError` with the option, the path and the reason.
    """
    if variable is not None:
        value = os.environ.get(variable, "")
        if not value:
            name = variable if re.fullmatch("[A-Z0-9_]{1,40}", variable) else "that variable"
            raise Failure(f"--token-env: expected a token in the environment, {name} is not set or empty", USAGE)
        return _checked_token(value, "--token-env")
    if file is None:
        return None
    source = _Secret(
        "--token-file", file, _LARGEST_TOKEN, lambda text: _checked_token(text, "--token-file", f" in {shown(file)}")
    )
    return source.again if source.is_regular else source.first


def headers(arguments: list[str], file: str | None) -> HeaderPairs | Callable[[], HeaderPairs]:
    """The fields of each `--header` and of each line of the `--headers-file`; the file's come last.

    A regular file is read at each connect, as the token file is.
    """
    pairs: HeaderPairs = []
    for argument in arguments:
        name, colon, value = argument.partition(":")
        # The name first: what follows it may be the very secret that must not be quoted.
        if _CREDENTIAL.search(name):
            shown_name = _name(name) if colon else _name("")
            raise Failure(
                f"--header: {shown_name} is a credential, and others can read arguments in the list of processes; "
                "put that line into a --headers-file, or the bearer token into a --token-file",
                USAGE,
            )
        if not colon:
            raise Failure("--header: expected NAME:VALUE, got no colon", USAGE)
        pairs.append((name, value.strip(" \t")))
        _check(pairs[-1:], "--header")
    if file is None:
        return pairs
    source = _Secret("--headers-file", file, _LARGEST_HEADERS, lambda text: _fields(text, shown(file)))
    return (lambda: pairs + source.again()) if source.is_regular else pairs + source.first


def _fields(text: str, path: str) -> HeaderPairs:
    pairs: HeaderPairs = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        where = f"--headers-file, line {number}"
        name, colon, value = line.partition(":")
        if not colon:
            raise Failure(f"{where}: expected NAME: VALUE, got no colon, in {path}", USAGE)
        pairs.append((name, value.strip(" \t")))
        _check(pairs[-1:], where, f", in {path}")
    return pairs


class _Secret(Generic[T]):
    """A file that an option names and that holds a secret. It is read when this is made; raises `Failure`."""

    def __init__(self, option: str, path: str, limit: int, parse: Callable[[str], T]) -> None:
        self._option = option
        self._path = path
        self._limit = limit
        self._parse = parse
        file = _read(path, limit, option, wait=PIPE_WAIT)
        self.is_regular = file.is_regular
        self.first = parse(_decoded(file.content, path, option))
        warning = exposed(path, file.mode)
        if warning:
            warn_once(f"{option}: {warning}")

    def again(self) -> T:
        """The present content of the file. Raises `CredentialsError`; never waits for a pipe that is there instead."""
        try:
            return self._parse(_decoded(_read(self._path, self._limit, self._option).content, self._path, self._option))
        except Failure as failure:
            text = failure.text
        raise CredentialsError(text)


def body(file: str | None) -> bytes | None:
    """The bytes of the `--data-file`."""
    return None if file is None else _read(file, _LARGEST_BODY, "--data-file", wait=PIPE_WAIT).content


class RequestOptions(TypedDict):
    """Arguments of `EventSource` and of `StreamSubscriber`."""

    headers: HeaderPairs | Callable[[], HeaderPairs]
    method: str
    body: bytes | None
    bearer_token: str | Callable[[], str] | None


def request(options: Namespace) -> RequestOptions:
    """The options of `arguments.add_request`. Reads their files; raises `Failure`."""
    content = body(options.data_file)
    return {
        "headers": headers(options.header, options.headers_file),
        "method": options.method or ("GET" if content is None else "POST"),
        "body": content,
        "bearer_token": token(options.token_file, options.token_env),
    }


class TlsOptions(TypedDict):
    """Two arguments of `EventSource` and of `StreamSubscriber.from_wire`."""

    tls: str | None
    client_cert: tuple[str, str] | None


def tls(options: Namespace) -> TlsOptions:
    """`--cacert`, `--cert` and `--key`, once all of them have been loaded. They are looked at again at each connect."""
    if options.key is not None and options.cert is None:
        raise Failure("--key: expected together with --cert", USAGE)
    pair = None if options.cert is None else (options.cert, options.key or options.cert)
    if options.cacert is not None or pair is not None:
        from wire_rawsse.transport.contexts import context_for
        from wire_rawsse.transport.trust import check_client_cert

        try:
            context_for(options.cacert, check_client_cert(pair, options.cacert))
        except TrustError as error:
            text = str(error)
        else:
            return {"tls": options.cacert, "client_cert": pair}
        option = "--cacert" if pair is None or text.startswith("the CA file") else "--cert"
        raise Failure(f"{'--key' if options.key and text.startswith('the key') else option}: {text}", USAGE)
    return {"tls": None, "client_cert": None}


def _checked_token(text: str, option: str, where: str = "") -> str:
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or not all("!" <= character <= "~" for character in text):
        raise Failure(
            f"{option}: expected one token of visible ASCII characters (RFC 6750){where}, "
            + ("got nothing" if not text else "got a space, a line end or another character inside it"),
            USAGE,
        )
    return text


def _check(pairs: HeaderPairs, where: str, path: str = "") -> None:
    try:
        check_headers(pairs)
    except InvalidRequestError as error:
        # The error counts from the first of the pairs it was given, which is no number that the user knows.
        raise Failure(
            f"{where}: {str(error).replace('header 1 has a name', 'expected NAME:VALUE with a name')}{path}", USAGE
        ) from None


def _name(name: str) -> str:
    """A header's name, if it is nothing else."""
    return name if re.fullmatch("[A-Za-z-]{1,40}", name) else "that header"


def _decoded(content: bytes, path: str, option: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Failure(f"{option}: expected UTF-8 text in {shown(path)}, got something else", USAGE) from None


def _read(path: str, limit: int, option: str, *, wait: float = 0.0) -> File:
    """The file; with `wait` it may be a pipe, as in `--token-file <(pass show relay)`."""
    try:
        return read_file(path, limit, wait=wait)
    except OSError as error:
        why = reason(error)
    raise Failure(f"{option}: expected a file that can be read, {shown(path)} cannot: {why}", USAGE)
