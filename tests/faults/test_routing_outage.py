"""What routing goes by while the ledger is away."""

from __future__ import annotations

from support.governed import SONNET, department
from support.routed import TIERS

CHOICE = [{"when": "budget < 50%", "tier": "premium"}, {"tier": "standard"}]
LIFE = {"per": "department", "usd": "0.01", "window": "life"}


def test_an_unknown_budget_is_not_an_empty_one(outage):
    """Nobody is given a better tier than the balances heard last allow, nor one where none were heard."""
    routing = {"choose": CHOICE, "tiers": TIERS}
    team = department(LIFE, routing=routing, if_ledger_is_down="allow")
    caller = outage.governor(team, spool=outage.folder / "spool")
    fresh = outage.governor(spool=outage.folder / "other")
    outage.spend("department=team/usd/life", 8_000_000, 10_000_000)
    assert caller.call().receipt.decision.tier == "standard"
    outage.redis.kill()
    outage.clock.forward(120)
    for one in (caller, fresh):
        told = one.call().receipt.decision
        assert (told.outcome, told.tier, told.model) == ("allowed", "standard", SONNET)
