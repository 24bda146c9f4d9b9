"""What a user hands over beside the arguments: tokens, header fields, bodies. From files or the environment.

A command line is no place for a secret: every user of the machine can read it, and shells write it down. So a token has
no option of its own, a header that is a credential by its name is refused there, and so is a URL with a password.

Nothing in here quotes what it has read. Every failure is wrong usage, told in one line, before anything is opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Final

from wire_rawsse.cli.ending import USAGE, Failure
from wire_rawsse.errors import InvalidRequest, TrustError
from wire_rawsse.protocol.request import check_headers
from wire_rawsse.protocol.url import Url, parse_url
from wire_rawsse.wire.files import shown

_LARGEST_TOKEN: Final = 64 * 1024
_LARGEST_HEADERS: Final = 256 * 1024
_LARGEST_BODY: Final = 64 * 1024 * 1024

_CREDENTIAL: Final = re.compile(r"auth(?!ors?\b)|cookie|token|secret|passw|credential|api-?key", re.IGNORECASE)

HeaderPairs = list[tuple[str, str]]


def url(text: str) -> Url:
    """A checked URL without user name and password."""
    try:
        found = parse_url(text)
    except InvalidRequest as error:
        raise Failure(str(error), USAGE) from None
    if found.authorization is not None:
        raise Failure(
            "the URL holds a user name or password, which others can read in the list of processes; "
            "put an Authorization line into a --headers-file",
            USAGE,
        )
    return found


def token(file: str | None, variable: str | None) -> str | Callable[[], str] | None:
    """The bearer token from a file or a variable of the environment.

    From a regular file it is a callable that reads it anew at each connect, so that a rotated token is used.
    """
    if variable is not None:
        value = os.environ.get(variable, "")
        if not value:
            name = variable if re.fullmatch("[A-Z0-9_]{1,40}", variable) else "that variable"
            raise Failure(f"--token-env: expected a token in the environment, {name} is not set or empty", USAGE)
        return _checked_token(value, "--token-env")
    if file is None:
        return None
    path = file
    found = _checked_token(_text(path, _LARGEST_TOKEN, "--token-file"), "--token-file")
    if not _is_regular(path):
        return found
    return lambda: _text(path, _LARGEST_TOKEN, "--token-file")


def headers(arguments: list[str], file: str | None) -> HeaderPairs:
    """The fields of each `--header` and of each line of the `--headers-file`; the file's come last."""
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
    if file is not None:
        for number, line in enumerate(_text(file, _LARGEST_HEADERS, "--headers-file").split("\n"), 1):
            line = line.removesuffix("\r")
            if not line.strip() or line.startswith("#"):
                continue
            where = f"--headers-file, line {number}"
            name, colon, value = line.partition(":")
            if not colon:
                raise Failure(f"{where}: expected NAME: VALUE, got no colon", USAGE)
            pairs.append((name, value.strip(" \t")))
            _check(pairs[-1:], where)
    return pairs


def body(file: str | None) -> bytes | None:
    """The bytes of the `--data-file`."""
    return None if file is None else _content(file, _LARGEST_BODY, "--data-file")


def ca_file(path: str | None) -> str | None:
    """`path`, once the certificates in it have been loaded. They are looked at again at each connect."""
    if path is not None:
        from wire_rawsse.transport.trust import context_for

        try:
            context_for(path)
        except TrustError as error:
            raise Failure(f"--cacert: {error}", USAGE) from None
    return path


def _checked_token(text: str, option: str) -> str:
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or not all("!" <= character <= "~" for character in text):
        raise Failure(
            f"{option}: expected one token of visible ASCII characters (RFC 6750), "
            + ("got nothing" if not text else "got a space, a line end or another character inside it"),
            USAGE,
        )
    return text


def _check(pairs: HeaderPairs, where: str) -> None:
    try:
        check_headers(pairs)
    except InvalidRequest as error:
        # The error counts from the first of the pairs it was given, which is no number that the user knows.
        raise Failure(
            f"{where}: {str(error).replace('header 1 has a name', 'expected NAME:VALUE with a name')}", USAGE
        ) from None


def _name(name: str) -> str:
    """A header's name, if it is nothing else."""
    return name if re.fullmatch("[A-Za-z-]{1,40}", name) else "that header"


def _text(path: str, limit: int, option: str) -> str:
    try:
        return _content(path, limit, option).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Failure(f"{option}: expected UTF-8 text in {shown(path)}, got something else", USAGE) from None


def _content(path: str, limit: int, option: str) -> bytes:
    """What the file holds. It may be a pipe, as in `--token-file <(pass show relay)`."""
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path may have one of its characters"
        raise Failure(f"{option}: expected a file that can be read, {shown(path)} cannot: {reason}", USAGE) from None
    if len(content) > limit:
        raise Failure(f"{option}: expected at most {limit} bytes in {shown(path)}, found more", USAGE)
    return content


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
