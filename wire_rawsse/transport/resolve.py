"""Names to addresses, without ever blocking.

getaddrinfo(3) has no deadline and cannot be interrupted: with a dead resolver it takes as long as the C library likes,
at worst for ever. So each look-up runs in a plain daemon thread, which delivers its answer to whoever still waits, and
is simply left behind by whoever does not. `concurrent.futures` would not do: it joins its threads at the interpreter's
exit, which is the hang that we came to prevent.

A thread that is left behind must not get company. While a look-up of a name is under way, asking for it again joins
that look-up: one thread for each name at the most, however often it is retried and however many streams want it (an
endpoint whose slot is rotated is another stream each time).

Numeric hosts need no thread: with AI_NUMERICHOST nothing is asked of anybody.
"""

from __future__ import annotations

import _thread
import socket
from collections.abc import Callable
from weakref import WeakKeyDictionary

from wire_rawsse.waits import Address, Answer

LookUp = Callable[[str, int], "list[Address]"]


def look_up(host: str, port: int, flags: int = 0) -> list[Address]:
    """Blocking. The addresses of `host` in the order of RFC 6724, as getaddrinfo(3) gives them. Raises `OSError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags)
    except UnicodeError as error:  # Python encodes a str by IDNA on its way to the C library.
        raise socket.gaierror(socket.EAI_NONAME, "no valid host name") from error
    return [Address(family, kind, protocol, place) for family, kind, protocol, _, place in found]


class Resolver:
    """Look-ups under way, by name, with the answer that each asker has last been promised."""

    def __init__(self, announce: Callable[[], None], look_up: LookUp = look_up) -> None:
        self._announce = announce
        self._look_up = look_up
        self._lock = _thread.allocate_lock()
        self._waiting: dict[tuple[str, int], WeakKeyDictionary[object, Answer[list[Address]]]] = {}

    def resolve(self, host: str, port: int, asker: object = None) -> Answer[list[Address]]:
        """`asker` waits for one answer at a time: what it was promised before is for nobody any more."""
        answer: Answer[list[Address]] = Answer(self._announce)
        try:
            answer.deliver(look_up(host, port, socket.AI_NUMERICHOST))
            return answer
        except OSError:
            pass  # Not numeric.
        under_way = False
        try:
            with self._lock:
                under_way = (host, port) in self._waiting
                self._waiting.setdefault((host, port), WeakKeyDictionary())[asker or self] = answer
            if not under_way:
                self._start(host, port)
        except BaseException:
            # A signal handler raised: a look-up that never began would be joined for ever.
            if not under_way:
                self._waiting.pop((host, port), None)
            raise
        return answer

    def _start(self, host: str, port: int) -> None:
        import threading

        thread = threading.Thread(target=self._run, args=(host, port), name="wire-resolve", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # The system has no thread left.
            self._finish(host, port, None, OSError(str(error)))

    def _run(self, host: str, port: int) -> None:
        try:
            self._finish(host, port, self._look_up(host, port), None)
        except Exception as error:
            self._finish(host, port, None, error)

    def _finish(self, host: str, port: int, found: list[Address] | None, error: Exception | None) -> None:
        with self._lock:
            answers = self._waiting.pop((host, port), None)
        for answer in list((answers or {}).values()):
            answer.deliver(found, error)
