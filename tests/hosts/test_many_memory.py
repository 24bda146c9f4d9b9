"""The memory of many streams, and that all of it is given back."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.many import open_all
from tests.support.ports import CLOSED
from wire_rawsse import EventStreams, Streams


class Refuser:
    """A port that refuses, so that ten thousand streams cost ten thousand refusals and no server."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{CLOSED}/"


def grown(work: Callable[[], object]) -> int:
    """The bytes that Python has allocated more after `work` than before, the second time."""
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def ours() -> dict[str, int]:
    """The objects of this library that there are, by type."""
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("wire_rawsse"))


@pytest.mark.parametrize("kind", [Streams, EventStreams])
def test_memory_goes_back_after_ten_thousand_streams(
    kind: type[Streams] | type[EventStreams], caplog: pytest.LogCaptureFixture
) -> None:
    """Those that never began, those that failed, and those that were waiting when they were removed."""
    caplog.set_level(logging.CRITICAL, "wire_rawsse")  # Log records would be kept for this test.
    url = Refuser().url
    with kind(max_connecting=64) as streams:

        def look(seconds: float) -> None:
            streams.wait(seconds) if isinstance(streams, Streams) else streams.next(seconds)

        def come_and_go() -> None:
            for _ in range(25):
                handles = [streams.add(url, tag=object()) for _ in range(200)]
                look(0.001)
                for handle in handles:
                    handle.remove()
            look(0)
            while streams._loop.schedule.ready:  # Work for streams that are gone is forgotten as well.
                look(0)

        assert grown(come_and_go) < 100_000, "20 bytes of each stream are too many"
        assert len(streams) == 0 and streams.states() == []


def test_so_it_does_after_streams_that_were_connected(serve: Serve) -> None:
    server = serve()
    with Streams() as streams:

        def come_and_go() -> None:
            for handle, peer in open_all(streams, server, 20):
                handle.remove()
                assert peer.gone()
            streams.wait(0)

        come_and_go()
        before = ours()
        for _ in range(5):
            come_and_go()
        assert ours() == before


def test_an_idle_stream_keeps_nothing_of_its_head(serve: Serve) -> None:
    """h11 and the header fields are a fifth of what a stream weighs."""
    import h11

    gc.collect()  # Other tests may have left some.
    with Streams() as streams:
        before = sum(isinstance(one, h11.Connection) for one in gc.get_objects())
        open_all(streams, serve(), 3)
        assert sum(isinstance(one, h11.Connection) for one in gc.get_objects()) <= before
