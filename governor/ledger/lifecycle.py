"""The life of a hold: one table, for every store.

A hold is opened by *reserve* and ends once. Money that was spent is always recorded, so a hold that
expired may still be settled; the charge made at its expiry is then replaced by a named adjustment.
A release after expiry is the same adjustment, down to what a release keeps.

    open ──settle──► settled
      ├───release──► released
      └───expire───► expired ──settle or release──► settled_late
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.ledger.values import BATCH, BATCH_HOLD_KEPT_MS, CLOSED_HOLD_KEPT_MS, EXPIRED_HOLD_KEPT_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN = "open"
SETTLED = "settled"
RELEASED = "released"
EXPIRED = "expired"
SETTLED_LATE = "settled_late"

CLOSED = (SETTLED, RELEASED, SETTLED_LATE, EXPIRED)
"""Every state but open."""

ENDED = frozenset({SETTLED, RELEASED, SETTLED_LATE})
"""States in which only a repetition of the very command that ended the hold is answered."""

NEXT: Mapping[tuple[str, str], str] = {
    (OPEN, "settle"): SETTLED,
    (OPEN, "release"): RELEASED,
    (OPEN, "expire"): EXPIRED,
    (EXPIRED, "settle"): SETTLED_LATE,
    (EXPIRED, "release"): SETTLED_LATE,
}


def remembered_ms(state: str, identifier: str) -> int:
    """For how long after its end a hold in *state* is remembered; one of a batch as long as its results."""
    if state == EXPIRED:
        return EXPIRED_HOLD_KEPT_MS
    return BATCH_HOLD_KEPT_MS if identifier.startswith(BATCH) else CLOSED_HOLD_KEPT_MS


def kept_on_release(unit: Unit, held: int) -> int:
    """What a release posts: usd, tokens and `concurrent` come back, requests do not (the API was asked)."""
    return held if unit is Unit.REQUESTS else 0


def charged_on_expiry(unit: Unit, held: int, *, charge: bool) -> int:
    """What an expiry posts: usd, tokens, requests unless the policy gives them back; never `concurrent`."""
    if unit is Unit.CONCURRENT:
        return 0
    return held if charge else kept_on_release(unit, held)
