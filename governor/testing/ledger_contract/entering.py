"""Contract: records that change no balance are entered once by their id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger.entering import ENTERED_KEPT_MS

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TEAM = "department=engineering/usd/month"
WON = c.Enter("o1", "outcome", "ticket_resolved", '{"value":"12.50","note":"naïve: 100 %\\n€"}')


class EnteringContract:
    """An outcome, an alert, a response is in the journal once, and money is as it was."""

    @pytest.mark.parametrize("kind", ["outcome", "alert", "response", "violation"])
    def test_a_record_is_entered_as_it_was_given(self, bench: Bench, kind: str) -> None:
        """Its kind, id, instant, name and JSON stand in the journal; the answer is that it is new."""
        given = c.Enter("o1", kind, "ticket_resolved", WON.record)
        assert bench.ledger.execute(given) is True
        (entry,) = bench.ledger.execute(c.ReadJournal("o1"))
        assert (entry.kind, entry.id, entry.at_ms, entry.outcome, entry.detail, entry.record) == (
            *(kind, "o1", bench.clock.now_ms, "ticket_resolved"),
            *("", WON.record),
        )

    def test_a_record_is_entered_once_by_its_id(self, bench: Bench) -> None:
        """Again, in the last instant of its 7 days, it is known; from then on it is new."""
        assert bench.ledger.execute(WON) is True
        bench.clock.advance(ENTERED_KEPT_MS - 1)
        assert bench.ledger.execute(WON) is False
        assert len(bench.ledger.execute(c.ReadJournal("o1"))) == 1
        bench.clock.advance(1)
        assert bench.ledger.execute(WON) is True
        assert len(bench.ledger.execute(c.ReadJournal("o1"))) == 2

    def test_an_id_is_not_taken_for_another_record(self, bench: Bench) -> None:
        """Another kind, name or JSON under the same id is refused, and nothing is written."""
        bench.ledger.execute(WON)
        for other in (
            c.Enter("o1", "alert", WON.outcome, WON.record),
            c.Enter("o1", "outcome", "lead_won", WON.record),
            c.Enter("o1", "outcome", WON.outcome, "{}"),
        ):
            with pytest.raises(ReservationConflict, match="'o1' was used before"):
                bench.ledger.execute(other)
        assert len(bench.ledger.execute(c.ReadJournal("o1"))) == 1

    def test_an_id_may_be_that_of_a_hold_too(self, bench: Bench) -> None:
        """A call and its outcome may have one id: neither is taken for the other, and no money moves."""
        team = bench.budget(TEAM, 100)
        bench.reserve("o1", (team, 40))
        before = bench.balance(team)
        assert bench.ledger.execute(WON) is True
        assert bench.balance(team) == before
        kinds = [entry.kind for entry in bench.ledger.execute(c.ReadJournal("o1"))]
        assert kinds == ["reserve", "outcome"]

    def test_what_is_no_such_record_is_refused_before_it_is_sent(self) -> None:
        """A kind that moves money, an id that no ledger keeps, a record that is no object."""
        for wrong in (("o", "settle", "{}"), ("o o", "outcome", "{}"), ("o", "outcome", "[]")):
            with pytest.raises(ValueError, match=r"no kind|no request id|no JSON object"):
                c.Enter(wrong[0], wrong[1], "x", wrong[2])
