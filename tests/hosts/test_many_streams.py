"""`Streams`: many streams, one `wait`. Which handles it gives, what other threads may do, and who may connect."""

from __future__ import annotations

import inspect
import math
import select
import threading
import time
from collections import deque
from typing import Any

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.many import open_all
from tests.hosts.support import (
    HEAD,
    NEVER,
    PATIENCE,
    QUICK,
    HungResolver,
    InThread,
    blackhole,
    short_turns,
    until,
    until_asleep,
)
from tests.support.ports import CLOSED
from wire_rawsse import EventSource, EventStreams, StreamHandle, Streams, StreamSubscriber, Timeouts
from wire_rawsse.errors import BusyError, ClosedError, InvalidRequestError


class TestWait:
    def test_gives_each_handle_that_woke_once(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        with Streams() as streams:
            opened = open_all(streams, server, 5, tls=ca_file)
            for _ in range(2):
                for number in (1, 3):
                    opened[number][1].say()
            woken: list[StreamHandle] = []
            while len(woken) < 2:
                woken += streams.wait(PATIENCE)
            # A second event of a stream may have come after its wake was given.
            assert {handle.tag for handle in woken} == {1, 3}
            while again := streams.wait(0.05):
                assert {handle.tag for handle in again} <= {1, 3} and len(again) == len(set(again))
            opened[4][1].say()
            assert streams.wait(PATIENCE) == (opened[4][0],)

    def test_gives_nothing_when_the_time_is_up(self, serve: Serve) -> None:
        with Streams() as streams:
            assert streams.wait(0.05) == (), "there is no stream at all"
            open_all(streams, serve(), 2)
            for timeout in (0, -1, 0.1):
                began = time.monotonic()
                assert streams.wait(timeout) == ()
                assert time.monotonic() - began >= timeout

    def test_of_one_stream_is_like_that_of_many(self, serve: Serve) -> None:
        with Streams() as streams:
            [(handle, peer)] = open_all(streams, serve(), 1)
            for _ in range(3):
                peer.say()
                assert streams.wait(PATIENCE) == (handle,)
            assert streams.wait(0.01) == ()

    def test_every_connection_is_a_wake(self, serve: Serve) -> None:
        server = serve()
        with Streams() as streams:
            (handle, peer), *_ = open_all(streams, server, 2, backoff=QUICK)
            peer.reset()
            assert streams.wait(PATIENCE) == (handle,)
            assert handle.state.reconnect_count == 1

    def test_a_second_waiter_is_refused(self) -> None:
        with Streams() as streams:
            call = InThread(streams.wait)
            until_asleep(streams._loop)
            with pytest.raises(BusyError):
                streams.wait(0)
            streams.close()
            assert call.result() == ()

    def test_after_close_it_raises(self) -> None:
        streams = Streams()
        streams.close()
        for call in (streams.wait, lambda: streams.add("http://relay.test/")):
            with pytest.raises(ClosedError):
                call()

    def test_no_number(self) -> None:
        with Streams() as streams, pytest.raises(InvalidRequestError):
            streams.wait("soon")  # type: ignore[arg-type]


class TestAdd:
    def test_takes_every_keyword_of_the_lone_ones(self) -> None:
        for add, lone in ((Streams.add, StreamSubscriber), (EventStreams.add, EventSource)):
            mine, its = inspect.signature(add).parameters, dict(inspect.signature(lone).parameters)
            del its["watch"]  # It is the set's: one loop has one machine.
            assert {name: mine[name].default for name in its} == {name: one.default for name, one in its.items()}
            assert set(mine) - set(its) == {"self", "tag"}

    def test_passes_them_on(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with Streams() as streams:
            streams.add(
                server.url, bearer_token="t", headers={"A": "b"}, method="POST", body=b"", last_event_id="7",
                timeouts=Timeouts(read=50), backoff=NEVER,
            )  # fmt: skip
            streams.wait(0.01)
            request = InThread(server.peer)
            while request.is_alive():
                streams.wait(0.01)
            sent = request.result().request
            assert sent.startswith(b"POST /")
            for line in (b"Authorization: Bearer t", b"A: b", b"Last-Event-ID: 7"):
                assert line in sent

    @pytest.mark.parametrize(
        "options",
        [{"url": "ftp://relay.test/"}, {"url": 7}, {"headers": {"a\n": ""}}, {"timeouts": 5}, {"last_event_id": 4},
         {"max_event_bytes": 0}],
    )  # fmt: skip
    @pytest.mark.parametrize("kind", [Streams, EventStreams])
    def test_wrong_arguments(self, kind: type[Streams] | type[EventStreams], options: dict[str, Any]) -> None:
        given: dict[str, Any] = {"url": "http://relay.test/", **options}
        with kind() as streams:
            with pytest.raises(InvalidRequestError):
                streams.add(**given)
            assert len(streams) == 0 and streams.states() == []

    @pytest.mark.parametrize("count", [0, -1, 1.5, "16", None])
    def test_max_connecting_is_a_whole_number(self, count: Any) -> None:
        with pytest.raises(InvalidRequestError):
            Streams(max_connecting=count)

    def test_a_callable_that_raises_is_a_state(self) -> None:
        def fails() -> str:
            raise KeyError("no token")

        with Streams() as streams:
            handle = streams.add("http://127.0.0.1:9/", bearer_token=fails, backoff=NEVER)
            while handle.state.phase != "backing off":
                streams.wait(0.01)
            assert "bearer_token" in (handle.state.last_error or "")

    def test_from_another_thread_during_a_wait(self, serve: Serve) -> None:
        server = serve()
        with Streams() as streams:
            call = InThread(lambda: streams.wait(PATIENCE))
            until_asleep(streams._loop)
            handle = streams.add(server.url, tag="new")
            server.peer()
            assert call.result() == (handle,)
            assert handle.tag == "new" and len(streams) == 1

    def test_from_many_threads_at_once(self, serve: Serve) -> None:
        server = serve()
        with Streams() as streams:
            callers = [
                InThread(lambda: [streams.add(server.url) for _ in range(10)]) for _ in range(8)
            ]  # fmt: skip
            found: set[StreamHandle] = set()
            while len(found) < 80:
                found.update(streams.wait(PATIENCE))
            assert found == {handle for caller in callers for handle in caller.result()}
            assert len(streams) == 80


class TestRemove:
    @pytest.mark.parametrize("waiting", [False, True])
    def test_closes_the_connection_at_once_and_leaves_the_others(self, serve: Serve, waiting: bool) -> None:
        server = serve()
        with Streams() as streams:
            (one, its), (other, others) = open_all(streams, server, 2)
            call = InThread(lambda: streams.wait(PATIENCE)) if waiting else None
            if waiting:
                until_asleep(streams._loop)
            one.remove()
            one.remove()
            assert its.gone()
            assert len(streams) == 1 and [state.url for state in streams.states()] == [other.state.url]
            until(lambda: one.state.phase == "closed")
            others.say()
            assert (call.result() if call else streams.wait(PATIENCE)) == (other,)

    def test_from_another_thread_it_never_disturbs_the_one_that_waits(self) -> None:
        """It is done by the next wait. Otherwise a wait would find the loop busy now and then."""
        url, left, over = f"http://127.0.0.1:{CLOSED}/", deque[StreamHandle](), threading.Event()

        def remove_all() -> None:
            while not over.is_set():
                try:
                    left.pop().remove()
                except IndexError:
                    time.sleep(0.0001)

        with Streams(watch=False) as streams, short_turns():
            calls = [InThread(remove_all) for _ in range(2)]
            try:
                for _ in range(2000):
                    left.extend(streams.add(url, backoff=NEVER) for _ in range(5))
                    streams.wait(0)
            finally:
                over.set()
            for call in calls:
                call.result()

    def test_from_another_thread_between_two_waits(self, serve: Serve) -> None:
        with Streams() as streams:
            (one, its), (other, others) = open_all(streams, serve(), 2)
            its.say()
            InThread(one.remove).result()
            assert len(streams) == 1
            others.say()
            assert streams.wait(PATIENCE) == (other,)
            assert its.gone() and one.state.phase == "closed"

    def test_a_wake_of_a_removed_stream_is_not_given(self, serve: Serve) -> None:
        with Streams() as streams:
            (one, its), _ = open_all(streams, serve(), 2)
            its.say()
            until(lambda: select.select([streams.fileno()], [], [], 0)[0])
            one.remove()
            assert streams.wait(0.05) == ()

    @pytest.mark.parametrize("phase", ["resolving", "connecting", "head", "backing off", "waiting"])
    def test_in_any_phase(self, phase: str, serve: Serve, hung_resolver: HungResolver) -> None:
        server = serve(stage="asked")
        with blackhole() as silent, Streams(max_connecting=1) as streams:
            urls = {
                "resolving": "http://relay.test/",
                "connecting": f"http://127.0.0.1:{silent}/",
                "backing off": f"http://127.0.0.1:{CLOSED}/",
            }
            if phase == "waiting":
                streams.add(server.url)
                streams.wait(0.01)
            handle = streams.add(urls.get(phase, server.url), backoff=NEVER)
            while handle.state.phase != phase:
                streams.wait(0.001)
            handle.remove()
            assert handle.state.phase == "closed"

    def test_the_next_in_line_connects(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with Streams(max_connecting=1) as streams:
            first, second = streams.add(server.url), streams.add(server.url)
            while first.state.phase != "head":
                streams.wait(0.001)
            assert second.state.phase == "waiting"
            call = InThread(lambda: streams.wait(PATIENCE))
            until_asleep(streams._loop)
            first.remove()
            until(lambda: second.state.phase == "head")
            streams.close()
            assert call.result() == ()


class TestRestart:
    def test_one(self, serve: Serve) -> None:
        server = serve()
        with Streams() as streams:
            (one, its), (other, _) = open_all(streams, server, 2, backoff=NEVER)
            call = InThread(lambda: streams.wait(PATIENCE))
            until_asleep(streams._loop)
            one.restart()
            assert its.gone()
            assert call.result() == (one,)
            assert (one.state.reconnect_count, other.state.reconnect_count) == (1, 0)

    def test_all(self, serve: Serve) -> None:
        server = serve()
        with Streams() as streams:
            opened = open_all(streams, server, 3, backoff=NEVER)
            streams.restart()
            woken: set[StreamHandle] = set()
            while len(woken) < 3:
                woken.update(streams.wait(PATIENCE))
            assert all(peer.gone() for _, peer in opened)

    def test_in_line(self, serve: Serve) -> None:
        """It keeps its place, and connects when its turn comes."""
        server = serve(stage="asked")
        with Streams(max_connecting=1) as streams:
            first, second = streams.add(server.url), streams.add(server.url)
            while first.state.phase != "head":
                streams.wait(0.001)
            second.restart()
            assert streams.wait(0.02) == ()
            assert second.state.phase == "waiting" and second.state.reconnect_count == 0
            server.peer().send(HEAD)
            assert streams.wait(PATIENCE) == (first,)
            while second.state.phase != "head":
                streams.wait(0.001)

    def test_of_a_removed_stream_is_nothing(self, serve: Serve) -> None:
        server = serve()
        with Streams() as streams:
            [(one, its)] = open_all(streams, server, 1)
            one.remove()
            assert its.gone()
            one.restart()
            assert streams.wait(0.05) == () and server.nobody(0.05)


class TestState:
    def test_of_each(self, serve: Serve) -> None:
        server = serve()
        with Streams() as streams:
            assert repr(streams) == "<Streams of 0>"
            (one, _), (other, _) = open_all(streams, server, 2)
            assert streams.states() == [one.state, other.state]
            assert one.state.phase == "streaming"
            assert repr(one) == f"<StreamHandle {one.state.url} streaming>"

    def test_a_select_loop(self, serve: Serve) -> None:
        server = serve()
        with Streams() as streams:
            fd = streams.fileno()
            assert streams.deadline() < time.monotonic(), "before the first wait"
            (one, peer), _ = open_all(streams, server, 2)
            while streams.wait(0):
                pass
            assert time.monotonic() < streams.deadline() < math.inf
            peer.say()
            assert select.select([fd], [], [], PATIENCE)[0]
            assert streams.wait(0) == (one,)
            assert streams.deadline() < time.monotonic(), "what came is unparsed"
            streams.wait(0)
            streams.close()
            assert select.select([fd], [], [], PATIENCE)[0]
            with pytest.raises(ClosedError):
                streams.wait(0)

    def test_a_closed_set_has_closed_streams(self, serve: Serve) -> None:
        server = serve()
        streams = Streams()
        opened = open_all(streams, server, 2)
        streams.close()
        assert all(peer.gone() for _, peer in opened)
        assert [handle.state.phase for handle, _ in opened] == ["closed", "closed"]
