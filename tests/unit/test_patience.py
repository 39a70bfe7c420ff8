"""How long is worth waiting: for held money, for a window that reopens, and before sending again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.budgets import Unit
from governor.ledger.commands import Ask, Balance, BudgetRow, Refused
from governor.story.effects import Ended
from governor.story.matrix import Matrix, reopens_ms
from governor.story.patience import LONGEST_RETRY_AFTER_S, opens_s, retry_pause_s, wait_s

NOW_MS = 1_000_000
TWENTY = Ask(20)
HELD, SPENT, FREE = Balance(0, 90, 100), Balance(90, 0, 100), Balance(0, 0, 100)


def asked(*columns, balances, asks=(TWENTY,)):
    """A refused matrix: per budget the seconds until it reopens (`None`: never), per candidate its asks."""
    rows = tuple(
        BudgetRow(f"b{i}", "w", 0, 0 if s is None else NOW_MS + s * 1000, Unit.USD, 100)
        for i, s in enumerate(columns)
    )
    table = Matrix((), rows, (), tuple(asks if isinstance(asks[0], tuple) else [tuple(asks)]))
    return table, Refused("exhausted", tuple(balances), None, NOW_MS)


def test_held_money_may_come_back_at_any_moment():
    """Where others only hold what is needed, it is worth looking again at once."""
    assert wait_s(*asked(None, balances=[HELD]), left_s=5) == 0


def test_spent_money_comes_back_with_its_window():
    """A budget that is spent is waited for until it reopens, if that is in time."""
    assert wait_s(*asked(3, balances=[SPENT]), left_s=5) == 3
    assert wait_s(*asked(8, balances=[SPENT]), left_s=5) is None
    assert wait_s(*asked(None, balances=[SPENT]), left_s=5) is None


def test_the_last_of_several_windows_decides():
    """A candidate waits for the slowest of the budgets that refuse it; the quickest candidate decides."""
    both = asked(3, 4, balances=[SPENT, SPENT], asks=(Ask(20), Ask(20)))
    assert wait_s(*both, left_s=5) == 4
    either = asked(3, 4, balances=[SPENT, SPENT], asks=((None, Ask(20)), (Ask(20), None)))
    assert wait_s(*either, left_s=5) == 3
    mixed = asked(3, None, balances=[SPENT, HELD], asks=(Ask(20), Ask(20)))
    assert wait_s(*mixed, left_s=5) == 3


def test_no_wait_helps_what_can_never_fit():
    """More than the whole limit, above its own mark, or frozen: not worth a second."""
    assert wait_s(*asked(3, balances=[FREE], asks=(Ask(101),)), left_s=5) is None
    assert wait_s(*asked(3, balances=[SPENT], asks=(Ask(20, mark_bp=1000),)), left_s=5) is None
    assert wait_s(*asked(3, balances=[Balance(0, 0, 100, "audit")]), left_s=5) is None


def test_held_requests_are_not_waited_for():
    """What others hold of a budget of requests stays counted, so only its window helps."""
    once = Ask(20, comes_back=False)
    assert wait_s(*asked(None, balances=[HELD], asks=(once,)), left_s=5) is None
    assert wait_s(*asked(3, balances=[HELD], asks=(once,)), left_s=5) == 3
    assert wait_s(*asked(8, balances=[HELD], asks=(once,)), left_s=5) is None


def test_when_a_budget_opens():
    """Seconds to the end of a spent window by the ledger's clock; 0 where it is held or free; else never."""
    frozen, small = Balance(0, 0, 100, "audit"), Balance(0, 0, 10)
    balances = [SPENT, SPENT, HELD, FREE, frozen, small]
    table, refused = asked(3, None, 3, 3, 3, 3, balances=balances, asks=(TWENTY,) * 6)
    assert [opens_s(table, refused, 0, budget) for budget in range(6)] == [3.0, None, 0, 0, None, None]


def rolling(balance):
    """A refused matrix of one rolling budget that says *balance*."""
    row = BudgetRow("b/usd/rolling-48m", "rolling", 0, 0, Unit.USD, 100, bucket_ms=60_000)
    return Matrix((), (row,), (), ((TWENTY,),)), Refused("exhausted", (balance,), None, NOW_MS)


def test_a_rolling_budget_opens_when_spend_first_leaves_it():
    """It has no end; what was spent leaves it by and by, and is waited for if that is in time."""
    spent = rolling(Balance(90, 0, 100, frees_ms=NOW_MS + 4_000))
    assert opens_s(*spent, 0, 0) == 4.0
    assert wait_s(*spent, left_s=5) == 4.0
    assert wait_s(*spent, left_s=3) is None
    assert wait_s(*rolling(Balance(90, 0, 100)), left_s=5) is None
    assert wait_s(*rolling(Balance(10, 80, 100, frees_ms=NOW_MS + 4_000)), left_s=5) == 0
    assert wait_s(*rolling(Balance(90, 0, 100, "audit", frees_ms=NOW_MS + 4_000)), left_s=5) is None


def test_a_view_of_a_rolling_budget_says_when_it_first_frees():
    """Its instant is the ledger's word; the window of a calendar budget ends when its row says."""
    (row,) = rolling(SPENT)[0].rows
    assert reopens_ms(row, Balance(90, 0, 100, frees_ms=7)) == 7
    assert reopens_ms(BudgetRow("b", "w", 0, 5, Unit.USD, 100), Balance(90, 0, 100, frees_ms=7)) == 5


@pytest.mark.parametrize("seconds", [0.0, 0.25, LONGEST_RETRY_AFTER_S])
def test_the_apis_word_is_kept(seconds):
    """A `retry-after` is waited for exactly."""
    assert retry_pause_s(Ended("refused", retry_after_s=seconds), 1) == seconds


def test_too_long_a_wait_is_not_begun():
    """A `retry-after` beyond a minute is told to the caller instead."""
    assert retry_pause_s(Ended("refused", retry_after_s=LONGEST_RETRY_AFTER_S + 1), 1) is None


@given(st.integers(1, 12))
def test_without_a_word_the_pause_grows_at_random(attempts):
    """Without a `retry-after` the pause is 1 to 2 s, then up to a bound that doubles, up to thirty."""
    pause = retry_pause_s(Ended("refused"), attempts)
    assert 1 <= pause <= min(30, 2**attempts)


@given(st.integers(1, 12))
def test_an_overloaded_model_is_left_alone_for_longer(attempts):
    """Without a `retry-after` it is come back to after 30 to 60 s, however often it was tried."""
    assert 30 <= retry_pause_s(Ended("refused", overloaded=True), attempts) <= 60
