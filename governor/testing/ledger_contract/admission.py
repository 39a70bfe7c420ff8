"""Contract: what is held, what is refused and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.testing.ledger_contract.bench import TTL_MS

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
USER = "user=ada@example.com/usd/day"
MINUTE_MS = 60_000


class AdmissionContract:
    """Deciding and holding in one step."""

    def test_a_hold_takes_its_amount_from_every_budget(self, bench: Bench) -> None:
        """What fits is held on each budget it touches; nothing is posted."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        reply = bench.reserve("r1", (team, 60), (user, 40))
        assert isinstance(reply, c.Held)
        assert (reply.candidate, reply.state, reply.due) == (0, "open", ())
        assert (reply.now_ms, reply.expires_ms) == (bench.clock.now_ms, bench.clock.now_ms + TTL_MS)
        assert bench.amounts(team, user) == [(0, 60), (0, 40)]

    def test_what_one_budget_cannot_bear_is_held_on_none(self, bench: Bench) -> None:
        """A candidate that one of its budgets refuses, the first or the last, leaves no trace on the rest."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        assert isinstance(bench.reserve("r1", (team, 101), (user, 101)), c.Refused)
        assert isinstance(bench.reserve("r2", (user, 101), (team, 101)), c.Refused)
        assert bench.amounts(team, user) == [(0, 0), (0, 0)]
        assert bench.ledger.execute(c.ListHolds()) == ()

    def test_the_first_candidate_that_fits_is_taken(self, bench: Bench) -> None:
        """Candidates are tried in order, and the amounts of the chosen one are held."""
        team = bench.budget(TEAM, 100)
        reply = bench.choose("r1", (team,), (c.Ask(101),), (c.Ask(70),), (c.Ask(10),))
        assert isinstance(reply, c.Held)
        assert reply.candidate == 1
        assert bench.amounts(team) == [(0, 70)]

    def test_a_mark_judges_what_is_posted_and_not_what_is_held(self, bench: Bench) -> None:
        """Money spent passes a candidate's mark and skips it; money merely held does not."""
        team = bench.budget(TEAM, 1000)
        marked = ((c.Ask(100, 8_000),), (c.Ask(100, 9_000),))
        bench.reserve("big", (team, 750))
        held = bench.choose("r1", (team,), *marked)
        bench.settle("big", (team, 701))
        skipped = bench.choose("r2", (team,), *marked)
        assert isinstance(held, c.Held)
        assert isinstance(skipped, c.Held)
        assert (held.candidate, skipped.candidate) == (0, 1)

    def test_a_mark_may_be_reached_and_not_passed(self, bench: Bench) -> None:
        """A candidate may fill a budget to its mark exactly; one unit more is too much."""
        team = bench.budget(TEAM, 1000)
        bench.spend("s", team, 700)
        assert isinstance(bench.choose("over", (team,), (c.Ask(101, 8_000),)), c.Refused)
        assert isinstance(bench.choose("full", (team,), (c.Ask(100, 8_000),)), c.Held)

    def test_a_floor_is_left_over(self, bench: Bench) -> None:
        """A candidate with a floor may be posted only as long as that much of the limit remains."""
        user = bench.budget(USER, 1000)
        bench.spend("s", user, 500)
        reply = bench.choose("r1", (user,), (c.Ask(101, floor=400),), (c.Ask(100, floor=400),))
        assert isinstance(reply, c.Held)
        assert reply.candidate == 1

    def test_a_share_of_the_limit_judges_what_is_held_too(self, bench: Bench) -> None:
        """What is kept for others is out of reach: contended while the rest is held, exhausted once spent."""
        team, kept = bench.budget(TEAM, 1000), ((c.Ask(100, share_bp=9_000),),)
        bench.reserve("h", (team, 801))
        held = bench.choose("r1", (team,), *kept)
        whole = bench.choose("r2", (team,), (c.Ask(100),))
        bench.release("r2", (team, 0))
        bench.settle("h", (team, 801))
        spent = bench.choose("r3", (team,), *kept)
        fits = bench.choose("r4", (team,), (c.Ask(99, share_bp=9_000),))
        assert [getattr(one, "reason", "held") for one in (held, whole, spent, fits)] == [
            "contended",
            "held",
            "exhausted",
            "held",
        ]

    def test_a_budget_that_is_not_enforced_counts_and_refuses_nothing(self, bench: Bench) -> None:
        """Full or frozen, it bears whatever is asked, and holds and posts it."""
        team, user = bench.budget(TEAM, 10), bench.budget(USER, 1000)
        bench.spend("s", team, 10)
        bench.ledger.execute(c.Freeze("f", team.identity, "audit"))
        watched = (c.Ask(50, 1, floor=9, share_bp=1, enforced=False), c.Ask(50))
        assert isinstance(bench.choose("r1", (team, user), watched), c.Held)
        assert bench.amounts(team, user) == [(10, 50), (0, 50)]
        bench.settle("r1", (team, 40), (user, 40))
        assert bench.amounts(team, user) == [(50, 0), (40, 0)]

    def test_a_budget_a_candidate_does_not_touch_says_nothing_to_it(self, bench: Bench) -> None:
        """An absent ask is neither judged nor held, full and frozen as that budget may be."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 10)
        bench.spend("s", user, 10)
        bench.ledger.execute(c.Freeze("f", user.identity, "audit"))
        reply = bench.choose("r1", (team, user), (c.Ask(5), c.Ask(5)), (c.Ask(5), None))
        assert isinstance(reply, c.Held)
        assert reply.candidate == 1
        assert bench.amounts(team, user) == [(0, 5), (10, 0)]

    def test_the_limit_judges_posted_and_held_together(self, bench: Bench) -> None:
        """What is spent and promised may fill a budget exactly, and never one unit more."""
        team = bench.budget(TEAM, 100)
        bench.spend("s", team, 30)
        bench.reserve("h", (team, 30))
        assert isinstance(bench.reserve("over", (team, 41)), c.Refused)
        assert isinstance(bench.reserve("full", (team, 40)), c.Held)
        assert bench.balance(team).available == 0

    def test_what_is_spent_is_exhausted_and_what_is_held_is_contended(self, bench: Bench) -> None:
        """Nobody is told "exhausted" while the money is only held."""
        team = bench.budget(TEAM, 100)
        bench.reserve("h", (team, 60))
        contended = bench.reserve("r1", (team, 50))
        bench.settle("h", (team, 60))
        exhausted = bench.reserve("r2", (team, 50))
        assert isinstance(contended, c.Refused)
        assert isinstance(exhausted, c.Refused)
        assert (contended.reason, exhausted.reason) == ("contended", "exhausted")

    def test_held_requests_are_exhausted(self, bench: Bench) -> None:
        """What is held of a budget whose holds do not come back is as good as spent, frozen or not."""
        day = bench.budget("user=ada/requests/day", 2)
        once = (c.Ask(1, comes_back=False),)
        bench.choose("r1", (day,), once)
        bench.choose("r2", (day,), once)
        refused = bench.choose("r3", (day,), once)
        assert isinstance(refused, c.Refused)
        assert refused.reason == "exhausted"
        assert bench.amounts(day) == [(0, 2)]

    def test_held_requests_beside_held_money_are_exhausted(self, bench: Bench) -> None:
        """Money that may come back does not make a request wait for one that will not."""
        team, day = bench.budget(TEAM, 100), bench.budget("user=ada/requests/day", 1)
        both = (c.Ask(60), c.Ask(1, comes_back=False))
        bench.choose("r1", (team, day), both)
        reasons = [
            getattr(bench.choose("r2", (team, day), *candidates), "reason", None)
            for candidates in [(both,), (both, (c.Ask(60), None)), ((None, c.Ask(1, comes_back=False)),)]
        ]
        assert reasons == ["exhausted", "contended", "exhausted"]

    def test_a_frozen_budget_refuses_first(self, bench: Bench) -> None:
        """Whatever the numbers, a frozen budget is the reason, and the reading says why it is frozen."""
        team = bench.budget(TEAM, 100)
        bench.spend("s", team, 100)
        bench.ledger.execute(c.Freeze("f", team.identity, "runaway agent"))
        reply = bench.reserve("r1", (team, 1))
        assert isinstance(reply, c.Refused)
        assert reply.reason == "frozen"
        assert reply.balances == (c.Balance(100, 0, 100, "runaway agent"),)

    def test_the_gravest_budget_speaks_for_a_candidate(self, bench: Bench) -> None:
        """A candidate that is contended on one budget and exhausted on another is exhausted."""
        team, user = bench.budget(TEAM, 100), bench.budget(USER, 100)
        bench.reserve("h", (team, 100))
        for wants in [((team, 1), (user, 101)), ((user, 101), (team, 1))]:
            reply = bench.reserve("r1", *wants)
            assert isinstance(reply, c.Refused)
            assert reply.reason == "exhausted"

    def test_the_mildest_candidate_speaks_for_a_refusal(self, bench: Bench) -> None:
        """If any candidate would fit once holds settle, the refusal is "contended"."""
        team, user = bench.budget(TEAM, 100), bench.budget(USER, 100)
        bench.ledger.execute(c.Freeze("f", user.identity, "audit"))
        bench.reserve("h", (team, 90))
        grave = ((None, c.Ask(1)), (c.Ask(101), None))
        mild = (c.Ask(11), None)
        for candidates, reason in [
            (grave, "exhausted"),
            (grave[::-1], "exhausted"),
            ((*grave, mild), "contended"),
            ((mild, *grave), "contended"),
        ]:
            reply = bench.choose("r1", (team, user), *candidates)
            assert isinstance(reply, c.Refused)
            assert reply.reason == reason

    def test_balances_are_those_before_the_hold(self, bench: Bench) -> None:
        """A hold is answered with what the budgets were when it was decided."""
        team, user = bench.budget(TEAM, 1000), bench.budget(USER, 100)
        bench.spend("s", team, 7)
        bench.reserve("h", (user, 5))
        reply = bench.reserve("r1", (team, 10), (user, 20))
        assert isinstance(reply, c.Held)
        assert reply.balances == (c.Balance(7, 0, 1000), c.Balance(0, 5, 100))

    def test_a_refusal_says_when_the_first_hold_will_expire(self, bench: Bench) -> None:
        """The earliest expiry of any open hold is named; with none open it is absent."""
        team = bench.budget(TEAM, 100)
        nobody = bench.reserve("r1", (team, 101))
        bench.reserve("long", (team, 1), ttl_ms=9_000)
        bench.reserve("short", (team, 1), ttl_ms=5_000)
        somebody = bench.reserve("r2", (team, 101))
        assert isinstance(nobody, c.Refused)
        assert isinstance(somebody, c.Refused)
        assert nobody.earliest_expiry_ms is None
        assert somebody.earliest_expiry_ms == bench.clock.now_ms + 5_000

    @pytest.mark.parametrize("shift_ms", [MINUTE_MS, -MINUTE_MS])
    def test_a_window_that_is_not_now_is_sent_back(self, bench: Bench, shift_ms: int) -> None:
        """A window that is over, or has not begun, is answered with the time, and nothing is held."""
        stale = bench.budget("user=ada/requests/minute", 10)
        now_ms = bench.clock.advance(shift_ms)
        assert bench.reserve("r1", (stale, 1)) == c.WindowMoved(now_ms)
        assert bench.amounts(stale) == [(0, 0)]
        fresh = bench.budget("user=ada/requests/minute", 10)
        assert isinstance(bench.reserve("r1", (fresh, 1)), c.Held)

    def test_a_window_lasts_from_its_first_to_its_last_millisecond(self, bench: Bench) -> None:
        """A window admits at its very start and at its last millisecond, and no longer at its end."""
        minute = bench.budget("user=ada/requests/minute", 10)
        bench.clock.now_ms = minute.start_ms
        first = bench.reserve("first", (minute, 1))
        bench.clock.now_ms = minute.end_ms - 1
        last = bench.reserve("last", (minute, 1))
        bench.clock.now_ms = minute.end_ms
        over = bench.reserve("over", (minute, 1))
        assert [type(reply) for reply in (first, last, over)] == [c.Held, c.Held, c.WindowMoved]

    def test_each_window_has_a_balance_of_its_own(self, bench: Bench) -> None:
        """The next window opens empty, and the one before keeps what it was."""
        before = bench.budget(USER, 100)
        bench.spend("s", before, 100)
        bench.clock.advance(24 * 3600 * 1000)
        after = bench.budget(USER, 100)
        assert isinstance(bench.reserve("r1", (after, 100)), c.Held)
        assert bench.amounts(before, after) == [(100, 0), (0, 100)]

    def test_a_life_budget_never_moves(self, bench: Bench) -> None:
        """A budget without an end admits at any time, from one balance."""
        run = bench.budget("run=pr-1423/usd/life", 100)
        bench.spend("s", run, 60)
        bench.clock.advance(400 * 24 * 3600 * 1000)
        assert isinstance(bench.reserve("over", (run, 41)), c.Refused)
        assert isinstance(bench.reserve("r1", (run, 40)), c.Held)


class RepetitionContract:
    """The same id again."""

    def test_a_repeated_reserve_holds_once(self, bench: Bench) -> None:
        """A reserve whose answer was lost is answered again, and holds nothing more."""
        team = bench.budget(TEAM, 100)
        asked = ((c.Ask(101),), (c.Ask(60),))
        first = bench.choose("r1", (team,), *asked)
        bench.clock.advance(1_000)
        again = bench.choose("r1", (team,), *asked)
        assert isinstance(first, c.Held)
        assert isinstance(again, c.Held)
        assert (again.candidate, again.state, again.expires_ms) == (1, "open", first.expires_ms)
        assert bench.amounts(team) == [(0, 60)]

    def test_a_repeated_reserve_says_how_the_hold_ended(self, bench: Bench) -> None:
        """After its settle a hold is not opened again; the repetition names its state."""
        team = bench.budget(TEAM, 100)
        first = bench.reserve("r1", (team, 60))
        bench.settle("r1", (team, 50))
        again = bench.reserve("r1", (team, 60))
        assert isinstance(first, c.Held)
        assert isinstance(again, c.Held)
        assert (again.candidate, again.state, again.expires_ms) == (0, "settled", first.expires_ms)
        assert bench.amounts(team) == [(50, 0)]

    def test_a_repetition_that_comes_in_the_next_window_is_of_the_first(self, bench: Bench) -> None:
        """A hold belongs to the windows it was asked for in; asked for in others, it is a conflict."""
        minute = bench.budget("user=ada/requests/minute", 10)
        bench.reserve("r1", (minute, 1))
        bench.clock.advance(MINUTE_MS)
        moved = bench.budget("user=ada/requests/minute", 10)
        assert isinstance(bench.reserve("r1", (minute, 1)), c.Held)
        with pytest.raises(ReservationConflict, match="r1"):
            bench.reserve("r1", (moved, 1))
        assert bench.amounts(minute, moved) == [(0, 1), (0, 0)]

    def test_the_same_id_with_another_payload_is_a_conflict(self, bench: Bench) -> None:
        """Another amount, limit, time to live or order of budgets under a used id is refused."""
        team, user = bench.budget(TEAM, 100), bench.budget(USER, 100)
        bench.reserve("r1", (team, 10), (user, 10))
        others = [
            ((team, 11), (user, 10)),
            ((replace(team, limit=101), 10), (user, 10)),
            ((user, 10), (team, 10)),
            ((team, 10),),
        ]
        for other in others:
            with pytest.raises(ReservationConflict, match="r1"):
                bench.reserve("r1", *other)
        with pytest.raises(ReservationConflict, match="r1"):
            bench.reserve("r1", (team, 10), (user, 10), ttl_ms=TTL_MS + 1)
        assert bench.amounts(team, user) == [(0, 10), (0, 10)]

    def test_a_refused_id_may_try_again(self, bench: Bench) -> None:
        """A refusal is not remembered: who waits for room asks under the same id."""
        team = bench.budget(TEAM, 100)
        bench.reserve("h", (team, 100))
        refused = bench.reserve("r1", (team, 50))
        bench.release("h", (team, 0))
        assert isinstance(refused, c.Refused)
        assert isinstance(bench.reserve("r1", (team, 50)), c.Held)
