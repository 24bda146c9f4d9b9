"""Over TLS a long record is a wake before it is decrypted: when, how often, and what is counted."""

from __future__ import annotations

import pytest

from tests.simulation.relay import Visit
from tests.simulation.single import HTTPS, LATENCY, Single
from tests.simulation.tls import DATA, RECORD, TICKET, UPDATE, Session, record
from wire_rawsse.early_wakes import JUDGED_AFTER
from wire_rawsse.errors import ConnectionBrokenError
from wire_rawsse.event_source import EventSink


def comment(size: int) -> bytes:
    return b": " + b"x" * size + b"\n\n"


def live() -> Single:
    scene = Single(url=HTTPS)
    scene.run(9)
    return scene


def counts(scene: Single) -> tuple[int, int]:
    state = scene.only.record.snapshot(0.0)
    return state.early_wakes, state.spurious_wakes


def test_a_long_event_is_decrypted_when_the_caller_is_back() -> None:
    reads: list[Session] = []
    read = Session.read

    def noted(session: Session, size: int) -> bytes:
        reads.append(session)
        return read(session, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "read", noted)
        scene = live()
        scene.at(10, scene.relay.post)
        reads.clear()
        assert scene.loop.run(60)
        assert (scene.time, reads, counts(scene)) == (10 + LATENCY, [], (0, 0))
        scene.kernel.advance(5)
        assert not scene.loop.run(0)
        assert reads
    assert counts(scene) == (1, 0)
    assert scene.only.record.last_event_at is not None
    scene.close()


def test_a_short_event_is_decrypted_first() -> None:
    scene = live()
    scene.relay.posted = 1
    scene.visit.pointer = 1
    scene.at(10, scene.relay.post)  # The second one, which is short.
    assert scene.run(20) == [10 + LATENCY]
    assert counts(scene) == (0, 0)
    scene.close()


def test_an_event_source_waits_for_its_event() -> None:
    scene = Single(url=HTTPS, sink=EventSink("", 1 << 20))
    scene.run(9)
    scene.at(10, scene.visit.write, comment(500))
    scene.at(11, scene.relay.post)
    assert scene.run(20) == [10 + LATENCY, 11 + LATENCY]  # A comment is an item, too.
    assert counts(scene) == (0, 0)
    scene.close()


def test_a_record_in_two_pieces_wakes_at_its_end() -> None:
    event = b"data: " + b"x" * 100 + b"\n\n"
    whole = record(DATA, b"!%x\r\n%b\r\n" % (len(event), event))
    for joined in (b"", record(TICKET), record(UPDATE)):
        for cut in (1, 3, 4, 5, 6, 60, len(whole) - 1):
            scene = live()
            send = scene.visit.connection.send
            scene.at(10, send, joined + whole[:cut])
            scene.at(11, send, whole[cut:] + joined)
            scene.at(12, send, whole)
            assert scene.run(20) == [11 + LATENCY, 12 + LATENCY], (joined, cut)
            assert counts(scene) == (2, 0)
            scene.close()


def test_a_long_heartbeat_wakes_once_over_all_connections() -> None:
    scene = live()
    for second in (10, 11, 15):
        scene.at(second, lambda: scene.visit.write(comment(200)))
    scene.at(12, lambda: scene.visit.end())
    woken = scene.run(16)
    assert woken[0] == 10 + LATENCY and len(woken) == 2, "the second is the reconnect's"
    assert counts(scene) == (1, 1)
    scene.close()


def test_a_large_event_wakes_once() -> None:
    scene = live()
    for second, data in ((10, b"data: "), (10.5, b"x"), (11, b"y")):
        scene.at(second, scene.visit.write, data + b"z" * RECORD)
    scene.at(12, scene.visit.write, b"\n\n")
    scene.at(13, scene.relay.post)
    assert scene.run(20) == [10 + LATENCY, 13 + LATENCY]
    assert counts(scene) == (2, 0)
    scene.close()


def test_a_server_that_has_too_many_records_without_an_event_is_decrypted_first() -> None:
    scene = live()

    def beat(visit: Visit, number: int) -> None:
        visit.write(comment(200 + number))

    for number in range(2 * JUDGED_AFTER):
        scene.at(10 + number, beat, scene.visit, number)
    scene.at(31, scene.relay.post)
    assert scene.run(32) == [10 + LATENCY + number for number in range(JUDGED_AFTER)] + [31 + LATENCY]
    assert counts(scene) == (JUDGED_AFTER, JUDGED_AFTER)
    scene.close()


def test_a_forged_record_wakes_once_and_ends_the_connection() -> None:
    scene = live()
    scene.at(10, lambda: scene.visit.connection.send(b"\x17\x03\x03\x01\x00" + b"f" * 256))
    woken = scene.run(10 + 2 * LATENCY)
    assert woken == [10 + LATENCY]
    _, error, delay = scene.end
    assert isinstance(error, ConnectionBrokenError) and delay is not None
    assert counts(scene) == (1, 1)
    scene.close()


def test_tickets_and_key_updates_are_no_wakes() -> None:
    scene = live()
    for second, kind in enumerate((TICKET, UPDATE), 10):
        scene.at(second, scene.visit.connection.send, record(kind) * 5)
    assert scene.run(20) == []
    assert counts(scene) == (0, 0)
    scene.close()
