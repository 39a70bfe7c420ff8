"""What is remembered of balances, and what share of the tightest budget a candidate would take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from governor.budgets import Unit
from governor.ledger import commands as c
from governor.story.hints import MOST_HINTS, OLDEST_MS, Hints
from governor.story.matrix import Matrix

TEAM = c.BudgetRow("department=team/usd/life", "life", 0, 0, Unit.USD, 1_000)
TOKENS = c.BudgetRow("department=team/tokens/life", "life", 0, 0, Unit.TOKENS, 100)
CALLS = c.BudgetRow("user=u/concurrent/life", "life", 0, 0, Unit.CONCURRENT, 1)
REQUESTS = c.BudgetRow("user=u/requests/life", "life", 0, 0, Unit.REQUESTS, 1)


def table(*wants):
    """A matrix of one candidate that asks this of these budgets."""
    return Matrix((), tuple(row for row, _ in wants), (), (tuple(ask for _, ask in wants),))


def known(*balances, at_ms=7):
    """Hints of one reply."""
    hints = Hints()
    hints.note([row for row, _ in balances], [balance for _, balance in balances], at_ms)
    return hints


def test_nothing_is_known_at_first():
    """Without a word of every budget that money or tokens would be taken from, there is no share."""
    wanted = table((TEAM, c.Ask(1)), (TOKENS, c.Ask(1)))
    assert Hints().share_of_tightest(wanted, 0) is None
    assert known((TEAM, c.Balance(0, 0, 1_000))).share_of_tightest(wanted, 0) is None


def test_another_window_is_not_known():
    """What was heard of yesterday says nothing of today."""
    day = c.BudgetRow("user=u/usd/day", "2026-11-21", 1, 2, Unit.USD, 100)
    hints = known((day, c.Balance(0, 0, 100)))
    assert hints.share_of_tightest(table((day, c.Ask(1))), 7) == (100, 7)
    tomorrow = c.BudgetRow("user=u/usd/day", "2026-11-22", 2, 3, Unit.USD, 100)
    assert hints.share_of_tightest(table((tomorrow, c.Ask(1))), 7) is None


def test_what_was_heard_long_ago_says_nothing():
    """Ten seconds on, a balance still counts; later, or where one of several is older, there is no share."""
    hints = known((TEAM, c.Balance(0, 0, 1_000)), at_ms=50)
    hints.note([TOKENS], [c.Balance(0, 0, 100)], 90)
    both = table((TEAM, c.Ask(10)), (TOKENS, c.Ask(10)))
    assert OLDEST_MS == 10_000
    assert hints.share_of_tightest(both, 50 + OLDEST_MS) == (1_000, 50)
    assert hints.share_of_tightest(both, 51 + OLDEST_MS) is None
    assert hints.share_of_tightest(table((TOKENS, c.Ask(10))), 51 + OLDEST_MS) == (1_000, 90)
    hints.note([TEAM], [c.Balance(0, 0, 1_000)], 120)
    assert hints.share_of_tightest(both, 90 + OLDEST_MS) == (1_000, 90)


def test_what_is_held_counts_against_the_limit_and_not_against_the_mark():
    """The limit judges money spent or promised, a line's mark money spent: the smaller room counts."""
    hints = known((TEAM, c.Balance(100, 500, 1_000)))
    assert hints.share_of_tightest(table((TEAM, c.Ask(4))), 7) == (100, 7)
    assert hints.share_of_tightest(table((TEAM, c.Ask(4, mark_bp=3_000))), 7) == (200, 7)


def test_a_floor_is_a_mark():
    """What must be left to the cheaper lines is not there for a dear one."""
    hints = known((TEAM, c.Balance(0, 0, 1_000)))
    assert hints.share_of_tightest(table((TEAM, c.Ask(1, floor=900))), 7) == (100, 7)


def test_the_tightest_budget_and_the_oldest_word_count():
    """Of several budgets the largest share is told, and when the oldest of the balances was heard."""
    hints = known((TEAM, c.Balance(0, 0, 1_000)), at_ms=50)
    hints.note([TOKENS], [c.Balance(50, 0, 100)], 90)
    wanted = table((TEAM, c.Ask(10)), (TOKENS, c.Ask(10)))
    assert hints.share_of_tightest(wanted, 0) == (2_000, 50)
    hints.note([TEAM], [c.Balance(0, 0, 1_000)], 120)
    assert hints.share_of_tightest(wanted, 0) == (2_000, 90)


def test_the_limit_in_force_counts_not_the_files():
    """A grant or an override that the ledger told of is what there is to take from."""
    hints = known((TEAM, c.Balance(0, 0, 10_000)))
    assert hints.share_of_tightest(table((TEAM, c.Ask(10))), 7) == (10, 7)


def test_budgets_of_calls_say_nothing_of_money():
    """Requests and calls at once do not depend on the estimate, so they are not looked at."""
    wanted = table((TEAM, c.Ask(1)), (CALLS, c.Ask(1)), (REQUESTS, c.Ask(1)), (TOKENS, None))
    assert known((TEAM, c.Balance(0, 0, 1_000))).share_of_tightest(wanted, 0) == (10, 7)
    assert known().share_of_tightest(table((CALLS, c.Ask(1))), 7) is None


def test_what_no_longer_fits_takes_all():
    """A budget that is spent, or filled above its mark, is taken whole by anything."""
    for balance in (c.Balance(1_000, 0, 1_000), c.Balance(500, 500, 1_000), c.Balance(2_000, 0, 1_000)):
        assert known((TEAM, balance)).share_of_tightest(table((TEAM, c.Ask(1))), 7) == (10_000, 7)


@given(
    amount=st.integers(1, 10**15),
    posted=st.integers(0, 10**15),
    held=st.integers(0, 10**15),
    limit=st.integers(1, 10**15),
)
def test_a_share_is_rounded_up(amount, posted, held, limit):
    """What is told to be under a share is under it, exactly."""
    hints = known((TEAM, c.Balance(posted, held, limit)))
    share, _ = hints.share_of_tightest(table((TEAM, c.Ask(amount))), 7) or (0, 0)
    free = limit - posted - held
    assert share == 10_000 if free <= 0 else (share - 1) * free < amount * 10_000 <= share * free


def test_memory_is_bounded():
    """However many budgets are heard of, only so many are remembered; the newest are."""
    hints = Hints()
    rows = [
        c.BudgetRow(f"user=u{number}/usd/life", "life", 0, 0, Unit.USD, 10)
        for number in range(MOST_HINTS + 2)
    ]
    for row in rows:
        hints.note([row], [c.Balance(0, 0, 10)], 1)
    assert hints.share_of_tightest(table((rows[-1], c.Ask(1))), 7) is not None
    assert hints.share_of_tightest(table((rows[0], c.Ask(1))), 7) is None
