"""What a lease bears while a real Redis is away, and what becomes of it."""

from __future__ import annotations

import pytest
from support.governed import department
from support.outages import CEILING, ORG, USD, come_back, left, open_up

from governor.errors import LedgerDown
from governor.ledger import commands as c


@pytest.fixture
def stage(outage):
    """A stage on a Redis that the test may kill."""
    return outage


def lease_of(stage):
    """The lease that is open: its amount, by the balance of the department's budget."""
    (hold,) = stage.holds()
    assert hold.id.startswith("lease.team.")
    assert [identity for identity, _ in hold.balances] == [ORG, USD]
    return stage.balances()[USD].held


def test_a_lease_bears_an_outage(stage):
    """Calls live on what was held before: the bill stays within it, and beyond it they are refused.

    When the ledger is back it has every nano-dollar, and the rest of the lease is free again.
    """
    caller = open_up(stage, "lease")
    lease = lease_of(stage)
    assert lease == 1_000_000_000 // 100
    before = stage.api.billed_nanos
    stage.redis.kill()
    served = 0
    while True:
        try:
            receipt = caller.call().receipt
        except LedgerDown as down:
            assert "left of its lease of $0.01" in str(down)  # noqa: PT017 - the end of the loop
            break
        assert (receipt.settled, receipt.decision.outcome) == (False, "leased")
        served += 1
    spent = stage.api.billed_nanos - before
    assert lease - CEILING < spent <= lease
    assert served == len(stage.sent()) - 1
    come_back(stage)
    assert caller.call().receipt.settled
    assert stage.posted() == stage.posted(ORG) == stage.api.billed_nanos
    assert stage.holds() == ()
    caller.call()
    assert lease_of(stage) == 1_000_000_000 // 100
    caller.close()
    stage._open.remove(caller)
    assert stage.holds() == ()
    assert stage.posted() == stage.api.billed_nanos
    assert left(stage) == []


def test_a_lease_that_expired_gives_back_what_was_not_used(stage):
    """An outage longer than the lease's time to live: it is charged, and that charge is replaced."""
    caller = open_up(stage, "lease")
    lease = lease_of(stage)
    stage.redis.kill()
    stage.clock.forward(3600)
    assert caller.call().receipt.decision.outcome == "leased"
    come_back(stage)
    (hold,) = stage.holds()
    assert stage.ledger.execute(c.Expire((c.DueHold(hold.id, hold.balances),))).ids == (hold.id,)
    assert stage.posted() >= lease
    assert caller.call().receipt.settled
    assert stage.posted() == stage.api.billed_nanos
    (closing,) = [entry for entry in stage.journal(identifier=hold.id) if entry.kind == "release"]
    assert closing.outcome == "settled_late"


def test_no_lease_above_ninety_percent(stage):
    """A budget that is nearly full has no lease; and one that fills up gets its lease back."""
    caller = open_up(stage, "lease")
    lease_of(stage)
    other = stage.hold(USD, 950_000_000, 1_000_000_000)
    caller.call()
    assert [hold.id for hold in stage.holds()] == ["another-call"]
    caller.call()
    assert [hold.id for hold in stage.holds()] == ["another-call"]
    stage.redis.kill()
    with pytest.raises(LedgerDown, match="no lease for the department 'team'"):
        caller.call()
    come_back(stage)
    stage.ledger.execute(other)
    caller.call()
    lease_of(stage)


def test_a_department_without_a_usd_budget_refuses(stage):
    """There is nothing to lease of counts: said at load, and refused like `refuse`."""
    policy = department({"per": "department", "requests": 9, "window": "life"}, if_ledger_is_down="lease")
    caller = stage.governor(policy, spool=stage.folder / "spool")
    assert "no usd budget per organization" in caller.governor.policies.not_in_force[0].text
    caller.call()
    assert stage.holds() == ()
    stage.redis.kill()
    with pytest.raises(LedgerDown, match="no lease"):
        caller.call()
    assert len(stage.sent()) == 1
