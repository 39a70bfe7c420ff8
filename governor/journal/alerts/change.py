"""What becomes of an alert, as its watch tells it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from governor.journal.alerts.alert import Alert


class Change(NamedTuple):
    """One step in the life of an alert.

    Attributes:
        kind: `raised` once per key; `updated` when a symptom joins it or it gets worse, never merely because
            it goes on; `ended` once per key.
        at_ms: The evaluation that found it, Unix milliseconds: a multiple of the period.
        alert: As it is now.
    """

    kind: Literal["raised", "updated", "ended"]
    at_ms: int
    alert: Alert
