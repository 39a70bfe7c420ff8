"""What every end of a call must leave behind: no hold, one request counted, and a record that says how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.governed import department

if TYPE_CHECKING:
    from support.governed import Stage

USD, TOKENS = "department=team/usd/life", "department=team/tokens/life"
REQUESTS, CONCURRENT = "department=team/user=u/requests/life", "department=team/user=u/concurrent/life"
BUDGETS = [
    {"per": "department", "usd": 100, "window": "life"},
    {"per": "department", "tokens": 1_000_000, "window": "life"},
    {"per": "user", "requests": 1000, "window": "life"},
    {"per": "user", "concurrent": 4},
]


def policy(**more: Any) -> dict[str, Any]:
    """A policy with a budget in each unit, whose calls give up after 0.4 s of silence."""
    return department(*BUDGETS, **{"timeout": 0.4, **more})


def closed(stage: Stage) -> dict[str, Any]:
    """Check that nothing is left open and one request is counted; return the record of the end."""
    assert stage.holds() == ()
    balances = stage.balances()
    assert {name: balance.held for name, balance in balances.items()} == dict.fromkeys(balances, 0)
    assert balances[CONCURRENT].posted == 0
    assert balances[REQUESTS].posted == 1
    ending = stage.last_ending()
    assert balances[USD].posted == ending["cost_nanos"]
    return ending
