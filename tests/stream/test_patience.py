"""The response budget: doubled by consecutive timeouts, up to `read`, and remembered where a server needed it."""

from __future__ import annotations

from wire_rawsse.patience import PROMPT_HEADS, Patience
from wire_rawsse.policy import Timeouts

DEFAULT = Timeouts()


def ladder(patience: Patience, timeouts: Timeouts, count: int) -> list[float]:
    budgets = []
    for _ in range(count):
        budgets.append(patience.seconds(timeouts))
        patience.ran_out(timeouts)
    return budgets


def test_consecutive_timeouts_double_it_up_to_read() -> None:
    assert ladder(Patience(), DEFAULT, 6) == [15, 30, 60, 75, 75, 75]
    assert ladder(Patience(), Timeouts(response=20, read=10), 3) == [20, 20, 20]
    assert ladder(Patience(), Timeouts(response=10, read=10), 3) == [10, 10, 10]


def test_it_never_overflows() -> None:
    patience = Patience()
    assert ladder(patience, Timeouts(response=1e-3, read=1e9), 5000)[-1] == 1e9


def test_a_prompt_head_ends_it() -> None:
    patience = Patience()
    ladder(patience, DEFAULT, 4)
    patience.answered(0.1, DEFAULT)
    assert patience.seconds(DEFAULT) == 15


def test_a_head_that_needed_more_is_remembered() -> None:
    patience = Patience()
    ladder(patience, DEFAULT, 1)
    patience.answered(15.1, DEFAULT)
    assert patience.seconds(DEFAULT) == 30
    patience.answered(3.0, DEFAULT)
    assert patience.seconds(DEFAULT) == 30, "the next head may come late again"
    ladder(patience, DEFAULT, 2)
    patience.answered(0.1, DEFAULT)
    assert patience.seconds(DEFAULT) == 30, "an outage changes nothing about what heads have needed"


def test_many_prompt_heads_lower_it_by_one_step() -> None:
    patience = Patience()
    ladder(patience, DEFAULT, 2)
    patience.answered(40.0, DEFAULT)
    for expected in (60, 30, 15):
        assert patience.seconds(DEFAULT) == expected
        for _ in range(PROMPT_HEADS):
            patience.answered(1.0, DEFAULT)
    assert patience.seconds(DEFAULT) == 15


def test_a_prompt_redirect_does_not_end_it() -> None:
    patience = Patience()
    for expected in (15, 30, 60):
        patience.begin()
        assert patience.seconds(DEFAULT) == expected
        patience.redirected(0.1)
        patience.ran_out(DEFAULT)
    patience.begin()
    patience.redirected(0.1)
    patience.answered(31.0, DEFAULT)
    assert patience.seconds(DEFAULT) == 60


def test_a_redirect_may_be_the_slow_one() -> None:
    patience = Patience()
    ladder(patience, DEFAULT, 2)
    for _ in range(3):
        patience.begin()
        patience.redirected(16.0)
        patience.redirected(0.1)
        patience.answered(0.1, DEFAULT)
        assert patience.seconds(DEFAULT) == 30
    patience.begin()
    for _ in range(PROMPT_HEADS):
        patience.answered(0.1, DEFAULT)
    assert patience.seconds(DEFAULT) == 15, "a redirect of an earlier attempt counts no more"
