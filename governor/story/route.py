"""By which tier a request is served, and how hard it is: what its candidates are chosen by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

    from governor.policy.routes import TierTerms
    from governor.routing import Complexity


@dataclass(frozen=True, slots=True)
class Route:
    """What the choice of candidates went by.

    Attributes:
        tier: How the request is served.
        tier_why: Why in this tier: `asked for`, or the rule that chose it; '' where there is none.
        line: The line that `auto` stands for.
        line_why: Why that one.
        complexity: How hard the request is; `None` where nothing goes by it.
        budget: How much was spent of the fullest usd budget, 1 the whole; `None` where nobody asks.
        budget_age_ms: How old that is, milliseconds.
        load_bp: How busy the API is, basis points.
        pressed: Whether the budget alone, however idle the API, chooses this tier.
        tightened: Whether a standing order leaves no better tier: no premium user is raised, and a
            conversation moves down.
        heard: The version of the standing orders that were known then.
    """

    tier: TierTerms
    tier_why: str = ""
    line: str = ""
    line_why: str = ""
    complexity: Complexity | None = None
    budget: Fraction | None = None
    budget_age_ms: int | None = None
    load_bp: int = 0
    pressed: bool = False
    tightened: bool = False
    heard: str = ""

    @property
    def budget_bp(self) -> int | None:
        """*budget* in basis points, rounded down."""
        return None if self.budget is None else int(self.budget * 10_000)
