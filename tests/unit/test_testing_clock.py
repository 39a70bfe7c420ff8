"""The frozen clock moves when it is told to, and budgets, holds and the fake API go by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

import governor
from governor.pricing import PriceTable
from governor.testing import FrozenClock, assert_spent
from governor.testing.clock import FROZEN_AT

POLICY = """
version: 1
department: research
timezone: Europe/Berlin
budgets:
  - {per: user, usd: 0.02, window: day}
  - {per: department, usd: 1, window: month}
routing:
  lines: {haiku: claude-haiku-5-5}
"""


def ask(gov):
    """One call that takes more than half of a day's budget."""
    messages = [{"role": "user", "content": "Hello"}]
    return gov.call(user="ada", department="research", max_tokens=2000, messages=messages)


def test_it_stands_still_until_it_is_moved():
    """It counts in Unix milliseconds from its start, exactly, however it is told to move."""
    clock = FrozenClock(datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert clock() == clock() == 1_795_176_000_000
    assert clock.tick(seconds=1.5) == datetime(2026, 11, 20, 12, 0, 1, 500_000, tzinfo=UTC)
    clock.tick(0.1)
    assert clock() == 1_795_176_001_600
    assert clock.tick(days=1, hours=2, minutes=3) - timedelta(days=1, hours=2, minutes=3) == datetime(
        2026, 11, 20, 12, 0, 1, 600_000, tzinfo=UTC
    )


def test_it_goes_to_an_instant_in_any_time_zone():
    """Forward and back; what it says is UTC."""
    clock = FrozenClock()
    assert clock.at(datetime(2026, 12, 1, tzinfo=ZoneInfo("Europe/Berlin"))) == clock.now
    assert clock.now == datetime(2026, 11, 30, 23, tzinfo=UTC)
    clock.at(datetime(2026, 11, 1, 5, tzinfo=timezone(timedelta(hours=5))))
    assert (clock.now, clock.now.tzinfo) == (datetime(2026, 11, 1, tzinfo=UTC), UTC)
    assert repr(clock) == "FrozenClock(2026-11-01T00:00:00+00:00)"


@pytest.mark.parametrize("step", [{}, {"seconds": 0}, {"seconds": -1}, {"seconds": 0.0001}, {"days": -1}])
def test_a_tick_goes_forward(step):
    """No time at all, or less, is a mistake."""
    with pytest.raises(ValueError, match="cannot tick"):
        FrozenClock().tick(**step)


def test_an_instant_has_a_time_zone():
    """Without one it would be this machine's."""
    naive = datetime(2026, 12, 1)  # noqa: DTZ001 - that is the mistake
    with pytest.raises(ValueError, match="has no time zone: write"):
        FrozenClock(naive)
    with pytest.raises(ValueError, match="has no time zone: write"):
        FrozenClock().at(naive)


def test_budgets_reopen_where_it_is_moved_to_their_next_window(make_governor, frozen_clock, fake_claude):
    """At the end of the day in the policy's time zone, and not a millisecond earlier."""
    fake_claude.replies(output_tokens=2000)
    gov = make_governor(POLICY)
    spent = []
    with pytest.raises(governor.BudgetExceeded) as refused:  # noqa: PT012 - the loop ends by the refusal
        while True:
            spent.append(ask(gov).receipt.cost.nanos)
    midnight = datetime(2026, 11, 21, tzinfo=ZoneInfo("Europe/Berlin"))
    assert refused.value.resets_at == midnight
    frozen_clock.at(midnight - timedelta(milliseconds=1))
    with pytest.raises(governor.BudgetExceeded):
        ask(gov)
    frozen_clock.tick(0.001)
    spent.append(ask(gov).receipt.cost.nanos)
    assert_spent(gov, nanos=spent[-1], user="ada")
    assert_spent(gov, nanos=sum(spent), department="research")
    frozen_clock.at(datetime(2026, 12, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    assert_spent(gov, 0, department="research")


def test_the_fake_api_goes_by_it(fake_claude, frozen_clock):
    """Its bill bears the clock's time, in a test that asks for both."""
    frozen_clock.at(datetime(2026, 12, 24, 18, tzinfo=UTC))
    fake_claude.client().messages.create(
        model="claude-haiku-5-5", max_tokens=10, messages=[{"role": "user", "content": "Hello"}]
    )
    assert fake_claude.bill[0].at_ms == frozen_clock()


def test_every_model_on_sale_has_a_price_where_it_starts():
    """If this fails, a model is newer than `FROZEN_AT`: move that to a later Friday noon."""
    prices = PriceTable.load()
    newer = [one.id for one in prices.models() if prices.priced_since(one.id) > FROZEN_AT.date()]
    assert len(prices.models()) > 3
    assert FROZEN_AT.weekday() == 4
    assert newer == []
