"""A part of the lab that runs as a process of its own: the link, the name server, the proxy.

Each of them sits in another host than the lab and must go on while the lab does something else, so each is a child,
which stays in the network namespace that it was started in (`Host.entered`), with one conversation: a line of JSON on
its standard input is a call, `{"do": NAME, …}`; a line on its standard output is the answer to it, with `"error"` where
the call made no sense. The first line, which nobody asked for, says that it is ready. It ends when its standard input
ends, hence with the lab, however that ends.

Whatever a player did is counted and asked for with `report`: that count is the proof that the fault took place.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from tests.faults.tools import LabError

ROOT: Final = Path(__file__).resolve().parent.parent.parent
"""The checkout, from which `tests` and `wire_rawsse` are imported."""
PATIENCE: Final = 10.0
"""Seconds for any answer of a player: only a broken one takes so long."""


PlayerT = TypeVar("PlayerT", bound="Player")


class PlayerError(LabError):
    """A player does not start, does not answer, or does not know what to do. A fault of the lab, never a result."""


class Player:
    """Starts `python -m MODULE` right here. `with` ends it. Raises `PlayerError`."""

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        self._name = module.rpartition(".")[2]
        self.command = [sys.executable, "-m", module, *arguments]
        self._left = b""
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )
        try:
            self.ready = self._answer()
        except PlayerError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **call: Any) -> dict[str, Any]:
        """One call, one answer. Raises `PlayerError`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **call}).encode() + b"\n")
        except OSError:
            pass  # It has ended; its last words are reported below.
        return self._answer()

    def report(self) -> dict[str, Any]:
        return self.ask("report")

    def close(self) -> None:
        """End it. Twice is fine."""
        process = self._process
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self: PlayerT) -> PlayerT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None
        while b"\n" not in self._left:
            readable, _, _ = select.select([output], [], [], PATIENCE)
            if not readable:
                raise PlayerError(f"the {self._name} did not answer within {PATIENCE:g} s")
            data = os.read(output.fileno(), 1 << 20)
            if not data:
                raise PlayerError(f"the {self._name} has ended: {self._last_words()}")
            self._left += data
        line, _, self._left = self._left.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PlayerError(f"the {self._name} says: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        said = os.read(self._process.stderr.fileno(), 65536).decode(errors="replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"


Call = Mapping[str, Any]


class Conversation:
    """The child's side. Its owner polls `fd` and calls `turn` when it is readable."""

    fd: Final = 0

    def __init__(self, handle: Callable[[Call], dict[str, Any]]) -> None:
        self._handle = handle
        self._left = b""

    def say(self, answer: Mapping[str, Any]) -> None:
        try:
            os.write(1, json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            pass  # The end of our input, which follows, says the same.

    def turn(self) -> bool:
        """Read and answer what has come; False at the end of it."""
        data = os.read(self.fd, 65536)
        if not data:
            return False
        *lines, self._left = (self._left + data).split(b"\n")
        for line in lines:
            try:
                self.say(self._handle(json.loads(line)))
            except (KeyError, TypeError, ValueError, OSError) as error:
                self.say({"error": f"{type(error).__name__}: {error}"})
        return True
