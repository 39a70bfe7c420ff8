"""Whether a request can touch a budget at all: a change of one that none can would silently do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.cli.context import load_prices
from governor.cli.output import usage
from governor.errors import PolicyViolation, UnknownModel

if TYPE_CHECKING:
    from governor.cli.context import Desk
    from governor.policy import BudgetTerm


def refuse_unreachable(desk: Desk, term: BudgetTerm, prices: str | None) -> None:
    """Refuse a change of a budget that no request can touch, under the policies and prices as they are.

    Of users under "*", runs and the values of tags every one could come: none of them is refused.

    Args:
        desk: For the policies.
        term: The budget.
        prices: The price file, as for `load_prices`.

    Raises:
        Failure: There is no such department, user, feature or model.
        PolicyError: The price file is missing or malformed.
    """
    try:
        line = None if term.model is None else _line(term.model, prices)
        desk.policies.refuse_unreachable(term.identity, line)
    except (PolicyViolation, UnknownModel) as error:
        raise usage(f"no request can touch {term.identity}: {error}") from None


def _line(model: str, prices: str | None) -> str:
    """The line of a model, which must be named as requests are counted."""
    found = load_prices(prices).model(model)
    if found.id != model:
        raise UnknownModel(f"{model} is counted as {found.id}: write model={found.id}")
    return found.line
