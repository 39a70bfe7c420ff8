"""`governor prices show`: what a token costs, as the table in use has it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, PRICES, flag, load_prices
from governor.cli.output import console, print_json, print_rows, usage
from governor.errors import UnknownModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.pricing import PriceTable

MODELS: Any = typer.Argument(
    None,
    metavar="[MODEL]...",
    help="Models by any name; one of Bedrock shows its endpoint's prices. Else all.",
    show_default=False,
)
AT: Any = typer.Option(
    None, "--at", formats=["%Y-%m-%d"], metavar="DATE", help="The prices of this day, UTC; else today's."
)
HISTORY: Any = flag("--history", help="Every dated entry, before any discount.")
_WAYS = ("batch", "fast", "us", "regional")
_TITLES = (
    "model",
    "from",
    "input",
    "output",
    "write 5m",
    "write 1h",
    "read",
    "batch",
    "fast",
    "us",
    "regional",
)


def day_of(asked: datetime | None) -> date:
    """The day that `--at` names, else today in UTC."""
    return datetime.now(UTC).date() if asked is None else asked.date()


def show(
    models: list[str] | None = MODELS,
    at: datetime | None = AT,
    history: bool = HISTORY,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Show prices in dollars per million tokens. batch, fast, us and regional are input/output.

    Where a discount holds it is taken off. Exit code 2 for a model without a price.
    """
    from governor.cli.prices_rows import fee_json, model_json  # noqa: PLC0415 - `--help` need not pay for it

    table, day = load_prices(prices), day_of(at)
    rows = [model_json(table, name, day, history=history) for name in _names(table, models)]
    fee = fee_json(table, day)
    if as_json:
        print_json(
            {"table": table.version, "source": table.source, "at": day, "web_search": fee, "models": rows}
        )
        return
    _print(rows)
    console().print(
        f"web search: ${fee['per_thousand']} per 1,000, since {fee['from']}, "
        f"checked {fee['checked']}: {fee['source']}",
        soft_wrap=True,
    )


def _names(table: PriceTable, asked: Sequence[str] | None) -> list[str]:
    if not asked:
        return [model.id for model in table.models()]
    for name in asked:
        try:
            table.model(name)
        except UnknownModel as error:
            raise usage(str(error)) from None
    return list(asked)


def _print(models: Sequence[dict[str, Any]]) -> None:
    sources: dict[tuple[str, str], int] = {}
    discounted = any(entry["discount"] for model in models for entry in model["entries"])
    titles = (*_TITLES, *(["discount"] if discounted else []), "lifecycle", "source")
    rows: list[tuple[str, ...]] = []
    for model in models:
        rows += _rows(model, sources, discounted=discounted)
    print_rows(titles, rows)
    out = console()
    for (source, checked), number in sources.items():
        out.print(f"[{number}] {source}; checked {checked}", soft_wrap=True)


def _rows(
    model: dict[str, Any], sources: dict[tuple[str, str], int], *, discounted: bool
) -> Iterator[tuple[str, ...]]:
    retires = f", retires {model['retires']}" if model["retires"] else ""
    spare = [""] if discounted else []
    if not model["entries"]:
        yield model["model"], "no price yet", *[""] * 9, *spare, model["lifecycle"] + retires, ""
    for entry in model["entries"]:
        number = sources.setdefault((entry["source"], str(entry["checked"])), len(sources) + 1)
        off = entry["discount"]
        discount = [f"{off['percent']} %" if off else ""] if discounted else []
        prices = entry["prices"]
        base = (model["model"], str(entry["from"]), *_cells(prices, above=False))
        yield *base, *discount, model["lifecycle"] + retires, f"[{number}]"
        step = prices["standard"] and prices["standard"]["above"]
        if step:
            yield f"  above {step['prompt_tokens']:,}", "", *_cells(prices, above=True), *spare, "", ""


def _cells(prices: dict[str, Any], *, above: bool) -> Iterator[str]:
    from governor.pricing.entries import RATES  # noqa: PLC0415 - `--help` need not pay for it

    def of(way: str) -> dict[str, str] | None:
        found: dict[str, Any] | None = prices[way]
        return found and found["above"] if above else found

    standard = of("standard")
    yield from (standard[rate] if standard else "-" for rate in RATES)
    for way in _WAYS:
        priced = of(way)
        yield f"{priced['input']}/{priced['output']}" if priced else "-"
