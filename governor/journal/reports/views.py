"""`governor report views`: how calls fare, by feature, user, department and model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.journal.reports.page import Table
from governor.journal.reports.queries import DIMENSIONS
from governor.journal.reports.tables import (
    PLURALS,
    RATES,
    cost_chart,
    grouped,
    plural,
    rates,
    rates_table,
    summed,
)

if TYPE_CHECKING:
    from governor.journal.reports.asked import Asked
    from governor.journal.reports.page import Page, Section
    from governor.journal.reports.queries import Source
    from governor.journal.reports.spans import Span

ORDER = ("feature", "user", "department", "model")


def views(source: Source, asked: Asked, span: Span) -> Page:
    """Error rate, latency, cost per call, cache hits and `max_tokens` stops of a span's calls, four times."""
    found = source.figures(span.start_ms, span.end_ms, DIMENSIONS)
    total = summed(found.values())
    said = "No call began in this time." if not total.calls else ""
    if total.open:
        said = f"{plural(total.open, 'call is', 'calls are')} still open: not among errors and latencies."
    sections: list[Section] = [Table("all", "All calls", RATES, (rates(total),), note=said)]
    by = {name: grouped(found, (DIMENSIONS.index(name),)) for name in ORDER}
    sections += [
        rates_table(PLURALS[name], f"By {name}", name, groups) for name, groups in by.items() if groups
    ]
    costs = {key[0]: figures.cost_nanos for key, figures in by["feature"].items()}
    if len(costs) > 1:
        sections.append(cost_chart("feature_costs", "Cost by feature", costs))
    return asked.page("views", "How calls fare", f"{span}{asked.only}", tuple(sections))
