"""Contract: how a hold ends, by settle or by release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.testing.ledger_contract.bench import kept_when_given_back

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
USER = "user=ada@example.com/usd/day"


class EndingsContract:
    """Settle and release."""

    def test_a_settle_posts_the_cost_and_frees_the_hold(self, bench: Bench) -> None:
        """The actual cost is posted to each budget, the whole hold is freed, and the answer says so."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        bench.reserve("r1", (team, 60), (user, 60))
        closed = bench.settle("r1", (team, 25), (user, 25))
        assert closed.state == "settled"
        assert closed.balances == (c.Balance(25, 0, 1000), c.Balance(25, 0, 100))
        assert (closed.overrun, closed.unknown, closed.crossings) == (False, False, ())
        assert closed.now_ms == bench.clock.now_ms
        assert bench.ledger.execute(c.ListHolds()) == ()

    def test_a_settle_leaves_other_holds_alone(self, bench: Bench) -> None:
        """What another request holds on the same budget stays held."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 60))
        bench.reserve("r2", (team, 70))
        bench.settle("r1", (team, 5))
        assert bench.amounts(team) == [(5, 70)]

    def test_a_settle_above_the_hold_is_recorded_as_an_overrun(self, bench: Bench) -> None:
        """The money is gone, so it is posted, beyond the limit too, and marked as an overrun."""
        team = bench.budget(TEAM, 100)
        bench.reserve("r1", (team, 60))
        closed = bench.settle("r1", (team, 130))
        assert (closed.state, closed.overrun, closed.unknown) == ("settled", True, False)
        assert closed.balances == (c.Balance(130, 0, 100),)

    def test_a_settle_of_the_very_hold_is_no_overrun(self, bench: Bench) -> None:
        """Spending exactly what was held is what holds are for."""
        team = bench.budget(TEAM, 100)
        bench.reserve("r1", (team, 60))
        assert not bench.settle("r1", (team, 60)).overrun

    def test_a_settle_of_another_window_still_posts_to_its_own(self, bench: Bench) -> None:
        """A hold belongs to the windows it was opened in, however late its cost is known."""
        before = bench.budget(USER, 100)
        bench.reserve("r1", (before, 60))
        bench.clock.advance(24 * 3600 * 1000)
        bench.settle("r1", (before, 25))
        assert bench.amounts(before, bench.budget(USER, 100)) == [(25, 0), (0, 0)]

    def test_a_repeated_settle_posts_once_and_answers_alike(self, bench: Bench) -> None:
        """A settle whose answer was lost is answered again, crossings included."""
        team = bench.budget(TEAM, 100, steps=(8_000,))
        bench.reserve("r1", (team, 90))
        first = bench.settle("r1", (team, 95))
        again = bench.settle("r1", (team, 95))
        assert first.crossings == (c.Crossing(team.identity, team.window, 8_000, 95, 100),)
        assert again == first
        assert bench.amounts(team) == [(95, 0)]

    @pytest.mark.parametrize("first", ["settle", "release"])
    @pytest.mark.parametrize(("second", "amount"), [("settle", 26), ("release", 26)])
    def test_a_hold_does_not_end_in_two_ways(
        self, bench: Bench, first: str, second: str, amount: int
    ) -> None:
        """Once ended, another amount or another verb is a conflict, and the balance stays."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 60))
        getattr(bench, first)("r1", (team, 25))
        with pytest.raises(ReservationConflict, match="r1"):
            getattr(bench, second)("r1", (team, amount))
        with pytest.raises(ReservationConflict, match="r1"):
            getattr(bench, "release" if first == "settle" else "settle")("r1", (team, 25))
        assert bench.amounts(team) == [(25, 0)]

    def test_a_settle_must_name_the_budgets_of_its_hold(self, bench: Bench) -> None:
        """A settle for other budgets than were held is a conflict; the hold stays open."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        bench.reserve("r1", (team, 60))
        for other in ([(user, 5)], [(team, 5), (user, 5)], []):
            with pytest.raises(ReservationConflict, match="r1"):
                bench.settle("r1", *other)
        assert bench.amounts(team, user) == [(0, 60), (0, 0)]
        assert bench.settle("r1", (team, 5)).state == "settled"

    def test_only_budgets_the_chosen_candidate_touches_are_settled(self, bench: Bench) -> None:
        """The hold of a candidate is the budgets that candidate touches, no more."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        bench.choose("r1", (team, user), (c.Ask(50), None))
        with pytest.raises(ReservationConflict, match="r1"):
            bench.settle("r1", (team, 5), (user, 5))
        assert bench.settle("r1", (team, 5)).state == "settled"

    def test_an_unknown_hold_is_posted_and_flagged(self, bench: Bench) -> None:
        """A settle for a hold the ledger lost, or never knew, records the money, once."""
        team = bench.budget(TEAM, 100, steps=(5_000,))
        first = bench.settle("lost", (team, 60))
        again = bench.settle("lost", (team, 60))
        assert (first.state, first.unknown, first.overrun) == ("settled", True, False)
        assert [crossing.step_bp for crossing in first.crossings] == [5_000]
        assert again == first
        assert bench.amounts(team) == [(60, 0)]
        with pytest.raises(ReservationConflict, match="lost"):
            bench.reserve("lost", (team, 60))

    def test_a_release_gives_back_all_but_requests(self, bench: Bench) -> None:
        """Money, tokens and concurrency come back; the API was asked, so the request stays counted."""
        units = ("usd/day", "tokens/day", "requests/day", "concurrent/life")
        wants = [(bench.budget(f"user=ada/{unit}", 1000), 10) for unit in units]
        bench.reserve("r1", *wants)
        closed = bench.release("r1", *kept_when_given_back(*wants))
        assert closed.state == "released"
        assert (closed.overrun, closed.unknown) == (False, False)
        assert bench.amounts(*(budget for budget, _ in wants)) == [(0, 0), (0, 0), (10, 0), (0, 0)]

    def test_a_repeated_release_answers_alike(self, bench: Bench) -> None:
        """A release whose answer was lost frees once."""
        team = bench.budget(TEAM, 1000)
        bench.reserve("r1", (team, 60))
        bench.reserve("r2", (team, 60))
        first = bench.release("r1", (team, 0))
        assert bench.release("r1", (team, 0)) == first
        assert bench.amounts(team) == [(0, 60)]

    def test_concurrency_is_lent_and_given_back(self, bench: Bench) -> None:
        """A budget of calls in flight is contended while they fly and free once they settle."""
        flying = bench.budget("user=ada/concurrent/life", 2)
        bench.reserve("r1", (flying, 1))
        bench.reserve("r2", (flying, 1))
        third = bench.reserve("r3", (flying, 1))
        bench.settle("r1", (flying, 0))
        assert isinstance(third, c.Refused)
        assert third.reason == "contended"
        assert isinstance(bench.reserve("r3", (flying, 1)), c.Held)
