"""The price tables of two other libraries, as rows that name what they price as ours does."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import re
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import genai_prices
from genai_prices.types import StartDateConstraint, TieredPrices

from governor.pricing import PriceTable, Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from genai_prices.types import ModelInfo, ModelPrice

TABLE = PriceTable.load()
TODAY = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


class Row(NamedTuple):
    """One row of another table: its prices in dollars per token, and how we name what it prices."""

    peer: str
    name: str
    our_name: str
    label: str
    way: Way
    base: Mapping[str, Fraction]
    step_tokens: int | None
    above: Mapping[str, Fraction]
    at: dt.datetime = TODAY
    web_search: Fraction | None = None


# LiteLLM: one row per name; a price is a key, its way and step are in the key's end.

LITELLM_KEYS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "cache_read_input_token_cost": "cache_read",
}
LITELLM_KEY = re.compile(rf"({'|'.join(LITELLM_KEYS)})(?:_above_(\d+)k_tokens)?(_batches)?")
LITELLM_PROVIDERS = {
    "anthropic": "",
    "azure_ai": "",
    "bedrock": "",
    "bedrock_converse": "",
    "bedrock_mantle": "",
    "vertex_ai-anthropic_models": "global",
}


@cache
def litellm_table() -> dict[str, Any]:
    """LiteLLM's table as it ships; LiteLLM itself is not imported, for that takes seconds."""
    found = importlib.util.find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    text = Path(found.origin).with_name("model_prices_and_context_window_backup.json").read_text("utf-8")
    return json.loads(text, parse_float=Decimal)


def litellm_rows() -> Iterator[Row]:
    for name, entry in litellm_table().items():
        endpoint = LITELLM_PROVIDERS.get(entry.get("litellm_provider"))
        our_name, fast = litellm_name(name)
        if endpoint is not None and TABLE.knows(our_name):
            yield from litellm_ways(name, our_name, Way(fast=fast, endpoint=endpoint), entry)


def litellm_name(name: str) -> tuple[str, bool]:
    """Our name of what LiteLLM prices under *name*, and whether that is its fast mode."""
    plain = name.rpartition("/")[2].removesuffix("-fast")
    return f"us-gov.{plain}" if "/us-gov-" in name else plain, name.endswith("-fast")


def litellm_ways(name: str, our_name: str, way: Way, entry: Mapping[str, Any]) -> Iterator[Row]:
    base, above, step_tokens = litellm_prices(entry, batch=False)
    search = entry.get("search_context_cost_per_query")
    web_search = None if search is None else Fraction(search["search_context_size_medium"])
    label = "fast" if way.fast else "standard"
    yield Row("litellm", name, our_name, label, way, base, step_tokens, above, web_search=web_search)
    batch, above_batch, batch_step = litellm_prices(entry, batch=True)
    if batch:
        batched = way._replace(batch=True)
        yield Row("litellm", name, our_name, "batch", batched, batch, batch_step, above_batch)
    factors = dict(entry.get("provider_specific_entry") or {})
    factors["regional"] = entry.get("regional_endpoint_uplift_multiplier")
    ways = {"us": way._replace(geo="us"), "fast": way._replace(fast=True)}
    ways["regional"] = way._replace(endpoint="regional")
    for label, factor in factors.items():
        if factor is not None:
            dearer, dearer_above = (
                {unit: price * Fraction(factor) for unit, price in prices.items()} for prices in (base, above)
            )
            yield Row("litellm", name, our_name, label, ways[label], dearer, step_tokens, dearer_above)


def litellm_prices(
    entry: Mapping[str, Any], *, batch: bool
) -> tuple[dict[str, Fraction], dict[str, Fraction], int | None]:
    """Prices up to the step and above it, and the step in tokens; the same twice where there is none."""
    base, above, steps = {}, {}, set()
    for key, price in entry.items():
        match = LITELLM_KEY.fullmatch(key)
        if match is None or bool(match[3]) is not batch or price is None:
            continue
        (above if match[2] else base)[LITELLM_KEYS[match[1]]] = Fraction(price)
        steps |= {int(match[2]) * 1000} if match[2] else set()
    assert len(steps) <= 1
    return base, above or base, steps.pop() if steps else None


# genai-prices: one row per name, way and date; a price may hold its own step.

GENAI_KEYS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "cache_read_mtok": "cache_read",
}
GENAI_CONTEXTS: dict[str, dict[str, str]] = {
    "standard": {},
    "batch": {"processing": "batch"},
    "fast": {"speed": "fast"},
}
BEDROCK_PREFIXES = ("global", "us", "eu", "apac", "au", "in", "jp", "us-gov")


def genai_rows() -> Iterator[Row]:
    for provider, name, endpoint in genai_names():
        info = genai_model(provider, name)
        if info is None:
            continue
        offered = [{}, *(variant.when for variant in info.price_variants or ())]
        dated = info.prices if isinstance(info.prices, list) else []
        ends = [one.constraint.start_date for one in dated if isinstance(one.constraint, StartDateConstraint)]
        for label, context in GENAI_CONTEXTS.items():
            way = Way(fast=label == "fast", batch=label == "batch", endpoint=endpoint)
            if context in offered:
                row = Row(f"genai {provider}", name, name, label, way, {}, None, {})
                yield genai_row(row, info.get_prices(TODAY, context))
        for end in ends:
            at = dt.datetime.combine(end - dt.timedelta(days=1), dt.time(), dt.UTC)
            label, way = f"standard {at.date()}", Way(endpoint=endpoint)
            row = Row(f"genai {provider}", name, name, label, way, {}, None, {}, at)
            yield genai_row(row, info.get_prices(at))


def genai_names() -> Iterator[tuple[str, str, str]]:
    """Provider, name and the endpoint that the name leaves open."""
    for model in TABLE.models():
        for name in (model.id, *model.aliases):
            yield "anthropic", name, ""
        for name in (model.id, *model.aliases, *model.vertex):
            yield "google", name, "global"
        for name in model.bedrock:
            yield "aws", name, ""
            yield from (("aws", f"{prefix}.{name}", "") for prefix in BEDROCK_PREFIXES)


def genai_model(provider: str, name: str) -> ModelInfo | None:
    """What genai-prices lists for *provider* itself; some it prices by another provider's list."""
    try:
        found = genai_prices.calc_price(genai_prices.Usage(), name, provider_id=provider)
    except LookupError:
        return None
    return found.model if any(found.model is model for model in found.provider.models) else None


def genai_row(row: Row, prices: ModelPrice) -> Row:
    base, above, steps = {}, {}, set()
    for key, unit in GENAI_KEYS.items():
        price = getattr(prices, key)
        if isinstance(price, TieredPrices):
            (tier,) = price.tiers
            base[unit], above[unit] = Fraction(price.base) / 10**6, Fraction(tier.price) / 10**6
            steps.add(tier.start)
        elif price is not None:
            base[unit] = above[unit] = Fraction(price) / 10**6
    assert len(steps) <= 1
    search = getattr(prices, "web_searches_kcount")  # noqa: B009 - a price key, not an attribute of its type
    web_search = None if search is None else Fraction(search) / 1000
    return row._replace(
        base=base, above=above, step_tokens=steps.pop() if steps else None, web_search=web_search
    )
