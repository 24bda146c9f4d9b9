"""`daemon --print-unit`: a systemd unit that runs the daemon as it was asked for, in a sandbox.

The unit is for the system's manager and any systemd from 247 on. It starts the very command line that printed it, as
the same user and in the same folder, so relative paths keep their meaning.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Final

_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH that a service gets from systemd (systemd.exec(5), "Environment variables in spawned processes")."""
_KEPT: Final = ("WIRE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
"""Variables that decide where wire's files are. Others, such as proxies, may hold a secret and are never copied."""

_UNIT: Final = """\
# {name}: made by wire-rawsse daemon --print-unit. To install it (as root):
#   save this as /etc/systemd/system/{name}
{prepare}#   systemctl daemon-reload && systemctl enable --now {name}
# How it is: systemctl status {name}; journalctl -u {name}
# Reload (read files again, renew streams): systemctl reload {name}

[Unit]
Description=Runs a command on each event of an event stream (wire-rawsse)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={start}
ExecReload=kill -HUP $MAINPID
WorkingDirectory={folder}
User={user}
{environment}WatchdogSec=60
Restart=on-failure
RestartSec=5
# Wrong usage does not get better by itself.
RestartPreventExitStatus=64
TimeoutStopSec=10

# The sandbox. The command runs in it too: add the folders that it writes to, and remove what it cannot live with.
{writable}ProtectSystem=strict
ProtectHome=read-only
PrivateTmp={private_tmp}
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def unit(arguments: Sequence[str], program: str, writable: Iterable[str], *, name: str = "wire-rawsse.service") -> str:
    """The unit for `wire-rawsse daemon` with these arguments.

    `program` is the command's own, and `writable` are the folders that the daemon and wire write to.
    """
    folders = [os.path.abspath(folder) for folder in writable]
    missing = [folder for folder in folders if not os.path.isdir(folder)]
    variables = [f"{variable}={os.environ[variable]}" for variable in _KEPT if variable in os.environ]
    variables += _path_for(program)
    used = [os.getcwd(), program, *_ourselves(), *arguments, *folders]
    return _UNIT.format(
        name=name,
        prepare="".join(f"#   install -d -m 700 -o {_user()} {_word(folder)}\n" for folder in missing),
        start=" ".join(map(_word, [*_ourselves(), "daemon", *arguments])),
        folder=_escaped(os.getcwd()),
        user=_user(),
        environment="".join(f"Environment={_word(variable, dollar='$')}\n" for variable in variables),
        private_tmp="no" if any(map(_is_temporary, used)) else "yes",
        writable="".join(f"ReadWritePaths={_word(folder, dollar='$')}\n" for folder in folders),
    )


def _is_temporary(text: str) -> bool:
    """Whether it is a path in one of the two folders that PrivateTmp=yes replaces by empty ones."""
    return f"{text}/".startswith(("/tmp/", "/var/tmp/"))


def _ourselves() -> list[str]:
    """The absolute words that start this program."""
    script = shutil.which(sys.argv[0]) if os.path.basename(sys.argv[0]) == "wire-rawsse" else None
    return [os.path.abspath(script)] if script else [sys.executable, "-m", "wire_rawsse"]


def _path_for(program: str) -> list[str]:
    """PATH, if the program would not be found where systemd looks."""
    found = None if os.path.dirname(program) else shutil.which(program)
    folder = os.path.dirname(found or "")
    return [f"PATH={folder}:{_DEFAULT_PATH}"] if folder and folder not in _DEFAULT_PATH.split(":") else []


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return str(getattr(os, "getuid", lambda: 0)())


def _escaped(text: str, dollar: str = "$$") -> str:
    """`text` with `%` and `$` doubled, which systemd would expand (systemd.unit(5), systemd.service(5))."""
    return text.replace("%", "%%").replace("$", dollar)


def _word(text: str, dollar: str = "$$") -> str:
    """One word of a command line, quoted as systemd.syntax(7) has it."""
    if text == ";":
        return "\\;"
    plain = all(one.isalnum() or one in "-_./:=@,+~%^#?&" for one in text) and text.isascii()
    text = _escaped(text, dollar)
    return text if plain and text else '"' + "".join(map(_quoted, text)) + '"'


def _quoted(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
