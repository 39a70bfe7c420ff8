"""Exact costs: every price dimension by hand, rounded up once by less than one nano-dollar."""

from __future__ import annotations

import ast
import inspect
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import pricing
from governor.errors import UnknownModel
from governor.pricing import PriceTable, Usage, bound, cost, cost_nanos, estimate, read, table, usage

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
        ("claude-haiku-4-5", Usage(1, geo="us"), "inference_geo 'us'"),
        ("claude-opus-5-5", Usage(1, geo="mars"), "inference_geo 'mars'"),
        ("claude-mythos-preview", Usage(1, batch=True), "batches"),
    ],
)
def test_what_has_no_price_is_refused(model, used, told):
    """An unknown model or an unpriced way of being served is an error, never $0."""
    with pytest.raises(UnknownModel, match=told):
        cost_nanos(TABLE, model, used, NOW_MS)


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


def test_no_float_in_the_room():
    """No module of the pricing room holds a float literal or calls float() or round()."""
    for module in (pricing, bound, cost, estimate, read, table, usage):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), module
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
            assert called not in ("float", "round"), module
    rates = [TABLE.price_at(model.id, NOW_MS).rates for model in TABLE.models()]
    assert all(type(rate.input) is type(rate.cache_read) is Fraction for rate in rates)
