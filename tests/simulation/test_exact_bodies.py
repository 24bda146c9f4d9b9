"""Bodies that are cut where it hurts: between two lines, in front of the last chunk, behind a read that was full."""

from __future__ import annotations

import errno

from tests.simulation.answers import well
from tests.simulation.relay import CHUNKED, CLOSE, LENGTH, Visit, opening
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single
from tests.simulation.tls import GOODBYE, record
from wire_rawsse.errors import ConnectionBrokenError, MalformedResponseError
from wire_rawsse.event_source import EventSink
from wire_rawsse.protocol.events import Event
from wire_rawsse.waits import RECEIVE_BYTES


def events(scene: Single) -> list[Event]:
    sink = scene.only.sink
    assert isinstance(sink, EventSink)
    return [item for item in sink.items if isinstance(item, Event)]


def test_an_event_is_the_same_wherever_it_is_cut_into_two_receptions() -> None:
    lines = "event: a", "id: 7", "data: b", "data: c"
    for end in ("\n", "\r", "\r\n"):
        event = "".join(line + end for line in [*lines, ""]).encode()
        for cut in range(1, len(event)):
            scene = Single(well(CLOSE), sink=EventSink("", 1 << 20))
            scene.at(10, lambda scene=scene, piece=event[:cut]: scene.visit.write(piece))
            scene.at(11, lambda scene=scene, piece=event[cut:]: scene.visit.write(piece))
            scene.at(12, lambda scene=scene: scene.visit.write(b"event: d\ndata: e\n\n"))
            scene.run(13)
            assert events(scene) == [Event("a", "b\nc", "7"), Event("d", "e", "7")], (end, cut)
            scene.close()


def test_events_without_number_after_a_head_in_two_pieces_all_arrive() -> None:
    """The second piece brings more than the host takes at once, and its last reception more than a head may have."""
    count = 8000
    body = b"".join(b"data: %d\n\n" % number for number in range(count))
    assert len(body) > 2 * RECEIVE_BYTES
    for url in (HTTP, HTTPS):
        for framing in (CHUNKED, CLOSE, LENGTH):
            head = opening(framing)[:-2] + b"X-Filler: " + b"f" * 60_000 + b"\r\n\r\n"
            framed = b"%x\r\n%b\r\n" % (len(body), body) if framing == CHUNKED else body
            for cut in (1, 17, len(head) - 1):

                def answer(
                    visit: Visit, asked: bytes, head: bytes = head, cut: int = cut, body: bytes = framed
                ) -> None:
                    visit.raw(head[:cut])
                    visit.relay.kernel.after(1.0, visit.raw, head[cut:] + body)

                scene = Single(answer, url=url, sink=EventSink("", 1 << 20))
                scene.run(5)
                assert scene.only.ends == []
                assert [event.data for event in events(scene)] == [str(number) for number in range(count)]
                scene.close()


def test_the_last_chunk_ends_a_stream_when_it_comes_alone() -> None:
    """Also where the connection stays open behind it (RFC 9112, 7.1)."""
    for url in (HTTP, HTTPS):
        scene = Single(url=url)
        scene.at(20, lambda scene=scene: scene.visit.raw(b"0\r\n\r\n"))
        scene.at(20.5, scene.loop.close)
        scene.run(20.25)
        ended, error, _ = scene.end
        assert (ended, error) == (20 + LATENCY, None)
        scene.close()


def test_a_reset_is_told_as_one_however_much_came_before_it() -> None:
    """The host was elsewhere, and finds both. A body that ends with its connection has no other end to tell."""
    around = [whole + more for whole in (1, 4096, RECEIVE_BYTES) for more in (-1, 0, 1)]
    for url in (HTTP, HTTPS):
        for size in around:
            scene = Single(well(CLOSE), url=url)
            scene.run(20)
            scene.visit.raw(b":" * size)
            scene.visit.reset()
            scene.kernel.advance(5)
            scene.run(26)
            error = scene.end[1]
            assert isinstance(error, ConnectionBrokenError), (size, error)
            assert isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ECONNRESET
            scene.close()


def test_a_reset_after_the_end_of_a_stream_does_no_harm() -> None:
    """Neither an end of its own, nor one of the connection that follows; both are found at once."""
    ends: dict[bytes, type[Exception] | None] = {b"0\r\n\r\n": None, b"no chunk at all": MalformedResponseError}
    for url in (HTTP, HTTPS):
        for last, kind in ends.items():
            for size in (479, 4096):
                scene = Single(url=url)
                scene.run(20)
                left = size - len(last) - len(b"%x\r\n\r\n" % size)
                scene.visit.raw(b"%x\r\n%b\r\n" % (left, b":" * left) + last)
                scene.visit.reset()
                scene.kernel.advance(5)
                scene.run(30)
                ((when, error, _),) = scene.only.ends
                assert when == scene.kernel.start + 25 and type(error) is (kind or type(None)), (size, error)
                assert scene.phase == "streaming"
                scene.close()


def test_an_end_of_tls_in_one_piece_with_data_ends_the_stream() -> None:
    """Also where the peer leaves the connection open after its close_notify (RFC 8446 §6.1)."""
    scene = Single(well(CLOSE), url=HTTPS)
    scene.run(20)
    connection = scene.visit.connection
    scene.visit.write(b"data: x\n\n")
    connection.send(record(GOODBYE))
    scene.run(20.5)
    assert scene.ends[0] == 20 + LATENCY
    scene.close()
