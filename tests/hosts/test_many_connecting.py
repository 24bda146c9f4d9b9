"""Which of many streams may connect: the gate and the resolver's threads, as a program sees them."""

from __future__ import annotations

import itertools

from tests.hosts.conftest import Serve
from tests.hosts.many import open_all
from tests.hosts.support import HEAD, NEVER, PATIENCE, HungResolver, InThread
from tests.support.ports import CLOSED
from wire_rawsse import StreamHandle, Streams, Timeouts


class TestGate:
    def test_no_more_connect_at_a_time_than_may(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with Streams(max_connecting=4) as streams:
            handles = [streams.add(server.url) for _ in range(10)]
            peers = InThread(lambda: [server.peer() for _ in range(4)])
            while peers.is_alive():
                streams.wait(0.005)
            for _ in range(10):
                streams.wait(0.01)
            assert server.nobody(0.05)
            phases = [handle.state.phase for handle in handles]
            assert (phases.count("head"), phases.count("waiting")) == (4, 6)
            opened: set[StreamHandle] = set()
            for peer in peers.result():
                peer.send(HEAD)
                while not (woken := streams.wait(PATIENCE)):
                    pass
                opened.update(woken)
                following = InThread(server.peer)
                while following.is_alive():
                    streams.wait(0.005)
            assert len(opened) == 4
            assert [handle.state.phase for handle in handles].count("waiting") == 2

    def test_a_budget_begins_with_its_turn(self, serve: Serve) -> None:
        """A stream that waited for its turn for longer than its budget still has all of it."""
        server = serve(stage="asked")
        timeouts = Timeouts(connect=0.3, response=0.4)
        with Streams(max_connecting=1) as streams:
            handles = [streams.add(server.url, timeouts=timeouts, backoff=NEVER) for _ in range(3)]
            while any(handle.state.phase != "backing off" for handle in handles):
                streams.wait(0.01)
            ends = [handle.state.since for handle in handles]
            assert all("response=0.4" in (handle.state.last_error or "") for handle in handles)
            assert all(after - before > 0.35 for before, after in itertools.pairwise(ends))

    def test_a_dead_relay_does_not_hold_up_a_healthy_one(self, serve: Serve) -> None:
        """By one budget at most, although a whole line waits for the dead relay."""
        dead, healthy = serve(stage="asked"), serve()
        timeouts = Timeouts(response=0.2)
        with Streams(max_connecting=1) as streams:
            for _ in range(100):
                streams.add(dead.url, timeouts=timeouts, backoff=NEVER)
            streams.wait(0.05)
            good = streams.add(healthy.url)
            assert streams.wait(PATIENCE) == (good,)
            assert sum(state.phase == "backing off" for state in streams.states()) <= 3

    def test_a_connection_that_ends_gives_its_place_back(self, serve: Serve) -> None:
        refused = f"http://127.0.0.1:{CLOSED}/"
        with Streams(max_connecting=2) as streams:
            for _ in range(50):
                streams.add(refused, backoff=NEVER)
            while any(state.phase != "backing off" for state in streams.states()):
                streams.wait(0.01)
            server = serve()
            assert open_all(streams, server, 3)

    def test_thousands_of_names_are_not_thousands_of_threads(self, hung_resolver: HungResolver) -> None:
        """Neither while they are looked up, nor once their attempts have given up on them."""
        from wire_rawsse.transport.resolve import MOST_THREADS

        with Streams(max_connecting=200) as streams:
            for number in range(500):
                streams.add(f"http://relay{number}.test/", timeouts=Timeouts(connect=0.05), backoff=NEVER)
            while any(state.phase != "backing off" for state in streams.states()):
                streams.wait(0.05)
            assert hung_resolver.calls == MOST_THREADS

    def test_a_stream_that_waits_says_when_it_may_begin(self, serve: Serve) -> None:
        """Starts to one origin are spread, so thousands of streams are no storm."""
        server = serve(stage="accepted")
        with Streams(max_connecting=1) as streams:
            handles = [streams.add(server.url) for _ in range(500)]
            while (last := handles[-1].state).phase == "idle":
                streams.wait(0.001)
            assert last.phase == "waiting" and last.state == "connecting"
            assert last.next_attempt_in is not None
            begins = handles[-1]._record.next_attempt_at
            assert begins is not None and 0.1 < begins - last.since < 1
