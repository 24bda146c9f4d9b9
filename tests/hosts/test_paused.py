"""A paused stream, whose consumer has not read what there is, is left alone by a fork."""

from __future__ import annotations

from tests.hosts.conftest import Serve
from tests.hosts.feed import context
from tests.hosts.support import PATIENCE
from tests.hosts.test_fork import Child, linux, raises_closed
from tests.hosts.test_many_events import numbered, opened
from wire_rawsse import EventStreams
from wire_rawsse.many_events import MOST_UNREAD

__all__ = ["context"]  # A fixture.


@linux
def test_a_fork_does_not_touch_its_connection(serve: Serve, ca_file: str, tls: bool) -> None:
    """The child must neither send close_notify on it nor receive from it."""
    server = serve(tls=tls)
    with EventStreams() as streams:
        source, peer = opened(streams, server, tls=ca_file)
        peer.say(numbered(MOST_UNREAD))
        while len(source._sink.items) < MOST_UNREAD:
            streams._loop.run(0.02)
        streams._pause_the_full()
        peer.say(numbered(1, MOST_UNREAD))
        Child(lambda: raises_closed(lambda: streams.next(0))).check()
        numbers = [streams.next(PATIENCE) for _ in range(MOST_UNREAD + 1)]
        assert [int(got[1].data) for got in numbers if got] == [*range(MOST_UNREAD + 1)]
        peer.say(numbered(1, MOST_UNREAD + 1))
        assert streams.next(PATIENCE) is not None
        assert source.state.ends == ()
