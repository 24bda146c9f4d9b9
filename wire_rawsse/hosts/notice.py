"""The small part of `surroundings` that is always there: it loads the rest when its loop runs for the first time.

If that fails, because the process has no descriptor left, it is tried again at each connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire_rawsse.hosts.loop import Loop
from wire_rawsse.log import info_once

if TYPE_CHECKING:
    from wire_rawsse.hosts.surroundings import Surroundings
    from wire_rawsse.hosts.task import Task


class Notice:
    """Has a loop notice changes of the machine: with `watch` from its first `run` on, otherwise only if it is told."""

    __slots__ = ("_loop", "_surroundings", "_watch")

    def __init__(self, loop: Loop, watch: bool) -> None:
        self._loop = loop
        self._watch = watch
        self._surroundings: Surroundings | None = None
        if watch:
            loop.request(self._begin)

    def network_changed(self) -> None:
        """Look at everything. From any thread."""
        self._loop.request(self._look_at_everything)

    def _begin(self) -> Surroundings | None:
        """None: it cannot be loaded. The streams live without it."""
        if self._surroundings is None:
            try:
                from wire_rawsse.hosts.surroundings import Surroundings

                self._surroundings = Surroundings(self._loop, listens=self._watch)
            except Exception as error:
                info_once(f"the machine is not watched ({type(error).__name__}); clocks notice its changes")
                if self._watch:
                    self._loop._handle.opened = self._opened
                return None
            self._loop.add_housekeeping(self._surroundings)
        return self._surroundings

    def _opened(self, task: Task) -> None:
        """Begin late: no earlier change has been noticed."""
        self._look_at_everything()

    def _look_at_everything(self) -> None:
        surroundings = self._begin()
        if surroundings is not None:
            surroundings.look_at_everything()
