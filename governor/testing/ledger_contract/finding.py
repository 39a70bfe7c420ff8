"""Contract: how holds are found by whoever has not opened them, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger.board import BOARD_KEPT_MS
from governor.ledger.glance import Glance
from governor.testing.ledger_contract.bench import TTL_MS

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=team/usd/month"
ITEM = f"{c.BATCH}made.item"
DAY_MS = 24 * 3600 * 1000


def _noted(identifier: str, *wants: tuple[c.BudgetRow, int], note: str = '{"of": "us"}') -> c.Reserve:
    budgets = tuple(budget for budget, _ in wants)
    dear = tuple(c.Ask(budget.limit + 1) for budget in budgets)
    cheap = tuple(c.Ask(amount) for _, amount in wants)
    return c.Reserve(identifier, budgets, (dear, cheap) if wants else ((),), TTL_MS, note=note)


class FindingContract:
    """Holds by their ids."""

    def test_an_open_hold_says_what_ends_it(self, bench: Bench) -> None:
        """An open hold is found with its candidate, its note, and its budgets as they are settled."""
        team = bench.budget(TEAM, 1000, steps=(8000, 9000))
        week = bench.budget("user=ada/tokens/rolling-7d", 500)
        bench.ledger.execute(_noted("noted", (team, 10), (week, 7)))
        (found,) = bench.ledger.execute(c.FindHolds(("noted",)))
        assert found is not None
        assert (found.state, found.candidate, found.note) == ("open", 1, '{"of": "us"}')
        postings = tuple(c.Posting(row, amount - 4) for row, amount in found.rows)
        assert bench.ledger.execute(c.Settle("noted", postings)).state == "settled"
        assert bench.amounts(team, week) == [(6, 0), (3, 0)]
        assert [row.steps for row, _ in found.rows] == [(8000, 9000), ()]

    def test_an_expired_hold_can_still_be_ended_by_what_it_says(self, bench: Bench) -> None:
        """An expired hold is found with its budgets and its note, and settled late by them."""
        team = bench.budget(TEAM, 1000)
        bench.ledger.execute(_noted("noted", (team, 10)))
        bench.clock.advance(TTL_MS)
        bench.expire(("noted", (team,)))
        (found,) = bench.ledger.execute(c.FindHolds(("noted",)))
        assert found is not None
        assert (found.state, found.note, len(found.rows)) == ("expired", '{"of": "us"}', 1)
        late = bench.ledger.execute(c.Settle("noted", (c.Posting(found.rows[0][0], 3),)))
        assert (late.state, bench.amounts(team)) == ("settled_late", [(3, 0)])

    def test_an_ended_hold_is_found_by_how_it_ended(self, bench: Bench) -> None:
        """Settled and released holds are found without budgets; one that never was is `None`."""
        team = bench.budget(TEAM, 1000)
        for name in ("settled", "released"):
            bench.ledger.execute(_noted(name, (team, 10)))
        bench.settle("settled", (team, 3))
        bench.release("released", (team, 0))
        settled, never, released = bench.ledger.execute(c.FindHolds(("settled", "never", "released")))
        assert settled is not None
        assert released is not None
        assert [(one.state, one.rows) for one in (settled, released)] == [("settled", ()), ("released", ())]
        assert never is None

    def test_a_hold_without_a_note_or_a_budget(self, bench: Bench) -> None:
        """A hold may touch no budget, and one without a note says an empty one."""
        team = bench.budget(TEAM, 1000)
        bench.ledger.execute(_noted("bare"))
        bench.reserve("plain", (team, 1))
        bare, plain = bench.ledger.execute(c.FindHolds(("bare", "plain")))
        assert bare is not None
        assert plain is not None
        assert (bare.rows, bare.note, plain.note) == ((), '{"of": "us"}', "")
        assert bench.ledger.execute(c.Settle("bare", ())).state == "settled"

    def test_another_note_is_another_request(self, bench: Bench) -> None:
        """The same id with another note is a conflict; with the same note it is the same hold."""
        team = bench.budget(TEAM, 1000)
        bench.ledger.execute(_noted("noted", (team, 10)))
        assert isinstance(bench.ledger.execute(_noted("noted", (team, 10))), c.Held)
        with pytest.raises(ReservationConflict):
            bench.ledger.execute(_noted("noted", (team, 10), note="other"))
        assert bench.amounts(team) == [(0, 10)]

    def test_open_holds_are_listed_by_how_their_ids_begin(self, bench: Bench) -> None:
        """Of the open holds only those whose ids begin so are listed; `_` and `*` mean themselves."""
        team = bench.budget(TEAM, 1000)
        for name in ("batch.of.1", "batch.of.2", "batchxof.3", "call", "batch.new.4"):
            bench.reserve(name, (team, 1))
        bench.settle("batch.of.2", (team, 1))
        assert [hold.id for hold in bench.ledger.execute(c.ListHolds("batch.of."))] == ["batch.of.1"]
        assert len(bench.ledger.execute(c.ListHolds())) == 4

    def test_a_hold_of_a_batch_is_remembered_as_long_as_its_results(self, bench: Bench) -> None:
        """A batch's item settled again 29 days later is recognised, though many others ended meanwhile."""
        team = bench.budget(TEAM, 1000)
        bench.reserve(ITEM, (team, 10))
        bench.settle(ITEM, (team, 4))
        for day in range(29):
            bench.clock.advance(DAY_MS)
            bench.spend(f"other-{day}", team, 0)
        (again,) = bench.ledger.execute(c.FindHolds((ITEM,)))
        assert again is not None
        assert again.state == "settled"
        assert not bench.settle(ITEM, (team, 4)).unknown
        assert bench.amounts(team) == [(4, 0)]

    def test_a_glance_shows_the_open_holds_that_expire_first(self, bench: Bench) -> None:
        """All open holds are counted, the first to expire are named with their budgets, those overdue too."""
        team = bench.budget(TEAM, 1000)
        assert bench.ledger.execute(Glance()).open == 0
        for name in ("first", "ended", "second", "third"):
            bench.reserve(name, (team, 1))
            bench.clock.advance(1)
        bench.settle("ended", (team, 1))
        bench.ledger.execute(c.Extend("first", 2 * TTL_MS))
        bench.clock.advance(TTL_MS)
        seen = bench.ledger.execute(Glance(2))
        assert (seen.open, [hold.id for hold in seen.holds]) == (3, ["second", "third"])
        assert {hold.balances for hold in seen.holds} == {((team.identity, team.window),)}
        assert all(hold.expires_ms <= seen.now_ms == bench.clock.now_ms for hold in seen.holds)

    def test_a_glance_reads_the_board_and_leaves_it(self, bench: Bench) -> None:
        """Every process's notice is seen, newest first, as long as it is told; looking takes none off."""
        team, start = bench.budget(TEAM, 1000), bench.clock.now_ms
        for process in ("a", "b"):
            notice = c.Notice(process, f"of {process}  ü")
            command = c.Reserve(process, (team,), ((c.Ask(1),),), TTL_MS, notice=notice)
            bench.ledger.execute(command)
            bench.clock.advance(1)
        both = (c.Posted("b", start + 1, "of b  ü"), c.Posted("a", start, "of a  ü"))
        assert [bench.ledger.execute(Glance()).board for _ in range(2)] == [both, both]
        bench.clock.advance(BOARD_KEPT_MS - 1)
        assert bench.ledger.execute(Glance()).board == both[:1]
        assert bench.amounts(team) == [(0, 2)]
