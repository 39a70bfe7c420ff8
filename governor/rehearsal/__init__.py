"""What would a policy do? The same story as a real call's, told on balances that somebody gives.

Nothing is sent, counted, held or written here. What `policy explain`, `test`, `diff` and `simulate` say is
what the ledger would do, for it is decided by the code that decides real calls.
"""

from __future__ import annotations

from governor.rehearsal.explanation import Explanation, Need, Weight
from governor.rehearsal.given import Given, untouched
from governor.rehearsal.keys import KeyRefused
from governor.rehearsal.people import TierBook
from governor.rehearsal.stage import Refusal, Stage, made_up, usual_max_tokens

__all__ = [
    "Explanation",
    "Given",
    "KeyRefused",
    "Need",
    "Refusal",
    "Stage",
    "TierBook",
    "Weight",
    "made_up",
    "untouched",
    "usual_max_tokens",
]
