"""A daemon that sleeps on a `StreamSubscriber`, inline or in a thread, and pulls when it is woken.

It has no safety net: a daemon in life also pulls every few seconds, which would hide a wake that was lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.daemons.common import AGAIN_SECONDS, Given, Orders, Pull, observe, say, sleep_under_faketime
from wire_rawsse import StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.errors import ClosedError


def one_round(given: Given, orders: Orders, pull: Pull) -> None:
    subscriber = StreamSubscriber.from_wire(**given.settings)
    wait: Callable[[float | None], bool] = subscriber.wait
    over = [False]
    if given.host == "thread":
        wake = WakeChannel()
        thread = spawn_stream_subscriber(wake, subscriber)

        def stop() -> None:
            over[0] = True
            thread.stop()
            wake.set()

        wait = wake.wait
        orders.on_stop(stop)
    else:
        orders.on_stop(subscriber.close)
    try:
        while not over[0]:
            if wait(AGAIN_SECONDS if pull.owed else None) and not over[0]:
                say("wake")
                pull.owed = True
            if pull.owed and not over[0]:
                pull()
                if given.slow:
                    time.sleep(given.slow)
                say("waits")
    except ClosedError:
        pass
    if given.host == "thread":
        thread.join()
    say("over")


def main() -> None:
    given = Given()
    sleep_under_faketime()
    observe()
    pull = Pull(given)
    orders = Orders()
    while orders.began():
        one_round(given, orders, pull)


if __name__ == "__main__":
    main()
