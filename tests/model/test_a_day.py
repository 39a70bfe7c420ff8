"""A day of four teams in virtual time: budgets run out, the API is busy, and everything is told.

`GOVERNOR_DAY_SEED=4711 pytest tests/model/test_a_day.py` plays one seed; a failure names its own.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from support.day import Day
from support.day_table import as_text
from support.day_teams import TEAMS, write_policies

from governor.pricing import PriceTable

DEEP = os.environ.get("GOVERNOR_TEST_PROFILE") == "deep"
REPLAY = "GOVERNOR_DAY_SEED"
SEEDS = [int(os.environ[REPLAY])] if REPLAY in os.environ else list(range(1, 25 if DEEP else 2))
SIZE = 1.0

MUST_MEET = {"overload", "budget", "conversation", "unfit", "gone", "feature"}
"""Reasons for another model that every day must have met, or it would prove little."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The teams' policies, and the price table that ships."""
    return write_policies(tmp_path_factory.mktemp("policies")), PriceTable.load()


@pytest.fixture(scope="module")
def played():
    """The days that were played, by seed: each is played once."""
    return {}


@pytest.fixture(params=SEEDS)
def day(request, world, played):
    """One day, judged as it happens: see `support.day_judge`; a failure says how to see it again."""
    seed = request.param
    policies, prices = world
    if seed not in played:
        made = Day(policies, prices, seed, SIZE)
        try:
            played[seed] = made.play()
        except AssertionError as error:
            again = f"{REPLAY}={seed} pytest tests/model/test_a_day.py"
            raise AssertionError(f"seed {seed}: {error}\nsee it again: {again}\n{as_text(made)}") from error
    return played[seed]


def test_every_call_of_the_day_is_told_and_paid(day):
    """At most two changes of model, all told as in the journal; no limit passed, none refused in vain."""
    answered = sum(row.served for row in day.judge.table())
    assert answered > 1_500
    assert not MUST_MEET - set(day.judge.reasons), as_text(day)
    assert day.api.cold > 0, "no swap lost its prompt cache"
    assert not {404, 529} - set(day.api.said)
    assert max(call.receipt.decision.load for call in day.calls if call.receipt) > 0.7, "never busy"


def test_budgets_run_out_at_different_hours(day):
    """Every team comes to its second step, in three different hours at least; some to the end."""
    rows = day.judge.table()
    assert all(None not in row.reached_h for row in rows), as_text(day)
    assert len({int(row.reached_h[-1]) for row in rows}) >= 3, as_text(day)
    out_h = {int(row.out_h) for row in rows if row.out_h is not None}
    assert len(out_h) >= 2, as_text(day)


def test_each_team_is_downgraded_and_goes_on(day):
    """In each team somebody was downgraded; and after the last step there still were answers."""
    for row, team in zip(day.judge.table(), TEAMS, strict=True):
        after_h = row.reached_h[-1]
        later = [call for call in day.calls if call.talk.team is team and call.at_s / 3600 > after_h]
        assert row.downgraded, as_text(day)
        assert sum(call.receipt is not None for call in later) > 10, as_text(day)


def test_the_same_seed_is_the_same_day(world, played):
    """Nothing but the seed decides what happens, so that a failure can be seen again."""
    policies, prices = world
    again = Day(policies, prices, SEEDS[0], SIZE / 8).play()
    other = Day(policies, prices, SEEDS[0], SIZE / 8).play()
    assert again.judge.table() == other.judge.table()
    assert Counter(call.id for call in again.calls) == Counter(call.id for call in other.calls)
