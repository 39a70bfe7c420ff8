"""The arithmetic of leases: how large they are, and that calls never draw more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from governor.budgets import Unit
from governor.ledger.admission import mark
from governor.ledger.commands import Balance, BudgetRow
from governor.story.leases import CALLS, FULLEST_BP, SHARE_BP, Lease, Leases, room

ROWS = (BudgetRow("org/usd/life", "life", 0, 0, Unit.USD, 10**12),)
LATER = (BudgetRow("org/usd/day", "2026-11-21", 1, 2, Unit.USD, 10**12),)
NANOS = st.integers(0, 10**13)
BALANCES = st.lists(
    st.builds(Balance, NANOS, NANOS, NANOS, st.sampled_from([None, None, None, "frozen"])), min_size=1
)


@given(balances=BALANCES, ceilings=st.lists(st.integers(1, 10**11), max_size=60))
def test_a_lease_is_small_and_leaves_the_last_tenth(balances, ceilings):
    """At most 1 % of every limit, never above 90 % of a budget, of one to twenty calls."""
    leases = Leases()
    for nanos in ceilings:
        leases.saw("team", nanos)
    amount = leases.wanted("team", balances)
    dearest = max(ceilings[-CALLS:], default=0)
    assert amount == 0 or dearest <= amount <= CALLS * dearest
    for balance in balances:
        if amount:
            assert amount <= mark(balance.limit, SHARE_BP)
            assert balance.posted + balance.held + amount <= mark(balance.limit, FULLEST_BP)
            assert balance.frozen is None


@given(share=st.integers(1, 10**9))
def test_a_lease_is_as_large_as_may_be(share):
    """Of an unused budget, 1 % of the limit or twenty calls, whichever is less."""
    leases = Leases()
    leases.saw("team", 10**6)
    limit = share * 10_000
    wanted = min(share * SHARE_BP, CALLS * 10**6)
    assert leases.wanted("team", [Balance(0, 0, limit)]) == (wanted if wanted >= 10**6 else 0)


@given(
    amount=st.integers(0, 1000),
    steps=st.lists(st.tuples(st.integers(1, 400), st.integers(0, 100), st.booleans()), max_size=40),
)
def test_calls_never_draw_more_than_there_is(amount, steps):
    """Drawn by calls in flight and spent by those that ended together stay within the lease.

    And a call that fits is never turned away.
    """
    leases = Leases()
    lease = Lease("one", "team", ROWS, amount)
    leases.put(lease)
    open_draws, spent = [], 0
    for ceiling, percent, end_one in steps:
        before = amount - spent - sum(draw.nanos for draw in open_draws)
        draw = leases.draw("team", ROWS, ceiling)
        assert (draw is not None) == (ceiling <= before)
        if draw is not None:
            open_draws.append(draw)
        if end_one and open_draws:
            ended = open_draws.pop(0)
            cost = ended.nanos * percent // 100
            leases.end(ended, cost)
            spent += cost
        assert (lease.held, lease.posted) == (sum(draw.nanos for draw in open_draws), spent)
        assert spent + lease.held <= amount


def test_a_lease_is_of_its_windows_and_its_department():
    """Another window, another department, or a lease that was given back bears nothing."""
    leases = Leases()
    leases.put(Lease("one", "team", ROWS, 100))
    assert leases.draw("team", LATER, 1) is None
    assert leases.draw("other", ROWS, 1) is None
    assert leases.draw("team", ROWS, 1) is not None
    assert leases.take_out("team").id == "one"
    assert leases.draw("team", ROWS, 1) is None


def test_an_overrun_is_the_lease_s_own_loss():
    """A call that cost more than its ceiling leaves less, or less than nothing, for the others."""
    leases = Leases()
    lease = Lease("one", "team", ROWS, 100)
    leases.put(lease)
    leases.end(leases.draw("team", ROWS, 60), 130)
    assert lease.left == -30
    assert leases.draw("team", ROWS, 1) is None


def test_what_is_frozen_or_full_has_no_room():
    """Room is what is free below 90 % of the limit."""
    assert room(Balance(40, 10, 100)) == 40
    assert room(Balance(80, 20, 100)) == -10
    assert room(Balance(0, 0, 100, "audit")) == 0


def test_one_at_a_time_tends_a_lease():
    """While one caller takes or gives back a department's lease, others leave it alone."""
    leases = Leases()
    assert leases.begin("team")
    assert not leases.begin("team")
    assert leases.begin("other")
    leases.done("team")
    assert leases.begin("team")
