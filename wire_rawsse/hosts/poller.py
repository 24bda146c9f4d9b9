"""Waiting for descriptors: epoll (Linux), kqueue (macOS, BSD), poll or select (the rest), with the same methods.

The choice is made when a poller is made, not when this module is imported: gevent and eventlet remove epoll and kqueue
from `select`, and replace poll or select by versions that let other greenlets run.

The standard library's `selectors` is not used, because a wake pays for each line of Python between `epoll_wait` and the
return, and because it hides the descriptor of the epoll, which we hand out. All pollers are level-triggered, so a
descriptor with unread data is reported again.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Poller

MAX_EVENTS: Final = 16
"""The most events of one poll. (By default `epoll.poll` allocates room for 1023.) If more may be ready, the loop polls
again."""


if sys.platform == "linux":

    class EpollPoller:
        """epoll(7). READ and WRITE are its own EPOLLIN and EPOLLOUT."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.register = self._epoll.register
            self.modify = self._epoll.modify
            self.unregister = self._epoll.unregister
            self.close = self._epoll.close
            self.fileno = self._epoll.fileno
            self.poll = self._epoll.poll


def new_poller() -> Poller:
    """The best that the module `select` has now."""
    if sys.platform == "linux" and hasattr(select, "epoll"):
        return EpollPoller()
    from wire_rawsse.hosts.portable import best_poller

    return best_poller()
