"""One state out of several."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_rawsse import state
from wire_rawsse.state import NEAREST_FIRST, NO_ENDPOINT, EndpointState, State, SubscriberState, summarise


def endpoint(word: State = "connected", **changed: object) -> EndpointState:
    whole = EndpointState(
        url="https://relay.example/v1/events/a/stream",
        phase="streaming",
        state=word,
        since=1000.0,
        last_byte_at=None,
        last_wake_at=None,
        last_event_at=None,
        last_error=None,
        next_attempt_in=None,
        reconnect_count=0,
    )
    return whole._replace(**changed)  # type: ignore[arg-type]  # the tests name fields of several types


def test_the_best_state_stands_above() -> None:
    # Written out here, so that the order itself is tested and not only that it is followed.
    nearest_first: tuple[State, ...] = ("connected", "reconnecting", "connecting", "error")
    for better in range(4):
        for worse in range(better, 4):
            for pair in [(better, worse), (worse, better)]:
                whole = summarise(endpoint(nearest_first[index], phase=f"phase {index}") for index in pair)
                assert (whole.state, whole.phase) == (nearest_first[better], f"phase {better}")


def test_among_equals_the_oldest_lends_its_phase() -> None:
    young = endpoint(since=2000.0, phase="young")
    old = endpoint(since=1500.0, phase="old")
    bad = endpoint("error", since=10.0)
    for order in [(young, old, bad), (bad, old, young)]:
        whole = summarise(order)
        assert (whole.phase, whole.since) == ("old", 1500.0)
        assert whole.endpoints == order


def test_latest_moments_soonest_attempt_and_the_sum_of_reconnects() -> None:
    whole = summarise(
        [
            endpoint(last_byte_at=5.0, last_wake_at=4.0, next_attempt_in=9.0, reconnect_count=2),
            endpoint(last_byte_at=6.0, last_event_at=3.0, next_attempt_in=0.0, reconnect_count=5),
            endpoint(),
        ]
    )
    assert (whole.last_byte_at, whole.last_wake_at, whole.last_event_at) == (6.0, 4.0, 3.0)
    assert whole.next_attempt_in == 0.0
    assert whole.reconnect_count == 7


def test_the_error_shown_above_is_that_of_the_worst() -> None:
    recovered = endpoint(last_error="it was reset")
    failing = endpoint("error", last_error="403 Forbidden")
    also_failing = endpoint("error", last_error="404 Not Found")
    assert summarise([recovered, failing, also_failing]).last_error == "403 Forbidden"
    assert summarise([recovered, endpoint("error")]).last_error == "it was reset"
    assert summarise([endpoint()]).last_error is None
    assert (
        summarise([recovered, failing], problem="relay.json cannot be read").last_error == "relay.json cannot be read"
    )


def test_no_endpoint_is_an_error_that_says_so() -> None:
    whole = summarise((), since=1234.0)
    assert (whole.state, whole.phase, whole.since, whole.endpoints) == ("error", NO_ENDPOINT, 1234.0, ())
    assert whole.last_error is not None
    assert "no endpoint" in whole.last_error
    assert summarise((), problem="relay.json does not exist yet").last_error == "relay.json does not exist yet"


def test_what_was_counted_stays_counted_when_an_endpoint_goes() -> None:
    first = summarise([endpoint(reconnect_count=3, last_event_at=50.0, last_error="rotated")])
    second = summarise([endpoint(reconnect_count=2, last_event_at=40.0, last_byte_at=60.0)], gone=first)
    now = summarise([endpoint("connecting", reconnect_count=1)], gone=second)
    assert now.reconnect_count == 6
    assert (now.last_event_at, now.last_byte_at) == (50.0, 60.0)
    assert (now.state, now.last_error) == ("connecting", None)
    assert len(now.endpoints) == 1


moments = st.none() | st.floats(0, 1e10)
endpoints = st.builds(
    endpoint,
    st.sampled_from(NEAREST_FIRST),
    since=st.floats(0, 1e10),
    last_byte_at=moments,
    last_wake_at=moments,
    last_event_at=moments,
    last_error=st.none() | st.text(max_size=5),
    next_attempt_in=st.none() | st.floats(0, 3600),
    reconnect_count=st.integers(0, 1000),
)


@given(st.lists(endpoints, max_size=5), st.lists(endpoints, max_size=5))
def test_order_does_not_matter_and_counts_never_fall(some: list[EndpointState], others: list[EndpointState]) -> None:
    def facts(whole: SubscriberState) -> object:
        return whole.state, whole.since, whole.last_event_at, whole.next_attempt_in, whole.reconnect_count

    assert facts(summarise(some + others)) == facts(summarise(others + some))
    together = summarise(some + others)
    after = summarise(some, gone=summarise(others))
    assert after.reconnect_count == together.reconnect_count
    assert after.last_event_at == together.last_event_at


def test_the_values_are_frozen() -> None:
    for value in (endpoint(), summarise([endpoint()])):
        with pytest.raises(AttributeError):
            value.state = "error"  # type: ignore[misc]  # that is what must fail
        assert not hasattr(value, "__dict__")


def test_it_is_cheap_to_import() -> None:
    heavy = {"json", "logging", "ssl", "certifi", "asyncio", "pathlib", "datetime", "urllib", "email"}
    folder = os.path.dirname(str(state.__file__))
    # The module alone: what the package around it loads is another test's business.
    code = f"import sys; sys.path.insert(0, {folder!r}); import state; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
