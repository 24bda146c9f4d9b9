"""`wire-rawsse --print-completion SHELL`: completions for bash, zsh and fish, made from the parsers themselves.

Nothing is loaded while a shell completes: the script that is printed holds all words. The scripts complete commands,
options, and file names after an option that takes a file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = ("FILE", "PATH")
"""Metavars of options that take the name of a file."""


class Option(NamedTuple):
    names: tuple[str, ...]
    takes: str
    """The kind of its value: "" for nothing, "file", "words" (see `choices`) or "text"."""
    choices: tuple[str, ...]
    help: str


class Command(NamedTuple):
    summary: str
    options: tuple[Option, ...]


def script(shell: str, summaries: Mapping[str, str], parser_of: Callable[[str], argparse.ArgumentParser]) -> str:
    """The completion script for one of `SHELLS`. `summaries`: command to one line of help."""
    commands = {name: Command(summary, tuple(_options(parser_of(name)))) for name, summary in summaries.items()}
    commands[""] = Command(
        "",
        (
            Option(("--help", "-h"), "", (), "show the commands"),
            Option(("--version", "-V"), "", (), "show the version"),
            Option(("--print-completion",), "words", SHELLS, "print a completion script"),
        ),
    )
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        if not action.option_strings or action.help == argparse.SUPPRESS:
            continue
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        choices = tuple(map(str, action.choices or ()))
        takes = "" if action.nargs == 0 else "words" if choices else "file" if metavar in _FILES else "text"
        yield Option(tuple(action.option_strings), takes, choices, _first_sentence(parser, action))


def _first_sentence(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return re.split(r"[;.:] |[(]", " ".join(text.split()))[0].strip().removesuffix(".")


def _names(options: tuple[Option, ...], takes: str = "") -> Iterator[str]:
    for option in options:
        if not takes or option.takes == takes:
            yield from option.names


def _bash(commands: Mapping[str, Command]) -> str:
    words, values = [], []
    for name, command in commands.items():
        words.append(f"        {name or '*'}) words='{' '.join(_names(command.options))}' ;;")
        for takes, reply in (("file", "-f"), ("text", "")):
            if found := "|".join(f"{name}:{option}" for option in _names(command.options, takes)):
                done = f'mapfile -t COMPREPLY < <(compgen {reply} -- "$current")' if reply else ":"
                values.append(f"        {found}) {done}; return ;;")
        for option in command.options:
            if option.takes == "words":
                found = "|".join(f"{name}:{one}" for one in option.names)
                values.append(
                    f"        {found}) mapfile -t COMPREPLY < "
                    f"<(compgen -W '{' '.join(option.choices)}' -- \"$current\"); return ;;"
                )
    names = " ".join(filter(None, commands))
    new = "\n"
    # `*` must be the last pattern.
    words.sort(key=lambda line: line.lstrip().startswith("*"))
    return f"""\
# bash completion for wire-rawsse
_wire_rawsse() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD - 1]}}" command='' words
    [ "$COMP_CWORD" -gt 1 ] && command="${{COMP_WORDS[1]}}"
    case "$command" in -*) previous="$command" command='' ;; esac
    COMPREPLY=()
    case "$command:$previous" in
{new.join(values)}
    esac
    case "$command" in
{new.join(words)}
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then words="{names} $words"; fi
    case "$COMP_CWORD:$current" in
        1:* | *:-*) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    esac
}}
complete -F _wire_rawsse wire-rawsse
"""


def _zsh(commands: Mapping[str, Command]) -> str:
    def quoted(text: str) -> str:
        return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")

    def spec(option: Option) -> Iterator[str]:
        after = {"": "", "file": ":file:_files", "text": ":value: ", "words": f":value:({' '.join(option.choices)})"}
        for name in option.names:
            yield f"'*{name}[{quoted(option.help)}]{after[option.takes]}'"

    cases = []
    for name, command in commands.items():
        if name:
            specs = " \\\n                ".join(one for option in command.options for one in spec(option))
            cases.append(f"            {name})\n            _arguments \\\n                {specs} ;;")
    listed = "\n".join(f"        '{name}:{quoted(one.summary)}'" for name, one in commands.items() if name)
    own = " \\\n        ".join(one for option in commands[""].options for one in spec(option))
    new = "\n"
    return f"""\
#compdef wire-rawsse
# zsh completion for wire-rawsse
_wire_rawsse() {{
    local context state state_descr line
    typeset -A opt_args
    local -a commands
    commands=(
{listed}
    )
    _arguments -C \\
        {own} \\
        '1: :->command' '*:: :->rest'
    case "$state" in
        command) _describe -t commands command commands ;;
        rest)
            case "$line[1]" in
{new.join(cases)}
            esac ;;
    esac
}}
case "$funcstack[1]" in
    _wire_rawsse) _wire_rawsse "$@" ;;
    *) compdef _wire_rawsse wire-rawsse ;;
esac
"""


def _fish(commands: Mapping[str, Command]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    names = [name for name in commands if name]
    none = f"not __fish_seen_subcommand_from {' '.join(names)}"
    lines = ["# fish completion for wire-rawsse", "complete -c wire-rawsse -f"]
    for name, command in commands.items():
        condition = f"__fish_seen_subcommand_from {name}" if name else none
        if name:
            lines.append(f"complete -c wire-rawsse -n {quoted(none)} -a {name} -d {quoted(command.summary)}")
        for option in command.options:
            flags = [f"-l {one[2:]}" if one.startswith("--") else f"-s {one[1:]}" for one in option.names]
            after = {"": "", "file": " -r -F", "text": " -x", "words": f" -x -a {quoted(' '.join(option.choices))}"}
            text = f"{' '.join(flags)}{after[option.takes]} -d {quoted(option.help)}"
            lines.append(f"complete -c wire-rawsse -n {quoted(condition)} {text}")
    return "\n".join(lines) + "\n"
