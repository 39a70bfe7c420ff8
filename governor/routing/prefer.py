"""Which line `auto` stands for: by tier and complexity; and which tier a long prompt needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from governor.routing.lines import at_or_below, rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Tier(Protocol):
    """What is asked of a tier here: see `governor.policy.routes.TierTerms`."""

    @property
    def name(self) -> str:
        """`premium`, `standard` or `economy`."""
        ...

    @property
    def prefer(self) -> str:
        """The line it starts from."""
        ...

    @property
    def context(self) -> int | None:
        """Input tokens above which it does not serve."""
        ...


T = TypeVar("T", bound=Tier)


def line_of(
    tier: Tier, lines: Mapping[str, str], *, band: tuple[str, str] | None, premium: tuple[str, str] | None
) -> tuple[str, str]:
    """The line that `auto` stands for, and why.

    The line of the request's complexity; raised to the preferred line of a premium tier, or for a premium
    user; lowered to the preferred line of economy.

    Args:
        tier: The tier that serves.
        lines: The policy's lines.
        band: The line of the complexity, and why; `None` where nothing goes by it: the tier's own.
        premium: For a premium user, the line that they are raised to, and why; else `None`.
    """
    own = f"the {tier.name} tier's line"
    line, why = band or (tier.prefer, own)
    if tier.name == "premium" and rank(line) < rank(tier.prefer):
        line, why = tier.prefer, own
    if premium is not None and rank(line) < rank(premium[0]):
        line, why = premium
    if tier.name == "economy" and rank(line) > rank(tier.prefer):
        line, why = tier.prefer, own
    there = at_or_below(line, lines)
    return (line, why) if line in lines or not there else (there[0], why)


def roomy(tier: T, tiers: Sequence[T], tokens: int) -> T:
    """The tier that serves a prompt of *tokens*: *tier*, or the next one above whose context holds it.

    The context of a tier never refuses: where no tier holds the prompt, the one with the largest serves it.

    Args:
        tier: The one that was chosen.
        tiers: Every tier of the policy, the most modest first.
        tokens: Of the prompt.
    """
    above = tiers[[one.name for one in tiers].index(tier.name) :]
    fits = [one for one in above if one.context is None or tokens <= one.context]
    return fits[0] if fits else max(above, key=lambda one: one.context or 0)
