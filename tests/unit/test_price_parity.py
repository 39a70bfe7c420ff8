"""Our prices against `genai-prices` and LiteLLM's, to the last digit; every difference has its reason."""

from __future__ import annotations

import datetime as dt
import re
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import genai_prices
import pytest
from support.price_tables import (
    GENAI_CONTEXTS,
    LITELLM_PROVIDERS,
    TABLE,
    TODAY,
    Row,
    genai_rows,
    litellm_name,
    litellm_rows,
    litellm_table,
)

from governor.errors import UnknownModel
from governor.money import NANOS_PER_DOLLAR, ceil_nanos
from governor.pricing import Usage, cost_nanos

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
RATES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


class Line(NamedTuple):
    """One price that both sides list, in nano-dollars per token or per web search; `None`: ours refuses."""

    peer: str
    name: str
    way: str
    unit: str
    ours: Fraction | None
    theirs: Fraction


def lines(row: Row) -> Iterator[Line]:
    """A row's prices up to its step and above it; one without a step is held to that in the whole window."""
    window = TABLE.model(row.our_name).context_tokens
    low, high = (1, window) if row.step_tokens is None else (row.step_tokens, row.step_tokens + 1)
    for where, prompt_tokens, prices in (("", low, row.base), (" long", high, row.above)):
        for unit, theirs in prices.items():
            mine = ours(row, unit, prompt_tokens)
            yield Line(row.peer, row.name, row.label + where, unit, mine, theirs * NANOS_PER_DOLLAR)
    if row.web_search is not None:
        mine = ours(row, "web_search", 1)
        yield Line(row.peer, row.name, row.label, "web_search", mine, row.web_search * NANOS_PER_DOLLAR)


def ours(row: Row, unit: str, prompt_tokens: int) -> Fraction | None:
    try:
        tariff = TABLE.tariff(row.our_name, milliseconds(row.at), row.way)
    except UnknownModel:
        return None
    amounts = tariff.web_search if unit == "web_search" else getattr(tariff.amounts(prompt_tokens), unit)
    return Fraction(amounts, tariff.unit)


def milliseconds(moment: dt.datetime) -> int:
    return (moment - EPOCH) // dt.timedelta(milliseconds=1)


# What the tables do not agree on.


class Known(NamedTuple):
    """A disagreement, for every combination of its names, ways and units; `by`: ours is so much of theirs."""

    reason: str
    peer: str
    names: tuple[str, ...]
    ways: tuple[str, ...]
    units: tuple[str, ...]
    by: str


def bare(*models: str) -> tuple[str, ...]:
    return tuple(f"anthropic.claude-{model}" for model in models)


STANDARD, LONG = ("standard", "standard long"), ("standard long",)
BATCH = ("batch", "batch long")
INPUTS = ("input", "cache_write_5m", "cache_write_1h", "cache_read")
NO_1H = ("input", "output", "cache_write_5m", "cache_read")
SONNET_4_5 = "anthropic.claude-sonnet-4-5-20250929-v1:0"
VERTEX_SONNET_4_5 = ("vertex_ai/claude-sonnet-4-5", "vertex_ai/claude-sonnet-4-5@20250929")
GENAI_SONNET_4_5 = ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929")

BARE_NAME = (
    "A Bedrock name without a prefix is one region, which costs a tenth more by the documentation; "
    "LiteLLM prices these rows as the global endpoint."
)
LONG_CONTEXT = (
    "The long-context price of Sonnet 4.5 ended with its beta on 2026-04-30; its window is 200,000 tokens "
    "since, so that no request reaches the step that these tables keep."
)
GOVERNMENT = (
    "genai-prices counts the government regions as regional (x 1.1); LiteLLM lists them at x 1.2, as we do."
)
NO_GOVERNMENT = (
    "genai-prices lists the government regions under every regional price; no source lists this model there, "
    "so that it is refused."
)

KNOWN = (
    Known(
        BARE_NAME,
        "litellm",
        (
            *bare("haiku-5-5", "haiku-4-5-20251001-v1:0", "sonnet-5-5", "sonnet-5", "sonnet-4-6"),
            *bare("opus-5-5", "opus-5", "opus-4-8", "opus-4-7", "opus-4-6-v1", "opus-4-5-20251101-v1:0"),
            *bare("fable-5-1", "fable-5", "mythos-5-1"),
            "bedrock_mantle/anthropic.claude-haiku-4-5",
        ),
        STANDARD,
        RATES,
        "11/10",
    ),
    Known(BARE_NAME, "litellm", (SONNET_4_5,), ("standard",), RATES, "11/10"),
    Known(
        BARE_NAME,
        "litellm",
        (*bare("haiku-4-5-20251001-v1:0"), SONNET_4_5, "bedrock_mantle/anthropic.claude-haiku-4-5"),
        BATCH,
        ("input", "output"),
        "11/10",
    ),
    Known(f"{BARE_NAME} {LONG_CONTEXT}", "litellm", (SONNET_4_5,), LONG, INPUTS, "11/20"),
    Known(f"{BARE_NAME} {LONG_CONTEXT}", "litellm", (SONNET_4_5,), LONG, ("output",), "11/15"),
    *(
        Known(LONG_CONTEXT, peer, names, ways, units, by)
        for units, by in ((INPUTS, "1/2"), (("output",), "2/3"))
        for peer, names, ways in (
            (
                "litellm",
                tuple(f"{prefix}.{SONNET_4_5}" for prefix in ("global", "us", "eu", "au", "jp")),
                LONG,
            ),
            ("litellm", (f"us-gov.{SONNET_4_5}",), LONG),
            ("litellm", VERTEX_SONNET_4_5, (*LONG, "regional long")),
            ("genai anthropic", GENAI_SONNET_4_5, (*LONG, "batch long")),
            ("genai google", (*GENAI_SONNET_4_5, "claude-sonnet-4-5@20250929"), LONG),
        )
    ),
    Known(
        "LiteLLM rounds half of $3.75 to $1.88.",
        "litellm",
        (*VERTEX_SONNET_4_5, "vertex_ai/claude-sonnet-4-6", "vertex_ai/claude-sonnet-4-6@default"),
        BATCH,
        ("cache_write_5m",),
        "375/376",
    ),
    Known(
        "LiteLLM's Vertex batch price of Opus 5.5 is that of Opus 5; a batch pays half of $4 and $20.",
        "litellm",
        ("vertex_ai/claude-opus-5-5", "vertex_ai/claude-opus-5-5@default"),
        BATCH,
        ("input", "output"),
        "4/5",
    ),
    Known(
        "LiteLLM's Vertex batch price of Haiku 5.5 leaves out the step above 100,000 tokens; its own row at "
        "Anthropic's API has it.",
        "litellm",
        ("vertex_ai/claude-haiku-5-5", "vertex_ai/claude-haiku-5-5@default"),
        ("batch long",),
        NO_1H,
        "5",
    ),
    Known(
        "LiteLLM doubles the web search fee of fast mode; speed multiplies token prices only.",
        "litellm",
        ("azure_ai/claude-opus-5-5-fast",),
        ("fast",),
        ("web_search",),
        "1/2",
    ),
    Known(
        "LiteLLM's Foundry row of Sonnet 5.5 keeps the cache read price of before 2026-10-07.",
        "litellm",
        ("azure_ai/claude-sonnet-5-5",),
        STANDARD,
        ("cache_read",),
        "1/2",
    ),
    Known(
        "Two prices are told of Mythos Preview: LiteLLM's Bedrock rows say 25/125, its own row 10/50. The "
        "dearer is taken, so that a limit holds either way.",
        "litellm",
        ("claude-mythos-preview",),
        (*STANDARD, "us", "us long"),
        RATES,
        "5/2",
    ),
    Known(
        GOVERNMENT,
        "genai aws",
        tuple(
            f"us-gov.{name}"
            for name in (
                *bare("haiku-5-5", "haiku-4-5-20251001-v1:0", "sonnet-5-5", "sonnet-5"),
                SONNET_4_5,
            )
        ),
        STANDARD,
        RATES,
        "12/11",
    ),
    Known(
        NO_GOVERNMENT,
        "genai aws",
        tuple(f"us-gov.{n}" for n in bare("sonnet-4-6", "opus-4-7", "opus-4-6-v1", "opus-4-5-20251101-v1:0")),
        STANDARD,
        RATES,
        "refused",
    ),
    Known(
        NO_GOVERNMENT,
        "genai aws",
        tuple(f"us-gov.{name}" for name in bare("opus-4-1-20250805-v1:0", "opus-4-20250514-v1:0")),
        STANDARD,
        NO_1H,
        "refused",
    ),
)

LITELLM_ONLY = {
    "claude-opus-4-6-20260205": "Dated ids ended with the 4.6 generation: the API has no such model.",
    "claude-opus-4-7-20260416": "The same.",
    "anthropic.claude-haiku-4-5@20251001": "Bedrock's name with Vertex AI's date, which neither accepts.",
    "claude-sonnet-4-5-20250929-v1:0": "A Bedrock name without its vendor, which Bedrock refuses.",
    "bedrock/us-gov-east-1/claude-sonnet-4-5-20250929-v1:0": "The same.",
    "bedrock/us-gov-west-1/claude-sonnet-4-5-20250929-v1:0": "The same.",
}
OLD_FAMILIES = re.compile(r"claude-(3|instant|v1|v2|sonnet-4-2025|4-sonnet|sonnet-4(@|$))")


@cache
def compared() -> tuple[Line, ...]:
    """Every price that both sides list."""
    return tuple(line for row in (*litellm_rows(), *genai_rows()) for line in lines(row))


def told(line: Line) -> tuple[str, ...]:
    by = "refused" if line.ours is None else str(line.ours / line.theirs)
    return (*line[:4], by)


def test_every_price_equals_the_other_tables_but_where_a_reason_says_why():
    """What differs is exactly what the list above says, by exactly the factor that it says."""
    differing = {told(line) for line in compared() if line.ours != line.theirs}
    listed = [
        (known.peer, name, way, unit, known.by)
        for known in KNOWN
        for name in known.names
        for way in known.ways
        for unit in known.units
    ]
    assert len(listed) == len(set(listed))
    assert differing - set(listed) == set(), "a new disagreement: check both sources, correct or list it"
    assert set(listed) - differing == set(), "a disagreement that is no more: take it off the list"
    assert all(known.reason.endswith(".") for known in KNOWN)


@pytest.mark.parametrize(
    ("peer", "way", "least"),
    [
        ("litellm", "standard", 1_100),
        ("litellm", "standard long", 950),
        ("litellm", "batch", 200),
        ("litellm", "batch long", 200),
        ("litellm", "fast", 20),
        ("litellm", "us", 65),
        ("litellm", "regional", 135),
        ("genai anthropic", "standard", 140),
        ("genai anthropic", "batch", 110),
        ("genai anthropic", "fast", 30),
        ("genai anthropic", "standard 2026-03-12 long", 10),
        ("genai aws", "standard", 590),
        ("genai google", "standard", 150),
    ],
)
def test_enough_is_compared(peer, way, least):
    """Every way of being served is compared with every table that lists it, in every unit."""
    found = [line for line in compared() if (line.peer, line.way) == (peer, way)]
    assert len(found) >= least
    lacking = {"batch": {"cache_write_1h"}, "batch long": {"cache_write_1h"}} if peer == "litellm" else {}
    assert {line.unit for line in found} >= set(RATES) - lacking.get(way, set())


def test_every_model_is_compared():
    """Each model of the table is listed, and compared, by one of the two at least; most by both."""
    rows = {"litellm": [*litellm_rows()], "genai": [*genai_rows()]}
    seen = {peer: {TABLE.model(row.our_name).id for row in found} for peer, found in rows.items()}
    every = {model.id for model in TABLE.models()}
    assert seen["litellm"] | seen["genai"] == every
    assert every - seen["litellm"] == {"claude-fable-5-2", "claude-mythos-5-2"}
    assert every - seen["genai"] == {"claude-mythos-5", "claude-mythos-5-1", "claude-mythos-preview"}


def test_web_searches_cost_the_same_everywhere():
    """The fee is compared with both tables, for Anthropic's API and for the clouds."""
    fees = [line for line in compared() if line.unit == "web_search" and line.ours == line.theirs]
    assert {line.ours for line in fees} == {10_000_000}
    assert len({line.name for line in fees}) >= 120
    assert {line.peer for line in fees} >= {"litellm", "genai anthropic", "genai google"}


def test_a_claude_name_that_only_litellm_has_is_no_name_of_the_api():
    """What its providers list and this table does not know is of an older family, or listed with a reason."""
    names = [
        name for name, entry in litellm_table().items() if entry.get("litellm_provider") in LITELLM_PROVIDERS
    ]
    missing = {name for name in names if "claude" in name and not TABLE.knows(litellm_name(name)[0])}
    assert {name for name in missing if not OLD_FAMILIES.search(name)} == set(LITELLM_ONLY)


@pytest.mark.parametrize("prompt_tokens", [90_000, 100_000, 100_001, 900_000])
@pytest.mark.parametrize("way", ["standard", "batch", "fast"])
def test_a_whole_bill_equals_that_of_genai_prices(way, prompt_tokens):
    """A request of every unit at once costs what `calc_price` says, on every model of Anthropic's API."""
    read, written, hourly = prompt_tokens // 2, prompt_tokens // 5, prompt_tokens // 7
    input_tokens = prompt_tokens - read - written - hourly
    used = Usage(input_tokens, 1_234, written, hourly, read, 3, fast=way == "fast", batch=way == "batch")
    theirs = genai_prices.Usage(
        input_tokens=prompt_tokens,
        cache_write_tokens=written + hourly,
        cache_write_1h_tokens=hourly,
        cache_read_tokens=read,
        output_tokens=1_234,
        web_searches=3,
    )
    models = [row.our_name for row in genai_rows() if (row.peer, row.label) == ("genai anthropic", way)]
    for model in set(models) - set(GENAI_SONNET_4_5 if prompt_tokens > 200_000 else ()):
        bill = genai_prices.calc_price(
            theirs,
            model,
            provider_id="anthropic",
            genai_request_timestamp=TODAY,
            price_context=GENAI_CONTEXTS[way],
        )
        nanos = Fraction(bill.total_price) * NANOS_PER_DOLLAR
        assert ceil_nanos(*nanos.as_integer_ratio()) == cost_nanos(TABLE, model, used, milliseconds(TODAY))
    assert len(models) >= {"standard": 20, "batch": 18, "fast": 5}[way]
