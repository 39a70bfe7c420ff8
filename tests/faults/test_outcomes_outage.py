"""An outcome that is said while the ledger is away."""

from __future__ import annotations

import pytest
from support.outages import come_back, team

from governor import LedgerUnavailable


def test_an_outcome_is_said_again_by_its_id_once_the_ledger_is_back(outage):
    """It raises while the ledger is away, so that nothing is lost unseen; said again it counts once."""
    caller = outage.governor(team("refuse"))
    caller.outcome("done", id="o-1")
    outage.redis.kill()
    for name in ("o-1", "o-2"):
        with pytest.raises(LedgerUnavailable, match="cannot be reached"):
            caller.outcome("done", id=name)
    come_back(outage)
    for name in ("o-1", "o-2", "o-2"):
        caller.outcome("done", id=name)
    assert [entry.id for entry in outage.journal("outcome")] == ["o-1", "o-2"]
