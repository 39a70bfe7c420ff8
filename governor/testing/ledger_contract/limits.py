"""Contract: thresholds, and what administrators change: grants, limits, freezes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.testing.ledger_contract.bench import TTL_MS

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
USER = "user=ada@example.com/usd/day"
DAY_MS = 24 * 3600 * 1000


class CrossingsContract:
    """Each threshold is reported once."""

    def test_a_threshold_is_reported_by_the_posting_that_reaches_it(self, bench: Bench) -> None:
        """Reaching a step exactly crosses it, one unit less does not, and no later posting says it again."""
        team = bench.budget(TEAM, 1000, steps=(8_000, 9_000))
        below = bench.spend("s1", team, 799)
        at = bench.spend("s2", team, 1)
        after = bench.spend("s3", team, 50)
        assert (below.crossings, after.crossings) == ((), ())
        assert at.crossings == (c.Crossing(team.identity, team.window, 8_000, 800, 1000),)

    def test_a_paced_step_is_reported_ahead_of_an_even_pace_only(self, bench: Bench) -> None:
        """A step that an even pace has passed is reported by the posting that gets ahead of the pace."""
        team = dataclasses.replace(bench.budget(TEAM, 1000, steps=(2_000, 8_000)), pace_bp=5_000)
        even = bench.spend("s1", team, 499)
        ahead = bench.spend("s2", team, 1)
        beyond = bench.spend("s3", dataclasses.replace(team, pace_bp=9_000), 350)
        late = bench.spend("s4", team, 1)
        assert (even.crossings, beyond.crossings) == ((), ())
        assert [x.step_bp for x in (*ahead.crossings, *late.crossings)] == [2_000, 8_000]

    def test_an_expiry_knows_the_pace_of_its_hold(self, bench: Bench) -> None:
        """The charge of an expired hold is judged by the pace as it was when the hold was opened."""
        team = dataclasses.replace(bench.budget(TEAM, 1000, steps=(2_000,)), pace_bp=5_000)
        bench.reserve("r1", (team, 499))
        bench.reserve("r2", (team, 1))
        bench.clock.advance(TTL_MS)
        assert bench.expire(("r1", (team,))).crossings == ()
        assert [x.step_bp for x in bench.expire(("r2", (team,))).crossings] == [2_000]

    def test_one_posting_may_cross_several_steps_of_several_budgets(self, bench: Bench) -> None:
        """Every step between before and after is reported, by budget and then ascending."""
        team = bench.budget(TEAM, 1000, steps=(5_000, 8_000))
        user = bench.budget(USER, 900, steps=(9_000,))
        bench.reserve("r1", (team, 900), (user, 900))
        crossed = bench.settle("r1", (team, 850), (user, 850)).crossings
        assert [(x.identity, x.step_bp, x.posted, x.limit) for x in crossed] == [
            (team.identity, 5_000, 850, 1000),
            (team.identity, 8_000, 850, 1000),
            (user.identity, 9_000, 850, 900),
        ]

    def test_a_hold_crosses_nothing(self, bench: Bench) -> None:
        """Thresholds are of money spent: promised money is given back unreported."""
        team = bench.budget(TEAM, 1000, steps=(8_000,))
        bench.reserve("r1", (team, 900))
        assert bench.release("r1", (team, 0)).crossings == ()

    def test_an_expiry_crosses_too(self, bench: Bench) -> None:
        """The charge of an expired hold is a posting like any other."""
        team = bench.budget(TEAM, 1000, steps=(8_000,))
        bench.reserve("r1", (team, 900))
        bench.clock.advance(TTL_MS)
        crossed = bench.expire(("r1", (team,))).crossings
        assert crossed == (c.Crossing(team.identity, team.window, 8_000, 900, 1000),)
        assert bench.spend("s", team, 10).crossings == ()

    @pytest.mark.parametrize(("spent", "again"), [(750, False), (749, True)])
    def test_a_step_is_reported_again_after_falling_five_points(
        self, bench: Bench, spent: int, again: bool
    ) -> None:
        """A correction that takes posted more than 5 points below a step arms it again; less does not."""
        team = bench.budget(TEAM, 1000, steps=(8_000,))
        bench.reserve("r1", (team, 900))
        bench.clock.advance(TTL_MS)
        bench.expire(("r1", (team,)))
        assert bench.settle("r1", (team, spent)).crossings == ()
        crossed = bench.spend("s", team, 100).crossings
        assert [crossing.step_bp for crossing in crossed] == ([8_000] if again else [])

    def test_steps_are_of_the_limit_in_force(self, bench: Bench) -> None:
        """A grant moves the thresholds with the limit."""
        team = bench.budget(TEAM, 1000, steps=(8_000,))
        bench.ledger.execute(c.Grant("g", team.identity, team.window, 1000))
        assert bench.spend("s1", team, 1599).crossings == ()
        assert bench.spend("s2", team, 1).crossings == (
            c.Crossing(team.identity, team.window, 8_000, 1600, 2000),
        )

    def test_each_window_reports_its_own_crossings(self, bench: Bench) -> None:
        """A new window starts with every threshold armed."""
        first = bench.spend("s1", bench.budget(USER, 100, steps=(8_000,)), 90)
        bench.clock.advance(DAY_MS)
        second = bench.spend("s2", bench.budget(USER, 100, steps=(8_000,)), 90)
        assert len(first.crossings) == len(second.crossings) == 1
        assert first.crossings[0].window != second.crossings[0].window


class LimitsContract:
    """Grants, overrides, freezes, and what the file says."""

    def test_a_grant_adds_to_one_window_only(self, bench: Bench) -> None:
        """More may be spent in the window granted, and the next one is as the file says."""
        today = bench.budget(USER, 100)
        granted = bench.ledger.execute(c.Grant("g1", today.identity, today.window, 40))
        assert granted == c.Administered(bench.clock.now_ms, 40)
        assert bench.balance(today).limit == 140
        assert isinstance(bench.reserve("r1", (today, 140)), c.Held)
        bench.clock.advance(DAY_MS)
        assert bench.balance(bench.budget(USER, 100)).limit == 100

    def test_grants_add_up_and_each_counts_once(self, bench: Bench) -> None:
        """A repeated grant adds nothing; its id with another amount, window or budget is a conflict."""
        today = bench.budget(USER, 100)
        bench.ledger.execute(c.Grant("g1", today.identity, today.window, 40))
        bench.ledger.execute(c.Grant("g2", today.identity, today.window, 5))
        again = bench.ledger.execute(c.Grant("g1", today.identity, today.window, 40))
        assert again.limit_added == 45
        for other in (
            c.Grant("g1", today.identity, today.window, 41),
            c.Grant("g1", today.identity, "2026-11-22", 40),
            c.Grant("g1", TEAM, today.window, 40),
        ):
            with pytest.raises(ReservationConflict, match="g1"):
                bench.ledger.execute(other)
        with pytest.raises(ReservationConflict, match="g1"):
            bench.ledger.execute(c.Unfreeze("g1", today.identity))
        assert bench.balance(today).limit == 145

    def test_a_grant_is_taken_back_once_and_whole(self, bench: Bench) -> None:
        """What it added is gone at once, other grants and what was spent are not; the journal has both."""
        today = bench.budget(USER, 100)
        typo = c.Grant("g1", today.identity, today.window, 4000, '{"why":"typo"}')
        for command in (typo, c.Grant("g2", today.identity, today.window, 5)):
            bench.ledger.execute(command)
        bench.spend("s", today, 3000)
        assert bench.ledger.execute(c.FindGrant("g1")) == dataclasses.replace(typo, record="{}")
        back = typo.taking_back('{"why":"was a typo"}')
        for _ in range(2):
            assert bench.ledger.execute(back) == c.Administered(bench.clock.now_ms, 5)
        bench.ledger.execute(typo)
        assert bench.balance(today) == c.Balance(3000, 0, 105)
        changes = [entry for entry in bench.ledger.execute(c.ReadJournal()) if entry.kind == "grant"]
        assert [(entry.id, entry.record) for entry in changes if entry.id != "g2"] == [
            ("g1", typo.record),
            (back.id, back.record),
        ]

    def test_only_a_grant_is_found_as_one(self, bench: Bench) -> None:
        """Neither an id that nobody used nor another change's is a grant's."""
        bench.ledger.execute(c.Freeze("f1", TEAM, "audit"))
        bench.ledger.execute(c.Unfreeze("u1", TEAM))
        assert [bench.ledger.execute(c.FindGrant(name)) for name in ("f1", "u1", "g1")] == [None] * 3

    def test_what_was_changed_is_listed_before_it_is_used(self, bench: Bench) -> None:
        """Grants by their window; limits, grants between instants and freezes until they are over."""
        assert bench.ledger.execute(c.ListChanged()) == ()
        end_ms = bench.clock.now_ms + 1_000
        granted, typo = c.Grant("g1", USER, "2026-11-21", 4), c.Grant("g2", TEAM, "2026-11", 4)
        for command in (
            granted,
            typo,
            typo.taking_back("{}"),
            c.Grant("g3", "org/usd/month", "", 4, until_ms=end_ms),
            c.SetLimit("l1", "org/usd/day", 4, end_ms),
            c.SetLimit("l2", "org/usd/life", 4),
            c.SetLimit("l3", "org/usd/hour", 4),
            c.SetLimit("l4", "org/usd/hour", None),
            c.Freeze("f1", USER, "audit"),
            c.Freeze("f2", "user=bob/usd/day", "audit", end_ms),
            c.Freeze("f3", "user=eve/usd/day", "audit"),
            c.Unfreeze("f4", "user=eve/usd/day"),
        ):
            bench.ledger.execute(command)
        lasting = (("org/usd/life", ""), (USER, ""), (USER, "2026-11-21"))
        ending = (("org/usd/day", ""), ("org/usd/month", ""), ("user=bob/usd/day", ""))
        assert bench.ledger.execute(c.ListChanged()) == tuple(sorted(lasting + ending))
        bench.clock.advance(1_000)
        assert bench.ledger.execute(c.ListChanged()) == lasting

    @pytest.mark.parametrize("limit", [0, 30, 500])
    def test_an_override_stands_in_for_the_file(self, bench: Bench, limit: int) -> None:
        """A limit set is the limit, lower or higher or zero, with grants on top, until it is taken away."""
        today = bench.budget(USER, 100)
        bench.ledger.execute(c.SetLimit("s1", today.identity, limit))
        assert bench.balance(today).limit == limit
        refused = bench.reserve("over", (today, limit + 1))
        assert isinstance(refused, c.Refused)
        assert refused.balances[0].limit == limit
        bench.ledger.execute(c.Grant("g1", today.identity, today.window, 7))
        assert bench.balance(today).limit == limit + 7
        bench.ledger.execute(c.SetLimit("s2", today.identity, None))
        assert bench.balance(today).limit == 107

    def test_an_override_ends_by_itself(self, bench: Bench) -> None:
        """At its end, to the millisecond, the file's limit is back."""
        team = bench.budget(TEAM, 100)
        bench.ledger.execute(c.SetLimit("s1", team.identity, 500, bench.clock.now_ms + 1_000))
        bench.clock.advance(999)
        assert bench.balance(team).limit == 500
        bench.clock.advance(1)
        assert bench.balance(team).limit == 100

    def test_a_repeated_override_does_not_undo_a_later_one(self, bench: Bench) -> None:
        """The repetition of an old change changes nothing."""
        team = bench.budget(TEAM, 100)
        bench.ledger.execute(c.SetLimit("s1", team.identity, 500))
        bench.ledger.execute(c.SetLimit("s2", team.identity, 300))
        bench.ledger.execute(c.SetLimit("s1", team.identity, 500))
        assert bench.balance(team).limit == 300
        with pytest.raises(ReservationConflict, match="s1"):
            bench.ledger.execute(c.SetLimit("s1", team.identity, 501))

    def test_a_limit_below_what_is_spent_only_refuses(self, bench: Bench) -> None:
        """Lowering a limit takes nothing back: posted stays, available is negative, requests are refused."""
        team = bench.budget(TEAM, 100)
        bench.spend("s", team, 80)
        bench.ledger.execute(c.SetLimit("s1", team.identity, 50))
        assert bench.balance(team) == c.Balance(80, 0, 50)
        assert bench.balance(team).available == -30
        reply = bench.reserve("r1", (team, 1))
        assert isinstance(reply, c.Refused)
        assert reply.reason == "exhausted"

    def test_the_file_may_change_its_limit(self, bench: Bench) -> None:
        """Limits travel with each request; what is posted and held does not depend on them."""
        bench.spend("s", bench.budget(TEAM, 100), 60)
        bench.reserve("h", (bench.budget(TEAM, 100), 10))
        for limit in (50, 1000):
            assert bench.balance(bench.budget(TEAM, limit)) == c.Balance(60, 10, limit)
        assert isinstance(bench.reserve("r1", (bench.budget(TEAM, 1000), 900)), c.Held)
        (known,) = bench.ledger.execute(c.ListBalances())
        assert known.balance == c.Balance(60, 910, 1000)

    def test_a_freeze_lasts_until_it_is_lifted(self, bench: Bench) -> None:
        """A frozen budget refuses in every window, and admits again once it is unfrozen."""
        bench.ledger.execute(c.Freeze("f1", USER, "lost laptop"))
        bench.clock.advance(DAY_MS)
        today = bench.budget(USER, 100)
        assert bench.balance(today).frozen == "lost laptop"
        assert isinstance(bench.reserve("r1", (today, 1)), c.Refused)
        bench.ledger.execute(c.Unfreeze("u1", USER))
        assert bench.balance(today).frozen is None
        assert isinstance(bench.reserve("r1", (today, 1)), c.Held)

    def test_a_freeze_may_end_by_itself(self, bench: Bench) -> None:
        """At its end, to the millisecond, the budget is open again."""
        team = bench.budget(TEAM, 100)
        bench.ledger.execute(c.Freeze("f1", team.identity, "audit", bench.clock.now_ms + 1_000))
        bench.clock.advance(999)
        assert bench.balance(team).frozen == "audit"
        bench.clock.advance(1)
        assert bench.balance(team).frozen is None

    @pytest.mark.parametrize("reason", ["", "two words: 100% — naïve\nand a line"])
    def test_a_freeze_holds_whatever_its_reason(self, bench: Bench, reason: str) -> None:
        """A reason is free text; even without one the budget is frozen."""
        team = bench.budget(TEAM, 100)
        bench.ledger.execute(c.Freeze("f1", team.identity, reason))
        assert bench.balance(team).frozen == (reason or "frozen")
        assert isinstance(bench.reserve("r1", (team, 1)), c.Refused)

    def test_a_freeze_does_not_stop_what_is_in_flight(self, bench: Bench) -> None:
        """A call that was admitted settles, releases and expires as ever."""
        team = bench.budget(TEAM, 100)
        for name in ("a", "b", "c"):
            bench.reserve(name, (team, 10))
        bench.ledger.execute(c.Freeze("f1", team.identity, "audit"))
        bench.settle("a", (team, 4))
        bench.release("b", (team, 0))
        bench.clock.advance(TTL_MS)
        bench.expire(("c", (team,)))
        assert bench.balance(team) == c.Balance(14, 0, 100, "audit")

    def test_a_repeated_freeze_does_not_undo_the_unfreeze(self, bench: Bench) -> None:
        """The repetition of an old freeze freezes nothing; its id with another reason is a conflict."""
        team = bench.budget(TEAM, 100)
        bench.ledger.execute(c.Freeze("f1", team.identity, "audit"))
        bench.ledger.execute(c.Unfreeze("u1", team.identity))
        bench.ledger.execute(c.Freeze("f1", team.identity, "audit"))
        assert bench.balance(team).frozen is None
        with pytest.raises(ReservationConflict, match="f1"):
            bench.ledger.execute(c.Freeze("f1", team.identity, "another"))
