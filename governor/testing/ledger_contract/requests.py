"""Contract: more budget is asked for, and the request answered once, by another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger.requests import CLOSED_KEPT_MS, OPEN_AT_MOST

if TYPE_CHECKING:
    from governor.testing.ledger_contract.bench import Bench

TODAY = "user=ada@example.com/usd/day"
TEAM = "department=engineering/usd/month"
ADA = c.Person("Ada Lovelace", "ada@laptop-7")
GRACE = c.Person("Grace", "grace@laptop-9")
TEXT = "two words: 100% — naïve reason=x\nand a line"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def wish(bench: Bench, name: str = "q1", amount: int = 40, *, reason: str = "a launch") -> c.BudgetRequest:
    """More for ada, in her day of this moment."""
    today = bench.budget(TODAY, 100)
    return c.BudgetRequest(name, TODAY, today.window, amount, ADA, reason, ends_ms=today.end_ms)


def ask(bench: Bench, asked: c.BudgetRequest) -> c.BudgetRequest:
    """Ask for it; the request as it is kept."""
    kept = bench.ledger.execute(c.RequestGrant(asked, '{"asked":1}'))
    assert isinstance(kept, c.BudgetRequest)
    return kept


def approve(bench: Bench, request: c.BudgetRequest, amount: int = 40) -> c.BudgetRequest | c.NotAnswered:
    """Grace approves."""
    return bench.ledger.execute(c.Approve(request, GRACE, "go on", amount, '{"approved":1}'))


def limit(bench: Bench) -> int:
    """The limit of ada's day in force."""
    return bench.balance(bench.budget(TODAY, 100)).limit


class RequestsContract:
    """A request changes nothing until somebody else approves it, and then once."""

    @pytest.mark.parametrize("reason", ["", TEXT])
    def test_a_request_is_kept_as_it_was_made_and_changes_no_limit(self, bench: Bench, reason: str) -> None:
        """It is found and listed with who, why and when; the limit is as before."""
        asked = replace(wish(bench, reason=reason), by=c.Person(TEXT, "a=b c@host"))
        kept = ask(bench, asked)
        assert kept == replace(asked, at_ms=bench.clock.now_ms)
        assert bench.ledger.execute(c.FindRequest("q1")) == kept
        assert bench.ledger.execute(c.FindRequest("q2")) is None
        assert bench.ledger.execute(c.ListRequests()) == (kept,)
        assert limit(bench) == 100

    def test_requests_are_listed_in_the_order_they_were_made(self, bench: Bench) -> None:
        """The first one first, whatever its id; an answered one stays where it was."""
        assert bench.ledger.execute(c.ListRequests()) == ()
        for name in ("q2", "q1", "q3"):
            ask(bench, wish(bench, name))
            bench.clock.advance(1)
        first = bench.ledger.execute(c.ListRequests())[0]
        approve(bench, first)
        assert [request.id for request in bench.ledger.execute(c.ListRequests())] == ["q2", "q1", "q3"]

    def test_a_request_is_made_once(self, bench: Bench) -> None:
        """Sent again it is the same one, answered or not; its id for something else is a conflict."""
        kept = ask(bench, wish(bench))
        bench.clock.advance(5)
        assert ask(bench, wish(bench)) == kept
        done = approve(bench, kept)
        assert ask(bench, wish(bench)) == done
        for other in (wish(bench, amount=41), replace(wish(bench), identity=TEAM)):
            with pytest.raises(ReservationConflict, match="q1"):
                ask(bench, other)
        assert [entry.kind for entry in bench.ledger.execute(c.ReadJournal(id="q1"))] == ["request"]

    def test_an_approval_grants_and_closes_at_once(self, bench: Bench) -> None:
        """In the window asked for, as a grant that can be found and taken back; the request says by whom."""
        kept = ask(bench, wish(bench))
        bench.clock.advance(7)
        answer = c.Answer("approved", GRACE, "go on", 40, bench.clock.now_ms)
        assert approve(bench, kept) == replace(kept, answer=answer)
        assert bench.ledger.execute(c.FindRequest("q1")) == replace(kept, answer=answer)
        assert limit(bench) == 140
        made = bench.ledger.execute(c.FindGrant("approve-q1"))
        assert made == c.Grant("approve-q1", TODAY, kept.window, 40)
        assert made is not None
        bench.ledger.execute(made.taking_back("{}"))
        assert limit(bench) == 100

    def test_an_approval_counts_once(self, bench: Bench) -> None:
        """Repeated it gives the same answer; another way to answer is refused and says what was first."""
        kept = ask(bench, wish(bench))
        done = approve(bench, kept)
        assert isinstance(done, c.BudgetRequest)
        bench.clock.advance(7)
        assert approve(bench, kept) == done
        for other in (
            c.Approve(kept, GRACE, "go on", 30),
            c.Approve(kept, c.Person("Eve", "eve@host"), "go on", 40),
            c.Deny(kept, GRACE, "no"),
            c.Deny(kept, ADA, "no"),
        ):
            assert bench.ledger.execute(other) == c.NotAnswered("answered", done)
        assert limit(bench) == 140

    def test_less_than_was_asked_for_may_be_granted(self, bench: Bench) -> None:
        """The request keeps what was asked for, its answer what was granted."""
        done = approve(bench, ask(bench, wish(bench)), 15)
        assert isinstance(done, c.BudgetRequest)
        assert (done.amount, done.answer and done.answer.amount, limit(bench)) == (40, 15, 115)

    @pytest.mark.parametrize(
        "by",
        [
            ADA,
            c.Person("Ada Lovelace", "root@server"),
            c.Person(" ada lovelace ", "root@server"),
            c.Person("Boss", "ada@laptop-7"),
            c.Person("ada@laptop-7", "root@server"),
            c.Person("Boss", "ADA LOVELACE"),
        ],
        ids=lambda by: f"{by.actor}, {by.login}",
    )
    def test_nobody_approves_their_own(self, bench: Bench, by: c.Person) -> None:
        """By the name they give or by their login, in any case; the request stays open for others."""
        kept = ask(bench, wish(bench))
        assert bench.ledger.execute(c.Approve(kept, by, "", 40)) == c.NotAnswered("own", kept)
        assert (limit(bench), bench.ledger.execute(c.FindRequest("q1"))) == (100, kept)
        assert isinstance(approve(bench, kept), c.BudgetRequest)

    @pytest.mark.parametrize(("by", "state"), [(GRACE, "denied"), (ADA, "withdrawn")])
    def test_a_denial_closes_and_grants_nothing(self, bench: Bench, by: c.Person, state: str) -> None:
        """Whoever asked may withdraw; either way it cannot be approved any more, and repeats itself."""
        kept = ask(bench, wish(bench))
        done = bench.ledger.execute(c.Deny(kept, by, TEXT))
        assert isinstance(done, c.BudgetRequest)
        assert done == replace(kept, answer=c.Answer(state, by, TEXT, 40, bench.clock.now_ms))
        bench.clock.advance(7)
        assert bench.ledger.execute(c.Deny(kept, by, TEXT)) == done
        assert approve(bench, kept) == c.NotAnswered("answered", done)
        assert limit(bench) == 100

    def test_what_is_over_cannot_be_approved(self, bench: Bench) -> None:
        """In the last millisecond of its window it can, in the next it cannot; it may still be denied."""
        early, late = ask(bench, wish(bench)), ask(bench, wish(bench, "q2"))
        bench.clock.now_ms = early.ends_ms - 1
        assert isinstance(approve(bench, early), c.BudgetRequest)
        bench.clock.advance(1)
        assert approve(bench, late) == c.NotAnswered("over", late)
        assert late.state(bench.clock.now_ms) == "over"
        assert isinstance(bench.ledger.execute(c.Deny(late, GRACE, "too late")), c.BudgetRequest)
        assert limit(bench) == 100

    def test_a_request_between_instants_is_granted_between_them(self, bench: Bench) -> None:
        """It holds from its beginning to its end, whatever windows begin."""
        start = bench.clock.now_ms
        begins, ends = start + HOUR_MS, start + 30 * HOUR_MS
        asked = c.BudgetRequest("q1", TODAY, "", 40, ADA, "x", from_ms=begins, until_ms=ends, ends_ms=ends)
        approve(bench, ask(bench, asked))
        seen = []
        for now_ms in (start, begins, start + DAY_MS, ends - 1, ends):
            bench.clock.now_ms = now_ms
            seen.append(limit(bench))
        assert seen == [100, 140, 140, 140, 100]

    def test_what_was_not_read_so_is_not_answered(self, bench: Bench) -> None:
        """Unknown, or other than whoever answers believes: nothing is granted, and what there is is told."""
        assert approve(bench, wish(bench)) == c.NotAnswered("unknown", None)
        kept = ask(bench, wish(bench))
        for other in (replace(kept, amount=4000), replace(kept, by=GRACE), replace(kept, ends_ms=0)):
            command = c.Approve(other, c.Person("Eve", "eve@host"), "", 40)
            assert bench.ledger.execute(command) == c.NotAnswered("changed", kept)
        assert limit(bench) == 100

    def test_no_more_are_taken_than_anybody_reads(self, bench: Bench) -> None:
        """At the bound another one is refused until one is answered, or what one asked for is over."""
        kept = [ask(bench, wish(bench, f"q{index}", 1)) for index in range(OPEN_AT_MOST)]
        more = c.RequestGrant(wish(bench, "more"))
        assert bench.ledger.execute(more) == c.TooManyRequests(OPEN_AT_MOST)
        assert bench.ledger.execute(c.FindRequest("more")) is None
        assert ask(bench, wish(bench, "q0", 1)) == kept[0]
        bench.ledger.execute(c.Deny(kept[0], GRACE, "no"))
        ask(bench, wish(bench, "more"))
        assert bench.ledger.execute(c.RequestGrant(wish(bench, "again"))) == c.TooManyRequests(OPEN_AT_MOST)
        bench.clock.now_ms = kept[0].ends_ms
        ask(bench, wish(bench, "again"))

    def test_what_is_closed_is_forgotten_in_time(self, bench: Bench) -> None:
        """Answered or over, it goes with the first request made after its 90 days; what is open stays."""
        lasting = replace(wish(bench, "lasting"), identity=TEAM, window="", until_ms=0, ends_ms=0)
        open_, over, denied = ask(bench, lasting), ask(bench, wish(bench, "over")), ask(bench, wish(bench))
        bench.clock.now_ms = over.ends_ms
        bench.ledger.execute(c.Deny(denied, GRACE, "no"))
        bench.clock.advance(CLOSED_KEPT_MS - 1)
        ask(bench, wish(bench, "a"))
        assert len(bench.ledger.execute(c.ListRequests())) == 4
        bench.clock.advance(1)
        last = ask(bench, wish(bench, "b"))
        left = [request.id for request in bench.ledger.execute(c.ListRequests())]
        assert left == [open_.id, "a", last.id]

    def test_every_step_is_in_the_journal(self, bench: Bench) -> None:
        """The request, the grant that answers it, and the denial, with what the caller wrote; once each."""
        first, second = ask(bench, wish(bench)), ask(bench, wish(bench, "q2"))
        for _ in range(2):
            approve(bench, first)
            bench.ledger.execute(c.Deny(second, ADA, "found some", '{"denied":1}'))
        approve(bench, second)
        told = [(e.kind, e.id, e.outcome, e.record) for e in bench.ledger.execute(c.ReadJournal())[1:]]
        assert told == [
            ("request", "q1", TODAY, '{"asked":1}'),
            ("request", "q2", TODAY, '{"asked":1}'),
            ("grant", "approve-q1", TODAY, '{"approved":1}'),
            ("deny", "deny-q2", TODAY, '{"denied":1}'),
        ]
