"""Names to addresses, without ever blocking.

getaddrinfo(3) has no deadline and cannot be interrupted: with a dead resolver it takes as long as the C library likes,
at worst for ever. So each look-up runs in a plain daemon thread, which delivers its answer to whoever still waits, and
is simply left behind by whoever does not. `concurrent.futures` would not do: it joins its threads at the interpreter's
exit, which is the hang that we came to prevent.

A thread that is left behind must not get company. While a look-up of a name is under way, asking for it again joins
that look-up: one thread for each name at the most, however often it is retried and however many streams want it (an
endpoint whose slot is rotated is another stream each time). What was asked while the network was down may fail when it
is up again, so a failure counts only for those who were there when it was asked: for whoever has joined since, the same
thread asks once more.

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
        over = False
        while not over:
            with self._lock:
                asked_for = list(self._waiting.get((host, port), {}).values())
            try:
                found, error = self._look_up(host, port), None
            except Exception as caught:
                found, error = None, caught
            over = self._finish(host, port, found, error, asked_for)

    def _finish(
        self,
        host: str,
        port: int,
        found: list[Address] | None,
        error: Exception | None,
        asked_for: list[Answer[list[Address]]] | None = None,
    ) -> bool:
        """Deliver to whoever waits; False where somebody still does, who has joined after what failed was asked."""
        with self._lock:
            answers = self._waiting.pop((host, port), WeakKeyDictionary())
            late: WeakKeyDictionary[object, Answer[list[Address]]] = WeakKeyDictionary()
            if error is not None and asked_for is not None:
                late.update({asker: answer for asker, answer in answers.items() if answer not in asked_for})
            if late:
                self._waiting[host, port] = late
            due = [answer for asker, answer in answers.items() if asker not in late]
        for answer in due:
            answer.deliver(found, error)
        return not late
