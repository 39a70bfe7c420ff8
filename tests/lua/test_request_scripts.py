"""The scripts by which more budget is asked for, and answered, clause by clause."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.lua_server import DAY_MS, END_MS, NOW_MS, REVIEW, TEAM

from governor.ledger import commands as c
from governor.ledger import requests as q
from governor.ledger.dialogue_requests import answer_row, row_of

if TYPE_CHECKING:
    from support.lua_server import Server

ADA, GRACE = c.Person("Ada", "ada@laptop-7"), c.Person("Grace", "grace@laptop-9")
ASKED = c.BudgetRequest("q1", TEAM.identity, TEAM.window, 40, ADA, "a b=c", ends_ms=END_MS, at_ms=NOW_MS)
SAID = (
    f"identity={TEAM.identity} amount=40 window={TEAM.window} from=0 until=0 ends={END_MS} "
    "actor=Ada login=ada@laptop-7 reason=a b=c"
)
ROW = f"{NOW_MS} {END_MS} {SAID}"
NOW = str(NOW_MS)
APPROVE = c.Approve(ASKED, GRACE, "go on", 15, '{"why":1}')
APPROVED = "state=approved amount=15 actor=Grace login=grace@laptop-9 reason=go on"


def fields(ledger: Server) -> dict[str, str]:
    """What the ledger keeps of requests."""
    return ledger.client.hgetall(ledger.keys.requests)


def records(ledger: Server) -> list[tuple[str, str, str, str]]:
    """Kind, id, outcome and detail of what the journal has since the ledger was created."""
    found = [entry for _, entry in ledger.client.xrange(ledger.keys.journal)][1:]
    return [(entry["kind"], entry["id"], entry["outcome"], entry["detail"]) for entry in found]


def test_the_replies_of_request(ledger: Server) -> None:
    """Requested, repeated, conflict, with its answer once there is one; a row is kept as it was asked."""
    assert ledger.run(c.RequestGrant(ASKED)) == ["requested", ROW, ""]
    assert fields(ledger) == {"r:q1": ROW}
    later = str(NOW_MS + 5)
    assert ledger.run(c.RequestGrant(ASKED), later) == ["requested", ROW, ""]
    assert ledger.run(c.RequestGrant(replace(ASKED, amount=41))) == ["conflict"]
    ledger.run(APPROVE, later)
    assert ledger.run(c.RequestGrant(ASKED)) == ["requested", ROW, f"{later} {APPROVED}"]
    assert records(ledger)[0] == ("request", "q1", TEAM.identity, SAID)


def test_the_replies_of_approve(ledger: Server) -> None:
    """Unknown, changed, done, done again, answered otherwise, over, conflict."""
    assert ledger.run(APPROVE) == ["unknown"]
    ledger.run(c.RequestGrant(ASKED))
    assert ledger.run(replace(APPROVE, request=replace(ASKED, amount=4000))) == ["changed", ROW]
    assert ledger.run(APPROVE, str(END_MS)) == ["over"]
    last = str(END_MS - 1)
    assert ledger.run(APPROVE, last) == ["done", last]
    assert ledger.run(APPROVE, str(END_MS)) == ["done", last]
    answered = ["answered", ROW, f"{last} {APPROVED}"]
    assert ledger.run(replace(APPROVE, amount=16)) == answered
    assert ledger.run(c.Deny(ASKED, GRACE, "")) == answered
    ledger.client.hdel(ledger.keys.requests, "a:q1")
    assert ledger.run(replace(APPROVE, amount=16)) == ["conflict"]


def test_an_approval_writes_the_grant_that_was_asked_for(ledger: Server) -> None:
    """The fields of a grant, its operation, its record that names the request, and the answer."""
    ledger.run(c.RequestGrant(ASKED))
    ledger.run(APPROVE)
    said = f"amount=15 window={TEAM.window} from=0 until=0"
    assert ledger.client.hgetall(ledger.keys.admin) == {
        f"g:{TEAM.identity}:{TEAM.window}": "15",
        "op:approve-q1": f"grant {TEAM.identity} {said}",
    }
    assert fields(ledger) == {"r:q1": ROW, "a:q1": f"{NOW} {APPROVED}"}
    assert records(ledger)[1] == ("grant", "approve-q1", TEAM.identity, f"{said} request=q1 {APPROVED}")


def test_a_request_between_instants_becomes_a_change_of_the_limit(ledger: Server) -> None:
    """As a grant between instants is kept; never over where it has no end."""
    asked = c.BudgetRequest("q1", REVIEW.identity, "", 40, ADA, "", from_ms=5, at_ms=NOW_MS)
    ledger.run(c.RequestGrant(asked))
    ledger.run(c.Approve(asked, GRACE, "", 40))
    assert ledger.client.hget(ledger.keys.admin, f"l:{REVIEW.identity}") == "+40 5 0;"


def test_an_answer_that_was_taken_away_grants_nothing_again(ledger: Server) -> None:
    """Applications may write requests: one that reopens its own gets no second grant by that."""
    ledger.run(c.RequestGrant(ASKED))
    ledger.run(APPROVE)
    ledger.client.hdel(ledger.keys.requests, "a:q1")
    assert ledger.run(APPROVE)[0] == "done"
    assert ledger.client.hget(ledger.keys.admin, f"g:{TEAM.identity}:{TEAM.window}") == "15"
    assert [kind for kind, *_ in records(ledger)] == ["request", "grant"]


@pytest.mark.parametrize(("by", "state"), [(GRACE, "denied"), (ADA, "withdrawn")])
def test_the_replies_of_deny(ledger: Server, by: c.Person, state: str) -> None:
    """Unknown, changed, done, done again, answered; only a denial writes what administrators keep."""
    deny = c.Deny(ASKED, by, "no")
    assert ledger.run(deny) == ["unknown"]
    ledger.run(c.RequestGrant(ASKED))
    assert ledger.run(replace(deny, request=replace(ASKED, reason="")))[0] == "changed"
    for _ in range(2):
        assert ledger.run(deny) == ["done", NOW]
    answer = f"state={state} amount=40 actor={by.actor} login={by.login} reason=no"
    assert ledger.run(APPROVE) == ["answered", ROW, f"{NOW} {answer}"]
    detail = f"request=q1 {answer}"
    operation = {"op:deny-q1": f"deny {TEAM.identity} {detail}"} if state == "denied" else {}
    assert ledger.client.hgetall(ledger.keys.admin) == operation
    assert records(ledger)[1:] == [("deny", "deny-q1", TEAM.identity, detail)]


def plant(ledger: Server, *, opened: int = 0, over: int = 0, answered: int = 0) -> None:
    """Rows as the verbs write them: open ones, ones that end now, and ones answered a millisecond apart."""
    rows: dict[str, str] = {}
    for index in range(opened):
        rows[f"r:open-{index}"] = row_of(ASKED)
    for index in range(over):
        rows[f"r:over-{index}"] = row_of(replace(ASKED, ends_ms=NOW_MS))
    for index in range(answered):
        rows[f"r:done-{index}"] = row_of(ASKED)
        rows[f"a:done-{index}"] = answer_row(replace(APPROVE.answer, at_ms=NOW_MS + index))
    if rows:
        ledger.client.hset(ledger.keys.requests, mapping=rows)


def test_only_open_requests_count_against_the_bound(ledger: Server) -> None:
    """One less than the bound leaves room for one; those answered or over take none."""
    plant(ledger, opened=q.OPEN_AT_MOST - 1, over=3, answered=3)
    assert ledger.run(c.RequestGrant(ASKED))[0] == "requested"
    before = fields(ledger)
    assert ledger.run(c.RequestGrant(replace(ASKED, id="q2"))) == ["too_many", str(q.OPEN_AT_MOST)]
    assert (fields(ledger), len(records(ledger))) == (before, 1)


def test_of_too_many_closed_ones_the_oldest_go_first(ledger: Server) -> None:
    """At most so many are kept beside the open ones, the newest, each with its answer."""
    plant(ledger, opened=2, answered=q.CLOSED_AT_MOST + 2)
    ledger.run(c.RequestGrant(ASKED))
    left = fields(ledger)
    assert len(left) == 3 + 2 * q.CLOSED_AT_MOST
    assert not {"r:done-0", "a:done-0", "r:done-1", "a:done-1"} & set(left)
    assert {"r:done-2", "a:done-2"} <= set(left)


def test_closed_requests_go_after_their_time(ledger: Server) -> None:
    """90 days after the answer or the end, to the millisecond; open ones stay however old they are."""
    plant(ledger, over=1, answered=2)
    ledger.client.hset(ledger.keys.requests, "r:old", f"1 0 {SAID}")
    ledger.run(c.RequestGrant(ASKED), str(NOW_MS + 90 * DAY_MS))
    assert set(fields(ledger)) == {"r:old", "r:q1", "r:done-1", "a:done-1"}


def test_what_no_verb_wrote_is_swept_away(ledger: Server) -> None:
    """A row or an answer that is none goes with the next request, and never stops one."""
    odd = {"r:x": "gibberish", "a:y": f"1 {APPROVED}", "a:z": "", "r:z": "", "r:": "1 1 ", "w:": "kept"}
    ledger.client.hset(ledger.keys.requests, mapping=odd)
    assert ledger.run(c.RequestGrant(ASKED))[0] == "requested"
    assert fields(ledger) == {"r:q1": ROW, "w:": "kept"}
