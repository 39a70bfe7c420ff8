"""Exact costs: every price dimension by hand, rounded up once by less than one nano-dollar."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import UnknownModel
from governor.pricing import Pass, PriceTable, Usage, cost_nanos, own_name

TABLE = PriceTable.load()
NOW_MS = 1_795_219_200_000  # 2026-11-21
SINGLE = tuple(model.id for model in TABLE.models() if TABLE.price_at(model.id, NOW_MS).above is None)


def dollars(amount: str) -> int:
    nanos = Decimal(amount) * 10**9
    assert nanos == int(nanos)
    return int(nanos)


def mtok(*parts: tuple[str, int]) -> Decimal:
    return sum((Decimal(rate) * tokens * 1000 for rate, tokens in parts), Decimal(0))


ALL_KINDS = Usage(1_000, 200, 300, 40, 50_000)


def test_every_kind_of_token_has_its_price():
    """Sonnet 5.5: input, output, both cache writes and the cache read each at their own rate."""
    expected = mtok(("2", 1_000), ("10", 200), ("2.50", 300), ("4", 40), ("0.10", 50_000))
    assert expected == cost_nanos(TABLE, "claude-sonnet-5-5", ALL_KINDS, NOW_MS)


def test_a_million_tokens_cost_the_listed_price():
    """A million input and a million output tokens of Opus 5.5 cost $4 and $20."""
    assert dollars("4") == cost_nanos(TABLE, "claude-opus-5-5", Usage(input_tokens=10**6), NOW_MS)
    assert dollars("20") == cost_nanos(TABLE, "claude-opus-5-5", Usage(output_tokens=10**6), NOW_MS)


def test_price_of_the_day_is_used():
    """The same usage costs what the entry in force at its instant says."""
    usage_read = Usage(cache_read_tokens=1_000_000)
    oct_7_ms = 1_791_331_200_000
    assert dollars("0.20") == cost_nanos(TABLE, "claude-sonnet-5-5", usage_read, oct_7_ms - 1)
    assert dollars("0.10") == cost_nanos(TABLE, "claude-sonnet-5-5", usage_read, oct_7_ms)


@pytest.mark.parametrize(
    "extra", [Usage(), Usage(cache_read_tokens=60_000), Usage(cache_write_1h_tokens=60_000)]
)
def test_long_prompt_reprices_every_token(extra):
    """Haiku 5.5 above 100,000 prompt tokens, cached ones counted, charges all tokens at the higher rates."""
    cached = extra.prompt_tokens

    def at(prompt_tokens: int) -> int:
        used = Usage(prompt_tokens - cached, 1_000, 0, extra.cache_write_1h_tokens, extra.cache_read_tokens)
        return cost_nanos(TABLE, "claude-haiku-5-5", used, NOW_MS)

    written, read_ = extra.cache_write_1h_tokens, extra.cache_read_tokens
    assert at(100_000) == mtok(
        ("0.10", 100_000 - cached), ("0.50", 1_000), ("0.20", written), ("0.01", read_)
    )
    assert at(100_001) == mtok(
        ("0.50", 100_001 - cached), ("2.50", 1_000), ("1.00", written), ("0.05", read_)
    )


def test_batch_pays_half_of_every_token_and_all_of_a_search():
    """A batch halves tokens, cached ones too; web searches stay $10 per thousand."""
    used = Usage(1_000, 200, 300, 40, 50_000, web_searches=3, batch=True)
    expected = mtok(("2", 1_000), ("10", 200), ("2.50", 300), ("4", 40), ("0.10", 50_000)) / 2 + dollars(
        "0.03"
    )
    assert expected == cost_nanos(TABLE, "claude-sonnet-5-5", used, NOW_MS)


def test_fast_mode_scales_cache_prices_too():
    """Opus 5.5 in fast mode: 8 and 40, and cache prices times 8/4."""
    used = Usage(1_000, 200, 300, 40, 50_000, fast=True)
    expected = mtok(("8", 1_000), ("40", 200), ("10", 300), ("16", 40), ("0.40", 50_000))
    assert expected == cost_nanos(TABLE, "claude-opus-5-5", used, NOW_MS)


def test_fast_mode_and_long_prompt_of_its_time():
    """Opus 4.6 in February 2026, fast and above 200,000 tokens, cost 60 and 225."""
    feb_20_ms = 1_771_545_600_000
    used = Usage(200_001, 10, fast=True)
    assert mtok(("60", 200_001), ("225", 10)) == cost_nanos(TABLE, "claude-opus-4-6", used, feb_20_ms)


def test_served_in_the_us_costs_a_tenth_more():
    """A reported `us` multiplies every token price by 1.1; other places do not."""
    plain = cost_nanos(TABLE, "claude-opus-5-5", ALL_KINDS, NOW_MS)
    for geo in (None, "global", "not_available"):
        used = Usage(1_000, 200, 300, 40, 50_000, geo=geo)
        assert plain == cost_nanos(TABLE, "claude-opus-5-5", used, NOW_MS)
    used = Usage(1_000, 200, 300, 40, 50_000, geo="us")
    assert plain * Fraction(11, 10) == cost_nanos(TABLE, "claude-opus-5-5", used, NOW_MS)


def test_alias_costs_what_its_model_costs():
    """A dated id is priced as the model it names."""
    plain = cost_nanos(TABLE, "claude-haiku-4-5", ALL_KINDS, NOW_MS)
    assert plain == cost_nanos(TABLE, "claude-haiku-4-5-20251001", ALL_KINDS, NOW_MS) > 0


@pytest.mark.parametrize(
    ("model", "used", "told"),
    [
        ("claude-nobody", Usage(1), "claude-nobody"),
        ("claude-haiku-5-5", Usage(1, fast=True), "fast mode"),
        ("claude-opus-5-5", Usage(1, fast=True, batch=True), "fast mode in a batch"),
        ("global.anthropic.claude-opus-5-5", Usage(1, fast=True), "fast mode on a cloud"),
        ("claude-haiku-4-5", Usage(1, geo="us"), "inference_geo 'us'"),
        ("claude-opus-5-5", Usage(1, geo="mars"), "inference_geo 'mars'"),
        ("claude-mythos-preview", Usage(1, batch=True), "batches"),
        ("us-gov.anthropic.claude-opus-4-6-v1", Usage(1), "government region"),
        ("mars.anthropic.claude-opus-5-5", Usage(1), "mars.anthropic.claude-opus-5-5"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2", Usage(1), "a1b2"),
        ("claude-opus-5-5@default", Usage(1), "does not tell its endpoint"),
    ],
)
def test_what_has_no_price_is_refused(model, used, told):
    """An unknown model or an unpriced way of being served is an error, never $0."""
    with pytest.raises(UnknownModel, match=told):
        cost_nanos(TABLE, model, used, NOW_MS)


def test_a_model_has_no_price_before_its_first():
    """A request older than the model's first entry is refused; one of its first day is not."""
    nov_9_ms = 1_794_182_400_000
    assert cost_nanos(TABLE, "claude-fable-5-2", Usage(1), nov_9_ms) == 8_000
    with pytest.raises(UnknownModel, match="no price before 2026-11-09"):
        cost_nanos(TABLE, "claude-fable-5-2", Usage(1), nov_9_ms - 1)


PLAIN = cost_nanos(TABLE, "claude-sonnet-5-5", ALL_KINDS, NOW_MS)
ARN = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile"


@pytest.mark.parametrize(
    ("name", "endpoint", "percent"),
    [
        ("global.anthropic.claude-sonnet-5-5", "", 100),
        ("anthropic.claude-sonnet-5-5", "", 110),
        ("us.anthropic.claude-sonnet-5-5", "", 110),
        ("eu.anthropic.claude-sonnet-5-5", "", 110),
        ("apac.anthropic.claude-sonnet-5-5", "", 110),
        ("au.anthropic.claude-sonnet-5-5", "", 110),
        ("in.anthropic.claude-sonnet-5-5", "", 110),
        ("jp.anthropic.claude-sonnet-5-5", "", 110),
        ("us-gov.anthropic.claude-sonnet-5-5", "", 120),
        ("global.anthropic.claude-sonnet-5-5", "regional", 100),
        ("eu.anthropic.claude-sonnet-5-5", "global", 110),
        (f"{ARN}/global.anthropic.claude-sonnet-5-5", "", 100),
        (f"{ARN}/eu.anthropic.claude-sonnet-5-5", "", 110),
        ("arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-sonnet-5-5", "", 110),
        ("claude-sonnet-5-5@default", "global", 100),
        ("claude-sonnet-5-5@default", "regional", 110),
        ("claude-sonnet-5-5", "global", 100),
        ("claude-sonnet-5-5", "regional", 110),
        ("claude-sonnet-5-5", "us-gov", 120),
    ],
)
@pytest.mark.parametrize("geo", [None, "us"])
def test_a_clouds_endpoint_multiplies_every_token(name, endpoint, percent, geo):
    """A Bedrock name tells its endpoint, a Vertex name is told it; `inference_geo` adds nothing to it."""
    used = replace(ALL_KINDS, geo=geo)
    assert PLAIN * percent == 100 * cost_nanos(TABLE, name, used, NOW_MS, endpoint=endpoint)


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-sonnet-5-5", ""),
        ("anthropic.claude-sonnet-5-5", "us-gov"),
    ],
    ids=["by its partition", "by the policy"],
)
def test_a_government_region_is_paid_however_it_is_told(name, endpoint):
    """A model called without a prefix in a government region costs what that region costs: 1.2 times."""
    assert 100 * cost_nanos(TABLE, name, ALL_KINDS, NOW_MS, endpoint=endpoint) == PLAIN * 120


@pytest.mark.parametrize("prompt_tokens", [100_000, 100_001])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("geo", "endpoint"), [(None, ""), ("us", ""), (None, "regional"), (None, "us-gov")])
def test_batch_region_cache_and_step_stack(prompt_tokens, batch, geo, endpoint):
    """Haiku 5.5: half for a batch, times the region, at the prices of the step, on every kind of token."""
    used = Usage(prompt_tokens - 90_000, 777, 30_000, 20_000, 40_000, 5, batch=batch, geo=geo)
    step = 5 if prompt_tokens > 100_000 else 1
    tokens = step * mtok(
        ("0.10", prompt_tokens - 90_000), ("0.50", 777), ("0.125", 30_000), ("0.20", 20_000), ("0.01", 40_000)
    )
    region = Fraction({"us-gov": 12, "regional": 11}.get(endpoint, 11 if geo else 10), 10)
    exact = Fraction(tokens) * region / (2 if batch else 1) + dollars("0.05")
    got = cost_nanos(TABLE, "claude-haiku-5-5", used, NOW_MS, endpoint=endpoint)
    assert got == -(-exact.numerator // exact.denominator)


def test_fast_mode_stacks_with_the_us_and_the_cache():
    """Opus 5.5, fast in the US: twice and 1.1 times every price, its cache's too."""
    used = replace(ALL_KINDS, fast=True, geo="us")
    doubled = mtok(("8", 1_000), ("40", 200), ("10", 300), ("16", 40), ("0.40", 50_000))
    assert doubled * 110 == 100 * cost_nanos(TABLE, "claude-opus-5-5", used, NOW_MS)


def test_fast_mode_ends_on_its_day():
    """Opus 4.8 has a fast price to the last millisecond of 2026-11-29, and none after."""
    nov_30_ms = 1_795_996_800_000
    assert cost_nanos(TABLE, "claude-opus-4-8", Usage(1, fast=True), nov_30_ms - 1) == 10_000
    with pytest.raises(UnknownModel, match="fast mode"):
        cost_nanos(TABLE, "claude-opus-4-8", Usage(1, fast=True), nov_30_ms)


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("claude-haiku-5-5", Usage(web_searches=7)),
        ("claude-haiku-5-5", Usage(web_searches=7, batch=True)),
        ("claude-haiku-5-5", Usage(web_searches=7, geo="us")),
        ("claude-opus-5-5", Usage(web_searches=7, fast=True)),
        ("us-gov.anthropic.claude-haiku-5-5", Usage(web_searches=7, batch=True)),
    ],
)
def test_a_web_search_costs_the_same_in_every_way(name, used):
    """$10 a thousand, in a batch, in any region and in fast mode."""
    assert cost_nanos(TABLE, name, used, NOW_MS) == dollars("0.07")


HAIKU, OPUS, OLD_HAIKU = "claude-haiku-5-5", "claude-opus-5-5", "claude-haiku-4-5"


def test_each_pass_is_priced_at_its_own_step():
    """Two prompts of 60,000 tokens are not one of 120,000; one of 100,001 pays the step alone."""
    small, large = Pass(60_000, 10), Pass(100_001, 10)
    twice = Usage(120_000, 20, passes=(small, small))
    assert cost_nanos(TABLE, HAIKU, twice, NOW_MS) == mtok(("0.10", 120_000), ("0.50", 20))
    mixed = Usage(160_001, 20, passes=(small, large))
    expected = mtok(("0.10", 60_000), ("0.50", 10), ("0.50", 100_001), ("2.50", 10))
    assert cost_nanos(TABLE, HAIKU, mixed, NOW_MS) == expected
    once = Usage(120_000, 20)
    assert cost_nanos(TABLE, HAIKU, once, NOW_MS) == mtok(("0.50", 120_000), ("2.50", 20))


def test_each_pass_is_priced_at_its_own_model():
    """Compaction by the model that served, an advisor by its own at standard speed, a fallback by its own."""
    passes = (
        Pass(900, 80, kind="compaction"),
        Pass(40, 9, 6, 5, 30, kind="message", model=OPUS),
        Pass(700, 70, kind="advisor_message", model="claude-fable-5-1"),
        Pass(20, 4, kind="fallback_message", model="claude-fable-5-2"),
    )
    used = Usage(60, 13, 6, 5, 30, web_searches=2, fast=True, passes=passes)
    expected = (
        mtok(("8", 900), ("40", 80))
        + mtok(("8", 40), ("40", 9), ("10", 6), ("16", 5), ("0.40", 30))
        + mtok(("10", 700), ("50", 70))
        + mtok(("16", 20), ("80", 4))
        + dollars("0.02")
    )
    assert cost_nanos(TABLE, OPUS, used, NOW_MS) == expected


def test_region_and_batch_reach_every_pass():
    """A pass of another model is paid at the endpoint that served, and at half in a batch."""
    passes = (Pass(1_000, 100, kind="compaction"), Pass(3_000, 10, kind="advisor_message", model=OPUS))
    used = Usage(passes=passes, batch=True)
    tokens = mtok(("2", 1_000), ("10", 100), ("4", 3_000), ("20", 10))
    assert tokens * 60 == 100 * cost_nanos(TABLE, "us-gov.anthropic.claude-sonnet-5-5", used, NOW_MS)
    assert tokens * 55 == 100 * cost_nanos(TABLE, "claude-sonnet-5-5", replace(used, geo="us"), NOW_MS)


def test_totals_beyond_the_passes_are_paid_at_the_model_that_served():
    """What the totals show and no pass does is never lost."""
    used = Usage(1_500, 90, passes=(Pass(1_000, 80, model=OPUS),))
    expected = mtok(("4", 1_000), ("20", 80), ("2", 500), ("10", 10))
    assert cost_nanos(TABLE, "claude-sonnet-5-5", used, NOW_MS) == expected


def test_a_pass_of_no_known_kind_is_paid():
    """A kind of iteration that comes tomorrow costs its tokens, beside the totals."""
    used = Usage(10, 5, passes=(Pass(10, 5, model=OPUS), Pass(100, 50, kind="dream", model=OPUS)))
    assert cost_nanos(TABLE, OPUS, used, NOW_MS) == mtok(("4", 110), ("20", 55))


def test_a_declined_hop_costs_nothing():
    """A fallback's attempt without output is not paid; the hop that served is, at its own price."""
    passes = (Pass(5_000, 0, model=OPUS, free=True), Pass(50, 7, kind="fallback_message", model=OLD_HAIKU))
    assert cost_nanos(TABLE, OPUS, Usage(50, 7, passes=passes), NOW_MS) == mtok(("1", 50), ("5", 7))


def test_an_answer_refused_before_any_output_costs_nothing():
    """Its own tokens are free; what compaction used is not."""
    assert cost_nanos(TABLE, OPUS, Usage(5_000, 0).declined(), NOW_MS) == 0
    summary = Pass(1_000, 100, kind="compaction")
    used = Usage(5_000, 0, passes=(summary, Pass(5_000, 0))).declined()
    assert cost_nanos(TABLE, OPUS, used, NOW_MS) == mtok(("4", 1_000), ("20", 100))


def test_a_pass_of_a_model_without_a_price_is_refused():
    """An iteration's unknown model is an error, as the request's own would be."""
    used = Usage(1, 1, passes=(Pass(1, 1, kind="advisor_message", model="claude-nobody"),))
    with pytest.raises(UnknownModel, match="claude-nobody"):
        cost_nanos(TABLE, OPUS, used, NOW_MS)


def test_passes_are_rounded_up_once_together():
    """Two passes of 5.5 nano-dollars each cost 11, not 12."""
    one = Pass(cache_read_tokens=1)
    used = Usage(cache_read_tokens=2, geo="us", batch=True, passes=(one, one))
    assert cost_nanos(TABLE, HAIKU, used, NOW_MS) == 11


@pytest.mark.parametrize(
    ("asked", "named", "priced_by"),
    [
        ("us.anthropic.claude-opus-5-5", "claude-opus-5-5", "us.anthropic.claude-opus-5-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("claude-opus-5-5", "", "claude-opus-5-5"),
        ("claude-opus-5-5", "claude-sonnet-5-5", "claude-sonnet-5-5"),
    ],
)
def test_the_name_asked_for_is_kept_where_it_is_the_same_model(asked, named, priced_by):
    """It tells the endpoint; only another model takes its place."""
    assert own_name(TABLE, asked, named) == priced_by


TOKENS = st.integers(0, 2_000_000)


@given(
    model=st.sampled_from(SINGLE),
    counts=st.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS),
    us=st.booleans(),
    batch=st.booleans(),
)
def test_rounding_is_up_by_less_than_one_nano(model, counts, us, batch):
    """The cost is the exact amount or the next whole nano-dollar above it."""
    price = TABLE.price_at(model, NOW_MS)
    us, batch = us and price.us_percent is not None, batch and price.batch_percent is not None
    rates = price.rates
    each = (rates.input, rates.output, rates.cache_write_5m, rates.cache_write_1h, rates.cache_read)
    exact = sum((n * rate for n, rate in zip(counts, each, strict=True)), Fraction(0))
    exact *= (Fraction(110, 100) if us else 1) * (Fraction(1, 2) if batch else 1)
    got = cost_nanos(TABLE, model, Usage(*counts, geo="us" if us else None, batch=batch), NOW_MS)
    assert isinstance(got, int)
    assert 0 <= got - exact < 1


def test_a_fraction_of_a_nano_is_rounded_up():
    """An exact cost of 5.5 nano-dollars is charged as 6."""
    one = Usage(cache_read_tokens=1, geo="us", batch=True)  # 10 nanos x 1.1 / 2 = 5.5
    assert cost_nanos(TABLE, "claude-haiku-5-5", one, NOW_MS) == 6
