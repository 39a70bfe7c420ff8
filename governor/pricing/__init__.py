"""What can it cost, and what did it cost: prices, usage, exact costs and ceilings."""

from __future__ import annotations

from governor.pricing.bound import apart, countable, earlier_thinking, local_bound
from governor.pricing.cost import cost_nanos, own_name
from governor.pricing.entries import Discount, Fee, Model, Price, Rates
from governor.pricing.estimate import Ceiling, Demand, ceiling, ceiling_of, demand
from governor.pricing.server_tools import Bounds, Unbounded, bounded
from governor.pricing.table import PriceTable
from governor.pricing.tariff import Tariff, Way
from governor.pricing.usage import Pass, Usage, merge_usage, read_usage

__all__ = [
    "Bounds",
    "Ceiling",
    "Demand",
    "Discount",
    "Fee",
    "Model",
    "Pass",
    "Price",
    "PriceTable",
    "Rates",
    "Tariff",
    "Unbounded",
    "Usage",
    "Way",
    "apart",
    "bounded",
    "ceiling",
    "ceiling_of",
    "cost_nanos",
    "countable",
    "demand",
    "earlier_thinking",
    "local_bound",
    "merge_usage",
    "own_name",
    "read_usage",
]
