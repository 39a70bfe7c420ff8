"""Work that can wait, offered to the Batches API while the budget or the API is short."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from governor.errors import Deferred
from governor.ids import new_id
from governor.money import Money
from governor.policy.conditions import Shares

if TYPE_CHECKING:
    from governor.story.request import House, Plan

_BATCH_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
"""What the API takes for a `custom_id` (documentation of Message Batches)."""

_NOT_OF_A_BATCH = ("extra_headers",)
"""The SDK's own arguments, which are not of the request: in a batch's item the API refuses them."""


def offered(house: House, planned: Plan) -> Deferred | None:
    """What to raise where the request can wait and the policy's `routing.defer` holds; else `None`."""
    condition, request = planned.rules.routes.defer, planned.request
    if condition is None or not request.deferrable or planned.rules.shadow or not planned.offers:
        return None
    route, first = planned.route, planned.offers[0]
    shares = Shares(route.budget or Fraction(0), Fraction(route.load_bp, 10_000))
    percent = house.prices.price_at(first.candidate.model, planned.at_ms).batch_percent
    served = percent is not None and not first.ceiling.way.fast and first.ceiling.max_tokens
    if percent is None or not served or not condition.holds(shares):
        return None
    params = {name: value for name, value in planned.body(first).items() if name not in _NOT_OF_A_BATCH}
    cost = Money(-(-first.ceiling.nanos * percent // 100))
    return Deferred(
        f"this request can wait, and {condition.text}: give it to the Batches API, where it may cost "
        f"{cost} instead of {Money(first.ceiling.nanos)}",
        item={"custom_id": request.id if _BATCH_ID.match(request.id) else new_id(), "params": params},
        ceiling=cost,
        ceiling_now=Money(first.ceiling.nanos),
    )
