"""Contract: windows that roll: 48 aligned buckets and the current one, the oldest counted whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.ledger import commands as c
from governor.testing.ledger_contract.bench import START_MS, TTL_MS

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

WEEK = "department=engineering/usd/rolling-7d"
DAY = "department=engineering/usd/day"
BUCKET_MS = 7 * 24 * 3600 * 1000 // 48
FIRST_SLOT_MS = START_MS - START_MS % BUCKET_MS
"""Where the bucket begins in which the tests' clock starts."""

LEAVES_MS = FIRST_SLOT_MS + 49 * BUCKET_MS
"""When what is spent at the start of a test leaves the window."""


class RollingContract:
    """Spend comes back bucket by bucket."""

    def test_spend_counts_until_its_bucket_has_left(self, bench: Bench) -> None:
        """Counted whole in the last millisecond of the window's oldest bucket, and no later."""
        week = bench.budget(WEEK, 100)
        bench.spend("s1", week, 70)
        assert bench.balance(week) == c.Balance(70, 0, 100, None, LEAVES_MS)
        bench.clock.now_ms = LEAVES_MS - 1
        assert isinstance(bench.reserve("r1", (week, 31)), c.Refused)
        bench.clock.now_ms = LEAVES_MS
        assert bench.balance(week) == c.Balance(0, 0, 100)
        assert isinstance(bench.reserve("r2", (week, 100)), c.Held)

    def test_what_a_hold_took_the_place_of_does_not_come_back(self, bench: Bench) -> None:
        """Where spend has left and a hold was given for it, a clock set back counts only the hold."""
        week = bench.budget(WEEK, 100)
        bench.spend("s1", week, 70)
        bench.clock.now_ms = LEAVES_MS
        bench.reserve("r1", (week, 100))
        bench.clock.advance(-1)
        assert bench.balance(week) == c.Balance(0, 100, 100)

    def test_a_window_is_the_sum_of_its_buckets(self, bench: Bench) -> None:
        """What was spent in several buckets adds up, and leaves one bucket after the other."""
        week = bench.budget(WEEK, 1000)
        for day in range(3):
            bench.spend(f"s{day}", week, 100 + day)
            bench.clock.advance(24 * 3600 * 1000)
        assert bench.balance(week).posted == 303
        left = [303, 203, 102, 0]
        for posted in left[1:]:
            bench.clock.now_ms = bench.balance(week).frees_ms
            assert bench.balance(week).posted == posted
        assert bench.balance(week).frees_ms == 0

    def test_an_ending_says_when_what_it_posted_frees(self, bench: Bench) -> None:
        """The reply has the balance as a reading just after it would, down to a correction to nothing."""
        week = bench.budget(WEEK, 100)
        assert bench.spend("s1", week, 60).balances == (c.Balance(60, 0, 100, None, LEAVES_MS),)
        bench.clock.advance(7 * 24 * 3600 * 1000)
        bench.reserve("r1", (week, 30))
        bench.clock.advance(TTL_MS)
        bench.expire(("r1", (week,)))
        bench.clock.now_ms = LEAVES_MS
        assert bench.settle("r1", (week, 0)).balances == (bench.balance(week),) == (c.Balance(0, 0, 100),)

    def test_a_refusal_says_when_the_first_of_it_frees(self, bench: Bench) -> None:
        """Exhausted, with the instant at which the oldest bucket's spend leaves the window."""
        week = bench.budget(WEEK, 100)
        bench.spend("s1", week, 60)
        bench.clock.advance(2 * BUCKET_MS)
        bench.spend("s2", week, 40)
        refused = bench.reserve("r1", (week, 1))
        assert isinstance(refused, c.Refused)
        assert (refused.reason, refused.balances[0].frees_ms) == ("exhausted", LEAVES_MS)

    @pytest.mark.parametrize("end", ["settle", "expire"])
    def test_a_hold_is_posted_to_the_bucket_it_was_opened_in(self, bench: Bench, end: str) -> None:
        """However late it ends: its spend leaves the window with that bucket."""
        week = bench.budget(WEEK, 100)
        bench.reserve("r1", (week, 30), ttl_ms=BUCKET_MS)
        bench.clock.advance(BUCKET_MS)
        if end == "settle":
            bench.settle("r1", (week, 30))
        else:
            bench.expire(("r1", (week,)))
        assert bench.balance(week) == c.Balance(30, 0, 100, None, LEAVES_MS)

    def test_held_money_of_a_rolling_window_stays_held(self, bench: Bench) -> None:
        """A hold counts against the limit until it ends, whichever bucket it was opened in."""
        week = bench.budget(WEEK, 100)
        bench.reserve("r1", (week, 80), ttl_ms=100 * BUCKET_MS)
        bench.clock.now_ms = LEAVES_MS + BUCKET_MS
        assert bench.balance(week).held == 80
        refused = bench.reserve("r2", (week, 21))
        assert isinstance(refused, c.Refused)
        assert refused.reason == "contended"

    def test_a_settle_after_its_bucket_has_left_adds_nothing_to_the_window(self, bench: Bench) -> None:
        """The money is recorded, and belongs to a time that the window no longer reaches."""
        week = bench.budget(WEEK, 100)
        bench.reserve("r1", (week, 30), ttl_ms=100 * BUCKET_MS)
        bench.clock.now_ms = LEAVES_MS
        closed = bench.settle("r1", (week, 25))
        assert closed.state == "settled"
        assert bench.balance(week) == c.Balance(0, 0, 100)
        assert "posted=25" in bench.ledger.execute(c.ReadJournal())[-1].detail

    def test_a_late_settle_corrects_the_bucket_that_was_charged(self, bench: Bench) -> None:
        """The charge of the expiry is replaced where it was made."""
        week = bench.budget(WEEK, 100)
        bench.reserve("r1", (week, 30))
        bench.clock.advance(TTL_MS)
        bench.expire(("r1", (week,)))
        bench.clock.advance(BUCKET_MS)
        assert bench.settle("r1", (week, 10)).state == "settled_late"
        assert bench.balance(week) == c.Balance(10, 0, 100, None, LEAVES_MS)

    def test_a_settle_of_an_unknown_hold_is_spent_now(self, bench: Bench) -> None:
        """Nobody knows when it was opened, so it counts from this bucket on."""
        week = bench.budget(WEEK, 100)
        assert bench.settle("lost", (week, 5)).unknown
        assert bench.balance(week) == c.Balance(5, 0, 100, None, LEAVES_MS)

    def test_a_threshold_is_armed_again_once_spend_has_left(self, bench: Bench) -> None:
        """Crossed, then five points below by time alone: the next posting reports it again."""
        week = bench.budget(WEEK, 1000, steps=(8_000,))
        assert [x.step_bp for x in bench.spend("s1", week, 800).crossings] == [8_000]
        assert bench.spend("s2", week, 10).crossings == ()
        bench.clock.now_ms = LEAVES_MS
        assert [x.step_bp for x in bench.spend("s3", week, 850).crossings] == [8_000]

    def test_a_rolling_window_and_a_calendar_one_count_side_by_side(self, bench: Bench) -> None:
        """One hold on both; the calendar's opens again at midnight, the rolling one remembers."""
        week, day = bench.budget(WEEK, 100), bench.budget(DAY, 60)
        bench.reserve("r1", (week, 60), (day, 60))
        bench.settle("r1", (week, 60), (day, 60))
        bench.clock.advance(24 * 3600 * 1000)
        tomorrow = bench.budget(DAY, 60)
        assert bench.amounts(week, tomorrow) == [(60, 0), (0, 0)]
        assert isinstance(bench.reserve("r2", (week, 41), (tomorrow, 41)), c.Refused)
        assert isinstance(bench.reserve("r3", (week, 40), (tomorrow, 40)), c.Held)

    def test_a_list_of_balances_has_rolling_ones(self, bench: Bench) -> None:
        """With what is in the window now, and no end."""
        week = bench.budget(WEEK, 100)
        bench.spend("s1", week, 7)
        (known,) = bench.ledger.execute(c.ListBalances())
        assert (known.identity, known.window, known.end_ms) == (WEEK, "rolling", 0)
        assert known.balance == c.Balance(7, 0, 100, None, LEAVES_MS)
        bench.clock.now_ms = LEAVES_MS
        (known,) = bench.ledger.execute(c.ListBalances())
        assert known.balance.posted == 0
