"""Short names of budgets, and the amounts that stand beside them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.budgets import Period, Rolling, Unit, balance_identity
from governor.money import NANOS_PER_DOLLAR
from governor.rehearsal.keys import KeyRefused, amount_of, find, short

TEAM = "department=team"
IDENTITIES = [
    "org/usd/month",
    "org/user=ada@example.com/usd/day",
    f"{TEAM}/usd/month",
    f"{TEAM}/user=ada@example.com/usd/day",
    f"{TEAM}/user=ada@example.com/usd/month",
    f"{TEAM}/user=ada@example.com/requests/minute",
    f"{TEAM}/user=ada@example.com/concurrent/life",
    f"{TEAM}/run=pr%2F1/usd/life",
    f"{TEAM}/tag.project=atlas/usd/rolling-7d",
    f"{TEAM}/user=ada@example.com/model=claude-opus-5-5/usd/day",
    f"{TEAM}/user=ada@example.com/model=claude-haiku-5-5/usd/day",
]


@pytest.mark.parametrize(
    ("key", "index"),
    [
        ("org/month", 0),
        ("organization/month", 0),
        ("org", 0),
        ("org/user/day", 1),
        ("department", 2),
        ("department/month", 2),
        ("department=team/usd/month", 2),
        ("department/user/day", 3),
        ("user/month", 4),
        ("user/usd/month", 4),
        ("user/minute", 5),
        ("user/requests", 5),
        ("user/requests/minute", 5),
        ("user/concurrent", 6),
        ("run", 7),
        ("run=pr%2F1", 7),
        ("tag:project", 8),
        ("tag.project/rolling 7d", 8),
        ("tag:project=atlas/usd/rolling-7d", 8),
        ("user/model=claude-opus-5-5/day", 9),
    ],
)
def test_a_key_names_one_budget(key, index):
    """Scope, unit and window as far as they are needed, values if wanted, or the whole identity."""
    assert find(key, IDENTITIES) == IDENTITIES[index]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("user/day", "'org/user/day' or 'department/user/day'"),
        ("user/model/day", "'user/model=claude-opus-5-5/day' or 'user/model=claude-haiku-5-5/day'"),
        ("usr/month", "did you mean"),
        ("departmnt/month", "did you mean 'department/month'?"),
        ("user=bob/month", "did you mean"),
        ("", "known: department/month, "),
    ],
)
def test_a_key_that_names_none_or_several_says_what_to_write(key, hint):
    """The budgets it may mean, or the nearest one there is."""
    with pytest.raises(KeyRefused) as refused:
        find(key, IDENTITIES)
    assert (hint in refused.value.hint, refused.value.key) == (True, key)


scopes = st.sampled_from(["user", "feature", "run", "model", "tag.project"])
ids = st.text("abc=/% .@é", min_size=1, max_size=5)


@given(
    st.lists(
        st.builds(
            balance_identity,
            st.dictionaries(scopes, ids, max_size=2).map(lambda inner: {"department": "team", **inner})
            | st.dictionaries(scopes, ids, max_size=2).map(lambda inner: {"org": None, **inner}),
            st.sampled_from(Unit),
            st.sampled_from([Period.DAY, Period.LIFE, Rolling("rolling-7d", 1)]),
        ),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
def test_the_short_name_of_a_budget_leads_back_to_it(identities):
    """Whatever the budgets and the values in them."""
    assert [find(short(one, identities), identities) for one in identities] == identities


@pytest.mark.parametrize(
    ("written", "unit", "amount"),
    [
        (0, Unit.USD, 0),
        (12500, Unit.USD, 12500 * NANOS_PER_DOLLAR),
        (Decimal("0.25"), Unit.USD, NANOS_PER_DOLLAR // 4),
        ("$1,500.50", Unit.USD, 1_500_500_000_000),
        ("85%", Unit.USD, 850),
        ("99.99 %", Unit.USD, 999),
        ("120%", Unit.REQUESTS, 1200),
        (7, Unit.REQUESTS, 7),
        ("1,000", Unit.TOKENS, 1000),
    ],
)
def test_amounts_are_exact(written, unit, amount):
    """Dollars in nano-dollars, counts as they are, shares of the limit (1,000 here) rounded down."""
    assert amount_of("key", written, unit, 1000) == amount


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("x", Unit.USD),
        (-1, Unit.USD),
        (True, Unit.USD),
        (Decimal("1.5"), Unit.REQUESTS),
        ("$5", Unit.TOKENS),
        ("0.0000000001", Unit.USD),
        ("1e3", Unit.USD),
        ("12.345%", Unit.USD),
        (9_000_001, Unit.USD),
        ("", Unit.USD),
    ],
)
def test_what_is_no_amount_is_refused(written, unit):
    """Below nothing, finer than a nano-dollar, half a request, more than can be counted."""
    with pytest.raises(KeyRefused):
        amount_of("key", written, unit, 1000)
