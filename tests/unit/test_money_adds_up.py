"""Money adds up: a million settles against this file's own arithmetic, and no float up to the ledger."""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import json
import math
import random
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from ruamel.yaml import YAML
from support.governed import HELLO, Clock, department

from governor import flow, pricing
from governor.clock import LedgerClock
from governor.data import data_file
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution, load
from governor.pricing import Pass, PriceTable, Usage, Way, ceiling, cost_nanos
from governor.story.effects import CountTokens, Ended, Notify, Send
from governor.story.request import House, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

PRICING = Path(pricing.__file__).parent
DATA = YAML(typ="safe").load(data_file("pricing/anthropic.yaml").read_text(encoding="utf-8"))
UNITS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
PLACES = {
    "": ("", None, None),
    "us": ("", "us", "us_percent"),
    "global": ("global", None, None),
    "regional": ("regional", None, "regional_percent"),
    "us-gov": ("us-gov", None, "us_gov_percent"),
}
"""By the place that serves: the endpoint, `inference_geo`, and the percentage in the file."""
DISCOUNT_PERCENT = "7.77"
SEARCH_NANOS = 10_000_000


class Cell(NamedTuple):
    """One model on one day in one way of being served; its prices in `DENOMINATOR`ths of a nano-dollar."""

    model: str
    at_ms: int
    fast: bool
    batch: bool
    geo: str | None
    endpoint: str
    step_tokens: int
    base: tuple[int, ...]
    above: tuple[int, ...]


DENOMINATOR = 10**9
"""Parts of a nano-dollar that every price here is a whole number of."""


def cells(keep: Fraction) -> tuple[Cell, ...]:
    """Every way of serving each dated entry of each model in the file, at *keep* of its token prices."""
    return tuple(
        cell
        for model in DATA["models"]
        for entry in model["prices"]
        for cell in entry_cells(model["id"], entry, keep)
    )


def entry_cells(model: str, entry: Mapping[str, Any], keep: Fraction) -> Iterator[Cell]:
    at_ms = (entry["from"] - dt.date(1970, 1, 1)).days * 86_400_000
    long = entry.get("above") or entry
    for place, fast, batch in product(PLACES, (False, True), (False, True)):
        endpoint, geo, percent = PLACES[place]
        if (fast and ("fast" not in entry or batch or endpoint)) or (batch and "batch_percent" not in entry):
            continue
        if percent is not None and percent not in entry:
            continue
        factor = keep * Fraction(entry["batch_percent"] if batch else 100, 100)
        factor *= Fraction(entry[percent] if percent else 100, 100)
        base, above = (parts(prices, entry, factor, fast=fast) for prices in (entry, long))
        step = long.get("prompt_tokens", math.inf)
        yield Cell(model, at_ms, fast, batch, geo, endpoint, step, base, above)


def parts(
    prices: Mapping[str, Any], entry: Mapping[str, Any], factor: Fraction, *, fast: bool
) -> tuple[int, ...]:
    found = []
    for unit in UNITS:
        exact = Fraction(prices[unit]) * 1_000 * DENOMINATOR * factor
        if fast:
            key = "output" if unit == "output" else "input"
            exact *= Fraction(entry["fast"][key]) / Fraction(entry[key])
        assert exact.denominator == 1
        found.append(exact.numerator)
    return tuple(found)


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    """Every cell, with the shipped table and with a company's own that takes an odd discount off."""
    own = tmp_path_factory.mktemp("prices") / "prices.yaml"
    discount = {"percent": DISCOUNT_PERCENT, "from": dt.date(2025, 1, 1), "source": "a contract"}
    with own.open("w", encoding="utf-8") as file:
        YAML().dump({"version": 1, "extends": "anthropic", "discounts": [discount]}, file)
    listed, discounted = PriceTable.load(), PriceTable.load(own)
    keep = 1 - Fraction(DISCOUNT_PERCENT) / 100
    return [(listed, cell) for cell in cells(Fraction(1))] + [(discounted, cell) for cell in cells(keep)]


def exact_parts(cell: Cell, tokens: tuple[int, int, int, int, int]) -> int:
    """What these tokens of one prompt cost, in parts of a nano-dollar."""
    i, o, w, h, r = tokens
    a, b, d, e, f = cell.above if i + w + h + r > cell.step_tokens else cell.base
    return i * a + o * b + w * d + h * e + r * f


def some_tokens(bits: int) -> tuple[int, int, int, int, int]:
    """Five counts out of 100 random bits: prompts on either side of every step, zeros among them."""
    mask = 0x1FFFF >> (bits & 15)
    return (
        bits >> 4 & mask,
        bits >> 21 & 0x7FFF,
        (bits >> 38 & mask) * (bits >> 90 & 1),
        (bits >> 55 & mask) * (bits >> 91 & 1),
        (bits >> 72 & mask) * (bits >> 92 & 1),
    )


SETTLES = 250_000


@pytest.mark.parametrize("seed", range(4))
def test_a_quarter_million_settles_add_up(seed, ways):
    """Each cost is its exact amount or the next nano-dollar above; so the sum is off by below one each."""
    draw = random.Random(seed).getrandbits
    settled = exact = fractions = 0
    for number in range(SETTLES):
        table, cell = ways[number % len(ways)]
        tokens, searches = some_tokens(draw(100)), number & 3
        owed = exact_parts(cell, tokens) + searches * SEARCH_NANOS * DENOMINATOR
        passes = ()
        if number % 64 == 0:
            compacted = some_tokens(draw(100))
            passes = (Pass(*tokens), Pass(*compacted, kind="compaction"))
            owed += exact_parts(cell, compacted)
        used = Usage(*tokens, searches, cell.fast, cell.batch, cell.geo, passes)
        got = cost_nanos(table, cell.model, used, cell.at_ms, endpoint=cell.endpoint)
        over = got * DENOMINATOR - owed
        assert 0 <= over < DENOMINATOR, (cell, used)
        settled += got
        exact += owed
        fractions += over > 0
    assert 0 <= settled * DENOMINATOR - exact < SETTLES * DENOMINATOR
    assert fractions > SETTLES // 4


def test_the_settles_are_of_every_model_unit_and_way(ways):
    """The draw above covers every dated price, every place and speed, and both sides of every step."""
    cells_ = [cell for _, cell in ways]
    speeds = {(cell.fast, cell.batch) for cell in cells_}
    assert 300 * len(ways) < SETTLES
    assert len({(cell.model, cell.at_ms) for cell in cells_}) == sum(len(m["prices"]) for m in DATA["models"])
    assert {(cell.endpoint, cell.geo) for cell in cells_} == {
        (where, geo) for where, geo, _ in PLACES.values()
    }
    assert speeds == {(False, False), (True, False), (False, True)}
    draw = random.Random(0).getrandbits
    sample = [some_tokens(draw(100)) for _ in range(10_000)]
    for step in {cell.step_tokens for cell in cells_} - {math.inf}:
        assert 100 < sum(i + w + h + r > step for i, _, w, h, r in sample) < 9_900
    for counts in zip(*sample, strict=True):
        assert len(set(counts)) > 1_000


# No float anywhere between the table and the ledger: first, none is written there.

MODULES = (
    *(f"governor.pricing.{path.stem}" for path in sorted(PRICING.glob("*.py")) if path.stem != "__init__"),
    "governor.money",
    "governor.story.settlement",
    "governor.story.matrix",
    "governor.ledger.values",
    "governor.ledger.commands",
    "governor.ledger.admission",
)
FLOAT_MAKERS = {"float", "round", "total_seconds", "timestamp", "fsum", "sqrt", "log", "exp", "pow", "random"}
WHOLE_MATH = {"ceil", "floor", "gcd", "lcm", "inf"}
FRACTIONS = "a Fraction by a Fraction or an int is a Fraction"
EXCEPTIONS = {
    ("governor.pricing.entries", "price", "/"): FRACTIONS,
    ("governor.pricing.table", "_compile", "/"): FRACTIONS,
    ("governor.pricing.compare", "*", "/"): f"{FRACTIONS}; it reads tables for people, no request's price",
    ("governor.pricing.update", "*", "/"): f"{FRACTIONS}; it writes a file of quoted decimals",
}


def floats_in(module: str) -> Iterator[tuple[str, str]]:
    """Where a module's code names, makes or may make a float: the function, and how."""
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {child: function.name for function in functions for child in ast.walk(function)}
    told_apart = {one for node in ast.walk(tree) for one in types_listed(node) if isinstance(one, ast.Name)}
    for node in ast.walk(tree):
        how = "" if node in told_apart else float_in(node)
        if how:
            yield inside.get(node, "<module>"), how


def types_listed(node: ast.AST) -> Iterator[ast.expr]:
    """Types in a list to tell values apart by, as `isinstance` takes it: naming one there makes no float."""
    match node:
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Tuple(elts=listed)]):
            yield from listed
        case ast.Assign(value=ast.Tuple(elts=listed)):
            yield from listed
        case ast.Call(func=ast.Name(id="frozenset"), args=[ast.Set(elts=listed)]):
            yield from listed


def float_in(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=float()):
            return "a literal"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return "/"
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in FLOAT_MAKERS:
            return name
        case ast.Attribute(value=ast.Name(id="math"), attr=name) if name not in WHOLE_MATH:
            return f"math.{name}"
    return ""


def test_no_float_is_written_between_the_table_and_the_ledger():
    """No literal, no name of the type, no division, but those listed with a reason; and these are there."""
    excused = set()
    for module in MODULES:
        for function, how in floats_in(module):
            reasons = {key for key in ((module, function, how), (module, "*", how)) if key in EXCEPTIONS}
            assert reasons, f"{module}.{function}: {how}"
            excused |= reasons
    assert excused == set(EXCEPTIONS)


def test_a_float_that_is_written_is_found():
    """The search above finds what there is to find in a module of seconds."""
    assert {how for _, how in floats_in("governor.story.patience")} == {"a literal", "float", "/"}


# Then, none is there at run time: the values themselves, as a request makes them.


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number in a value of the product, with its path: in fields, mappings and sequences."""
    if isinstance(value, (int, float, complex, Decimal, Fraction)):
        yield path, value
    elif dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        names = getattr(value, "_fields", None) or [field.name for field in dataclasses.fields(value)]
        for name in names:
            yield from numbers(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from numbers(inner, f"{path}[{key}]")
    elif isinstance(value, (list, tuple, AbstractSet)):
        for inner in value:
            yield from numbers(inner, f"{path}[]")
    else:
        assert value is None or isinstance(value, (str, dt.date, bytes)), (path, type(value))


def types_in(*values: Any) -> set[type]:
    """The types of every number in *values*; what is yes or no is none."""
    found = (number for value in values for _, number in numbers(value))
    return {type(number) for number in found if not isinstance(number, bool)}


def test_a_price_is_of_fractions_and_whole_percentages():
    """In the table every amount of money is a Fraction, every percentage and count of tokens an int."""
    table = PriceTable.load()
    for price in (price for model in table.models() for price in table.prices(model.id)):
        assert types_in(price.rates, price.above, price.fast) == {Fraction}
        counts = (price.step_tokens, price.batch_percent, price.us_percent, price.regional_percent)
        assert types_in(*counts, price.us_gov_percent) <= {int}
    assert types_in(table.fees) == {Fraction}


def test_a_tariff_a_cost_and_a_ceiling_are_of_integers(ways):
    """Out of the table, in every way of being served, with an odd discount too, there are integers alone."""
    searching = {"type": "web_search_20260209", "name": "web_search", "max_uses": 2}
    body = {"max_tokens": 777, "messages": HELLO, "tools": [searching]}
    for table, cell in ways:
        way = Way(cell.fast, cell.batch, cell.geo, cell.endpoint)
        assert types_in(table.tariff(cell.model, cell.at_ms, way)) <= {int, type(None)}
        passes = (Pass(3, 1), Pass(5, 7, kind="compaction"))
        used = Usage(3, 1, 4, 1, 5, 9, cell.fast, cell.batch, cell.geo, passes)
        got = cost_nanos(table, cell.model, used, cell.at_ms, endpoint=cell.endpoint)
        asked = {**body, "inference_geo": cell.geo, "speed": "fast" if cell.fast else None}
        most = ceiling(table, cell.model, input_tokens=1_001, counted=True, body=asked, at_ms=cell.at_ms)
        assert types_in(got, most) == {int}


ODD = {
    "input_tokens": 3,
    "output_tokens": 7,
    "cache_read_input_tokens": 11,
    "inference_geo": "us",
    "server_tool_use": {"web_search_requests": 1},
    "iterations": [
        {"type": "compaction", "input_tokens": 13, "output_tokens": 5},
        {"type": "message", "input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": 11},
    ],
}


def drive(story: Any, ledger: SqliteLedger, usage: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """Carry a story out: the commands it gave the ledger with their answers, and what came of it."""
    told: list[Any] = []
    reply: Any = None
    try:
        while True:
            effect = story.send(reply)
            if isinstance(effect, CountTokens):
                reply = 19
            elif isinstance(effect, Send):
                reply = Ended("answered", usage=usage)
            elif isinstance(effect, Notify):
                reply = None
            else:
                reply = ledger.execute(effect)
                told += [effect, reply]
    except StopIteration as done:
        return told, done.value


def test_a_governed_call_takes_integers_to_the_ledger(tmp_path):
    """What a request holds, posts and records, and what the ledger answers, has no number but integers."""
    team = department(
        {"per": "department", "usd": 5, "window": "day"}, {"per": "user", "tokens": 99_999, "window": "day"}
    )
    (tmp_path / "team.yaml").write_text(json.dumps(team), encoding="utf-8")
    house = House(load(tmp_path), PriceTable.load(), LedgerClock(Clock()))
    ledger = SqliteLedger(Path(":memory:"), house.policies.organization, clock=Clock())
    costs, commands = [], []
    for number in range(20):
        asked = Request(f"call-{number}", Attribution("team", "u"), "auto", 100, {"messages": HELLO})
        told, (_, receipt) = drive(flow.govern(house, asked), ledger, {**ODD, "output_tokens": 7 + number})
        commands += told
        costs.append(receipt.cost.nanos)
    kinds = {type(one) for one in commands}
    assert {c.Reserve, c.Settle, c.Held, c.Closed} <= kinds
    assert types_in(commands) == {int}
    for one in commands:
        if isinstance(one, (c.Reserve, c.Settle)):
            assert {type(number) for _, number in numbers(json.loads(one.record))} <= {int, bool}
    assert types_in(costs) == {int}
    (usd,) = (known for known in ledger.execute(c.ListBalances()) if "/usd/" in known.identity)
    ledger.close()
    assert (usd.balance.posted, usd.balance.held) == (sum(costs), 0)
    assert all(later > earlier for earlier, later in pairwise(costs))
