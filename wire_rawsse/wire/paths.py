"""The places of wire's files, and the one setting of its environment that concerns TLS.

Pure functions of an environment and a platform, so that each platform's rule is tested on every platform; they return
`str` and build it with the named platform's own path rules (`pathlib` alone would cost two thirds of a MiB).

These rules were observed on wire 0.17 for Linux. For the other platforms they follow wire's own messages:

* `WIRE_HOME` beats the rest. It is taken as it is: relative stays relative, `~` is no home, and empty means the
  current folder. That is odd, but the point is to find the very files that wire uses.
* `XDG_CONFIG_HOME` and `XDG_STATE_HOME` count only where they are absolute (XDG Base Directory Specification).
* Without `HOME` the home folder comes from the password database.
* On macOS both folders are the same one. On Windows they are the roaming and the local application data, which is
  what "config" and "local data" mean in the library that wire asks; XDG variables mean nothing on either.

wire's command also derives a home from an agent session (`WIRE_SESSION_ID` and others), and then even `WIRE_HOME`
gives way. It hands the result to the daemons that it starts as `WIRE_HOME`, so that derivation is not repeated here;
a person who starts ours by hand from within such a session sets `WIRE_HOME`.
"""

from __future__ import annotations

import _thread
import ntpath
import os
import posixpath
import sys
from collections.abc import Mapping

from wire_rawsse.errors import RelayFileError

INSECURE = "WIRE_INSECURE_SKIP_TLS_VERIFY"

_first = _thread.allocate_lock()
"""Taken by the first thread that warns and never released, so that just one does."""
_first_overruled = _thread.allocate_lock()


def config_dir(environ: Mapping[str, str] | None = None, platform: str | None = None) -> str:
    """The folder of what wire was told (`relay.json`). Raises `RelayFileError` where no home folder can be found."""
    return _folder("config", environ, platform)


def state_dir(environ: Mapping[str, str] | None = None, platform: str | None = None) -> str:
    """The folder of what wire found out (`stream_state.json`). Raises `RelayFileError` like `config_dir`."""
    return _folder("state", environ, platform)


def relay_json(environ: Mapping[str, str] | None = None, platform: str | None = None) -> str:
    """The file that names our endpoints. Raises `RelayFileError` like `config_dir`."""
    return _join(platform, config_dir(environ, platform), "relay.json")


def stream_state_json(environ: Mapping[str, str] | None = None, platform: str | None = None) -> str:
    """The file that `wire status` reads. Raises `RelayFileError` like `config_dir`."""
    return _join(platform, state_dir(environ, platform), "stream_state.json")


def skip_tls_verify(environ: Mapping[str, str] | None = None) -> bool:
    """True where the environment turns certificate checks off: 1, true, yes or on, in any case, and no space around."""
    environ = os.environ if environ is None else environ
    return environ.get(INSECURE, "").lower() in ("1", "true", "yes", "on")


def warn_insecure(*, overruled: bool = False) -> None:
    """Say on standard error that certificates are not checked; once a process, however often it is called.

    `overruled`: say instead, also once, that the setting has no effect because the caller named what to trust.
    Never raises: a daemon whose standard error is closed still runs.
    """
    if not (_first_overruled if overruled else _first).acquire(blocking=False):
        return
    rule = "!" * 88
    text = (
        f"{rule}\n"
        f"!! WARNING: {INSECURE} is set: no TLS certificate is checked.\n"
        "!! Anyone on the way to the relay can read the slot token and forge wakes.\n"
        "!! Unset it to be safe again, or name a CA file (--cacert, tls=), which overrules it.\n"
        f"{rule}\n"
    )
    if overruled:
        text = f"{INSECURE} is set but has no effect: an explicit tls= or --cacert says what is trusted\n"
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        return  # No standard error (pythonw), a broken one, or a closed one.


def _folder(kind: str, environ: Mapping[str, str] | None, platform: str | None) -> str:
    environ = os.environ if environ is None else environ
    platform = sys.platform if platform is None else platform
    home = environ.get("WIRE_HOME")
    if home is not None:
        return _join(platform, home, kind, "wire")
    if platform == "win32":
        variable, fallback = ("APPDATA", "Roaming") if kind == "config" else ("LOCALAPPDATA", "Local")
        base = environ.get(variable) or _join(platform, _home(environ, platform), "AppData", fallback)
    elif platform == "darwin":
        base = _join(platform, _home(environ, platform), "Library", "Application Support")
    else:
        variable, parts = (
            ("XDG_CONFIG_HOME", (".config",)) if kind == "config" else ("XDG_STATE_HOME", (".local", "state"))
        )
        base = environ.get(variable, "")
        if not posixpath.isabs(base):
            base = _join(platform, _home(environ, platform), *parts)
    return _join(platform, base, "wire")


def _home(environ: Mapping[str, str], platform: str) -> str:
    variable = "USERPROFILE" if platform == "win32" else "HOME"
    home = environ.get(variable) or _home_of_user()
    if home:
        return home
    raise RelayFileError(
        f"wire's files cannot be found: {variable} is not set and this user has no home folder; "
        f"set {variable}, or WIRE_HOME to wire's own folder"
    )


if sys.platform == "win32":

    def _home_of_user() -> str | None:
        """Windows has no password database."""
        return None

else:

    def _home_of_user() -> str | None:
        import pwd

        try:
            return pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None


def _join(platform: str | None, *parts: str) -> str:
    if (sys.platform if platform is None else platform) == "win32":
        return ntpath.join(*parts)
    return posixpath.join(*parts)
