"""What can it cost, and what did it cost: prices, usage, exact costs and ceilings."""

from __future__ import annotations

from governor.pricing.bound import countable, local_bound
from governor.pricing.cost import cost_nanos
from governor.pricing.estimate import Ceiling, Unbounded, ceiling
from governor.pricing.table import Model, Price, PriceTable, Rates
from governor.pricing.usage import Usage, merge_usage, read_usage

__all__ = [
    "Ceiling",
    "Model",
    "Price",
    "PriceTable",
    "Rates",
    "Unbounded",
    "Usage",
    "ceiling",
    "cost_nanos",
    "countable",
    "local_bound",
    "merge_usage",
    "read_usage",
]
