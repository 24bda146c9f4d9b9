"""Every argument of every public callable is checked when it is given; an error names it, and quotes no secret."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from wire_rawsse import (
    Backoff,
    EventParser,
    EventSource,
    Keepalive,
    StreamSubscriber,
    Timeouts,
    WakeChannel,
    checks,
    spawn_stream_subscriber,
)
from wire_rawsse.errors import InvalidRequestError

URL = "http://127.0.0.1:9/"
SECRET = "seKret-t0ken"


class Odd:
    """Of no type that is wanted, and its repr may not be shown."""

    def __repr__(self) -> str:
        return SECRET


NO_TEXT: list[Any] = [5, None, True, b"x", ["x"], Odd()]
SHARED: dict[str, list[Any]] = {
    "url": [5, None, b"http://x/", Odd(), ["http://x/"]],
    "headers": [
        5,
        "A: x",
        b"A: x",
        ["A: x"],
        [("A",)],
        [("A", "b", "c")],
        [("Host", "a"), ("host", "b")],
        {1: "x"},
        {"A": 5},
        {"A": None},
        [5],
        Odd(),
    ],
    "method": [*NO_TEXT, "", "GE T", "CONNECT"],
    "body": ["text", 5, bytearray(b"x"), ["x"], Odd()],
    "bearer_token": [5, b"x", ["x"], Odd(), "", "a b"],
    "last_event_id": NO_TEXT,
    "timeouts": [5, None, (1, 2), Timeouts, Keepalive(), Odd()],
    "keepalive": [5, None, True, Keepalive, Timeouts()],
    "backoff": [5, None, Backoff, Timeouts(), {"initial": 1}],
    "tls": [5, True, object, Odd(), "", b"", "a\0b", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)],
    "client_cert": [5, Odd(), ("a", "b", "c"), "", "a\0b", ("a", ""), ("a\0b", "b")],
    "max_event_bytes": [0, -1, None, "1", 1.5, math.nan, math.inf, True],
}
SOURCE: dict[str, list[Any]] = {**SHARED, "persistent": [None, 1, "no"], "reconnect": [None, 0, "no"]}


def refused(call: Callable[..., object], *arguments: Any, **named: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        call(*arguments, **named)
    text = str(caught.value)
    assert SECRET not in text and "internal error" not in text
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, TypeError)
    return text


@pytest.mark.parametrize(
    "make, name, value",
    [
        *((EventSource, name, value) for name, values in SOURCE.items() for value in values),
        *((StreamSubscriber, name, value) for name, values in SHARED.items() for value in values),
    ],
)
def test_arguments_of_a_stream(make: Any, name: str, value: Any) -> None:
    text = refused(make, value) if name == "url" else refused(make, URL, **{name: value})
    assert name in text or {"bearer_token": "bearer token", "headers": "header"}[name] in text


def test_persistent_and_reconnect_contradict_each_other() -> None:
    assert "persistent" in refused(EventSource, URL, persistent=True, reconnect=False)


@pytest.mark.parametrize("name", ["timeouts", "keepalive", "backoff", "tls", "client_cert"])
def test_arguments_of_from_wire(name: str) -> None:
    for value in SHARED[name]:
        assert name in refused(StreamSubscriber.from_wire, **{name: value})


def test_arguments_of_a_thread() -> None:
    with StreamSubscriber(URL) as subscriber, EventSource(URL) as source:
        wake = WakeChannel()
        assert "wake must be a WakeChannel, not of type StreamSubscriber" in refused(
            spawn_stream_subscriber, subscriber, wake
        )
        wrong: Any
        for wrong in (source, wake, URL, 5):
            assert "subscriber must be a StreamSubscriber" in refused(spawn_stream_subscriber, wake, wrong)
        for wrong in (None, 5, StreamSubscriber):
            assert "wake must be a WakeChannel" in refused(spawn_stream_subscriber, wrong, subscriber)
        thread = spawn_stream_subscriber(wake, subscriber)
        assert "timeout" in refused(thread.stop, "1")
        thread.stop(math.inf)
        assert not thread.is_alive()


@pytest.mark.parametrize("value", ["1", math.nan, True, False, b"1", [1], 1j, Odd()])
def test_a_timeout_that_is_no_number(value: Any) -> None:
    with StreamSubscriber(URL) as subscriber, EventSource(URL) as source:
        for wait in (WakeChannel().wait, subscriber.wait, source.next, source.next_item):
            assert "timeout must be None or a number of seconds" in refused(wait, value)


@pytest.mark.parametrize("value", [0, -0.0, -1, -1e300, -math.inf, -(10**400)])
def test_a_timeout_that_is_over_looks_and_does_not_wait(value: Any) -> None:
    with StreamSubscriber(URL) as subscriber, EventSource(URL) as source:
        assert not WakeChannel().wait(value)
        assert not subscriber.wait(value)
        assert source.next(value) is None


@pytest.mark.parametrize("value, seconds", [(1e300, 1e300), (math.inf, math.inf), (10**400, math.inf), (2**63, 2**63)])
def test_a_timeout_of_any_length_is_waited_for(value: Any, seconds: float) -> None:
    wake = WakeChannel()
    wake.set()
    assert wake.wait(value)
    assert checks.seconds(value) == seconds


@pytest.mark.parametrize("kind", [Timeouts, Backoff])
@pytest.mark.parametrize("value", ["1", None, True, math.nan, math.inf, -1, 10**400, 1j, [1]])
def test_settings_of_another_kind(kind: Any, value: Any) -> None:
    for name in kind.__slots__:
        if name == "learn" and value is True:
            continue
        text = refused(kind, **{name: value})
        expected = "True or False" if name == "learn" else "a finite number"
        assert text.startswith(f"{kind.__name__}.{name} must be {expected}")
        assert len(text) < 120


@pytest.mark.parametrize("name, most", [("idle", 32767), ("interval", 32767), ("count", 127)])
def test_keepalive_is_what_the_kernel_can_hold(name: str, most: int) -> None:
    for value in (0, -1, most + 1, 2147483, 10**400, 0.5, 1.5, math.nan, math.inf, "1", None, True):
        assert f"Keepalive.{name} must be a whole number from 1 to {most}" in refused(Keepalive, **{name: value})
    assert getattr(Keepalive(**{"idle": 1, "interval": 1, "count": 1, name: most}), name) == most
    assert Keepalive(**{name: 2.0}) == Keepalive(**{name: 2})  # type: ignore[arg-type]  # a float that is whole


def test_the_user_timeout_is_what_the_kernel_can_hold() -> None:
    assert "2147483" in refused(Keepalive, 32767, 32767, 127)
    assert Keepalive(32767, 16000, 127).user_timeout * 1000 < 2**31


def test_arguments_of_a_parser() -> None:
    limits, ids = SHARED["max_event_bytes"], SHARED["last_event_id"]
    for name, values in ("comments", [None, 1, "yes"]), ("max_event_bytes", limits), ("last_event_id", ids):
        for value in values:
            assert name in refused(EventParser, **{name: value})
    for value in ("data: x\n\n", 5, None, [1], Odd()):
        assert "data must be a bytes-like object" in refused(EventParser().feed, value)


def test_a_deadline_fits_a_timeout() -> None:
    """As a host computes it from `deadline()`, which may be in the past."""
    with StreamSubscriber(URL) as subscriber:
        assert not subscriber.wait(subscriber.deadline() - 1e12)


@pytest.mark.parametrize(
    "value, said",
    [
        (None, "None"),
        (True, "True"),
        (5, "5"),
        (1.5, "1.5"),
        (10**50, "an int that is far too large"),
        (SECRET, "of type str"),
        (int, "the class int"),
    ],
)
def test_a_value_is_quoted_only_where_it_is_a_number(value: object, said: str) -> None:
    assert str(checks.wrong("x", "good", value)) == f"x must be good, not {said}"
