"""Over TLS a wake is given for the length of a record, before it is decrypted; real TLS of both versions."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import subscriber
from tests.support.openssl import Flood, OpenSSL
from tests.support.records import FORGED, Sealer, sealed
from tests.support.server import CHUNKED, PATIENCE, chunk, stall
from tests.support.trust import Authority
from wire_rawsse import Backoff, EndpointState, StreamSubscriber
from wire_rawsse.early_wakes import HEARTBEAT_BYTES, JUDGED_AFTER, NEVER, ONE_IN, EarlyWakes, overhead

pytestmark = pytest.mark.usefixtures("fresh_contexts")

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
HEARTBEAT = chunk(b": phyllis: still on the line\n\n")
EVENT = chunk(b'data: {"event_id": "' + b"0" * 64 + b'"}\n\n')
QUIET = 0.1
"""Seconds without a wake, which would come at once."""


class Life:
    """A subscriber, and the server's end of its connection."""

    def __init__(
        self, serve: Serve, authority: Authority, version: ssl.TLSVersion, cipher: str = "", **settings: object
    ):
        context = authority.server()
        context.minimum_version = context.maximum_version = version
        if cipher:
            context.set_ciphers(cipher)
        self.made: list[Sealer] = []
        self.server = serve([sealed(context, CHUNKED, self.made), stall])
        self.subscriber: StreamSubscriber = subscriber(
            f"https://localhost:{self.server.port}/", tls=authority.file, **settings
        )
        self.connect(1)

    def connect(self, number: int) -> None:
        assert self.subscriber.wait(PATIENCE)
        self.server.until(lambda: len(self.made) >= number)
        assert not self.subscriber.wait(0), "session tickets are no wake"

    def send(self, *records: bytes) -> None:
        sealer = self.made[-1]
        sealer.sock.sendall(sealer.seal(*records))

    def wakes(self, *records: bytes) -> bool:
        """Whether they wake. Afterwards everything has been parsed."""
        self.send(*records)
        woken = self.subscriber.wait(PATIENCE if any(b"data" in one for one in records) else QUIET)
        assert not self.subscriber.wait(QUIET), "one wake twice"
        return woken

    @property
    def state(self) -> EndpointState:
        return self.subscriber.state.endpoints[0]

    @property
    def counts(self) -> tuple[int, int]:
        return self.state.early_wakes, self.state.spurious_wakes


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def life(request: pytest.FixtureRequest, serve: Serve, authority: Authority) -> Life:
    made = Life(serve, authority, request.param)
    request.addfinalizer(made.subscriber.close)
    return made


def test_an_event_wakes_early_and_a_heartbeat_does_not_wake(life: Life) -> None:
    assert not life.wakes(HEARTBEAT)
    assert life.counts == (0, 0)
    assert life.wakes(EVENT)
    assert life.counts == (1, 0)
    assert life.wakes(HEARTBEAT, EVENT, HEARTBEAT)
    assert life.counts == (2, 0)
    assert life.wakes(chunk(b"data: x\n\n")), "a short event is decrypted first"
    assert life.counts == (2, 0)
    assert life.subscriber.state.early_wakes == 2 and life.subscriber.state.spurious_wakes == 0


@pytest.mark.parametrize("cipher", ["ECDHE+AESGCM", "ECDHE+CHACHA20", "ECDHE+AES:!AESGCM:!AESCCM"])
def test_nothing_is_learned_for_the_heartbeat_of_wire(cipher: str, serve: Serve, authority: Authority) -> None:
    life = Life(serve, authority, ssl.TLSVersion.TLSv1_2, cipher)
    with life.subscriber:
        assert not life.wakes(HEARTBEAT)
        assert life.wakes(EVENT)
        assert life.counts == (1, 0)


def test_a_heartbeat_that_is_too_long_wakes_once_over_all_connections(life: Life) -> None:
    beat = chunk(b": " + b"x" * 100 + b"\n\n")
    assert life.wakes(beat)
    assert life.counts == (1, 1)
    assert not life.wakes(beat)
    life.subscriber.restart()
    life.connect(2)
    assert not life.wakes(beat)
    assert life.wakes(EVENT), "which is shorter: it is decrypted first"
    assert life.wakes(chunk(b"data: " + b"x" * 300 + b"\n\n"))
    assert life.counts == (2, 1)


def test_a_large_event_wakes_once_and_teaches_nothing(life: Life) -> None:
    """It has many long records, and only its first has a data line."""
    life.send(chunk(b"data: " + b"x" * 200_000 + b"\n\n"))
    assert life.subscriber.wait(PATIENCE)
    bytes_before = -1.0
    while life.state.last_byte_at != bytes_before:  # Until nothing more has come for a while.
        bytes_before = life.state.last_byte_at or 0.0
        assert not life.subscriber.wait(QUIET)
    assert life.counts == (1, 0)
    assert life.wakes(EVENT)
    assert life.counts == (2, 0)


@pytest.mark.parametrize("split", [1, 4, 5, 6, 64])
def test_records_may_be_split_anyhow(life: Life, split: int) -> None:
    sealer = life.made[-1]
    ciphertext = sealer.seal(HEARTBEAT, EVENT, HEARTBEAT)
    for start in range(0, len(ciphertext), split):
        sealer.sock.sendall(ciphertext[start : start + split])
    assert life.subscriber.wait(PATIENCE)
    while life.counts == (0, 0):
        assert not life.subscriber.wait(QUIET)
    assert life.counts == (1, 0)


def test_a_forged_record_wakes_once_and_ends_the_connection(serve: Serve, authority: Authority) -> None:
    for version in VERSIONS:
        life = Life(serve, authority, version, backoff=Backoff(initial=60, maximum=60))
        with life.subscriber as listening:
            life.made[-1].sock.sendall(FORGED)
            assert listening.wait(PATIENCE)
            assert not listening.wait(QUIET)
            assert life.state.phase == "backing off" and life.state.reconnect_count == 1
            assert life.counts == (1, 1)


def test_half_a_forged_record_wakes_nobody(life: Life) -> None:
    life.made[-1].sock.sendall(FORGED[:-1])
    assert not life.subscriber.wait(QUIET)
    assert life.counts == (0, 0)


def test_it_is_switched_off_where_too_many_are_spurious(life: Life) -> None:
    """A server that makes each of its comments a little longer gains a few wakes, once."""
    beats = [chunk(b": " + b"x" * size + b"\n\n") for size in range(100, 100 + 2 * JUDGED_AFTER)]
    woken = [life.wakes(beat) for beat in beats]
    assert woken == [True] * JUDGED_AFTER + [False] * JUDGED_AFTER
    assert life.counts == (JUDGED_AFTER, JUDGED_AFTER)
    assert life.wakes(chunk(b"data: " + b"x" * 300 + b"\n\n")), "it goes on waking, after decryption"
    assert life.counts == (JUDGED_AFTER, JUDGED_AFTER)


def test_the_rules_in_numbers() -> None:
    early = EarlyWakes()
    assert early.limit == HEARTBEAT_BYTES
    early.judge(HEARTBEAT_BYTES - 1, early=False, data_line=False)
    early.judge(500, early=False, data_line=True)
    assert early.limit == HEARTBEAT_BYTES
    early.judge(100, early=True, data_line=False)
    assert (early.limit, early.given, early.spurious) == (100, 1, 1)
    for _ in range(ONE_IN - 1):
        early.judge(200, early=True, data_line=True)
    assert early.limit == 100, "one in ten is allowed"
    early.judge(150, early=True, data_line=False)
    assert early.limit == NEVER
    assert overhead("TLSv1.3", "TLS_AES_256_GCM_SHA384") == 17
    assert overhead("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384") == 24
    assert overhead("TLSv1.2", "ECDHE-RSA-AES256-SHA384") == 80


try:
    OpenSSL()
    NO_OPENSSL = ""
except LookupError as error:
    NO_OPENSSL = f"{error}; use a Python that is linked with the system's libssl"


@pytest.mark.skipif(bool(NO_OPENSSL), reason=NO_OPENSSL)
@pytest.mark.parametrize(("kind", "most"), [("key updates", 0), ("key updates with answers", 0), ("tickets", 1)])
def test_what_is_no_data_in_a_live_stream(kind: str, most: int, authority: Authority, tmp_path: Path) -> None:
    """Key updates are shorter than any heartbeat. Tickets, which no server sends late by itself, wake once."""
    chain = tmp_path / "server.pem"
    authority.ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    head = CHUNKED + HEARTBEAT
    flood = Flood(chain, kind, 1000, head=head, last=EVENT)
    try:
        with subscriber(flood.url, tls=authority.file) as listening:
            assert listening.wait(PATIENCE)
            assert flood.sent.wait(PATIENCE)
            wakes = 0
            while listening.state.last_event_at is None:
                wakes += listening.wait(PATIENCE)
                listening.wait(0)
            assert listening.state.spurious_wakes <= most
            assert wakes <= 1 + most
    finally:
        flood.close()
