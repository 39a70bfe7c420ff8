"""Read a price file: a whole table, or a company's own file on top of the shipped one."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

from ruamel.yaml.comments import CommentedMap

from governor.accepts import EFFORTS, FORCED, OFF, THINKING
from governor.data import data_file
from governor.errors import GovernorError, nearest
from governor.pricing import checker as c
from governor.pricing.entries import RATES

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

CURRENCY = "USD per million tokens"
SHIPPED = "pricing/anthropic.yaml"
_LINES = ("haiku", "sonnet", "opus", "fable", "mythos")


def read_prices(path: Path | Traversable) -> dict[str, Any]:
    """Read and check a price file.

    Args:
        path: A YAML file in one of the forms of `pricing/schema.json`: a whole table such as
            `pricing/anthropic.yaml`, or a company's own file, which says `extends: anthropic`.

    Returns:
        Plain data in the shape of a whole table: prices stay decimal strings, dates are `datetime.date`, an
        optional key that is absent stays absent. A company's own file is merged into the shipped table; it
        adds `aliases` (name to name) and `discounts` (with the ids of their models, the most particular
        first), and the prices and fees that it gives bear `own`.

    Raises:
        PolicyError: The file cannot be read or is malformed; it lists every problem in the file's order.
    """
    node = c.parse(path)
    checker = c.Checker(str(path))
    try:
        own = isinstance(node, CommentedMap) and "extends" in node
        return _read_own(checker, node) if own else _read_table(checker, node)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, GovernorError):
            raise
        checker.problem(c.TOP, f"is YAML of a kind that is not read here ({error})", "write it plainly")
        checker.refuse()
        raise


@functools.cache
def shipped_prices() -> dict[str, Any]:
    """The shipped table as `read_prices` has it, read once in a process: not to be changed."""
    return read_prices(data_file(SHIPPED))


def _read_table(checker: c.Checker, node: Any) -> dict[str, Any]:
    data = checker.mapping(node, c.TOP, _TABLE)
    if not checker.problems:
        _check_names(checker, data["models"])
        for dated in (data["fees"], *(model["prices"] for model in data["models"])):
            _check_order(checker, dated)
    checker.refuse()
    return data


def _read_own(checker: c.Checker, node: CommentedMap) -> dict[str, Any]:
    base = shipped_prices()
    own = checker.mapping(node, c.TOP, {"version": c.one_of(1), "extends": c.one_of("anthropic")}, _own(base))
    checker.refuse()
    new = [model for model in own.get("models", ()) if "line" in model]
    models = [*base["models"], *new]
    _check_names(checker, models)
    _check_ids(checker, own.get("models", ()))
    _check_steps(checker, own.get("models", ()), base["models"])
    _check_aliases(checker, own.get("aliases", {}), node, _every_name(models, base["bedrock_prefixes"]))
    for dated in (own.get("fees", ()), *(model["prices"] for model in own.get("models", ()))):
        _check_order(checker, dated)
    discounts = [_resolved(checker, one, models) for one in own.get("discounts", ())]
    _check_overlaps(checker, discounts)
    checker.refuse()
    priced = {one["id"]: _marked(one["prices"]) for one in own.get("models", ())}
    return {
        **base,
        "fees": _appended(base["fees"], _marked(own.get("fees", ()))),
        "models": [
            *(
                {**one, "prices": _appended(one["prices"], priced.get(one["id"], ()))}
                for one in base["models"]
            ),
            *({**one, "prices": priced[one["id"]]} for one in new),
        ],
        "aliases": own.get("aliases", {}),
        "discounts": sorted(discounts, key=lambda one: one["width"]),
    }


def _marked(dated: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "own": True} for one in dated]


def _appended(before: Sequence[dict[str, Any]], mine: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Dated entries with a company's own: from the first of its own on, only these count."""
    return [*(one for one in before if not mine or one["from"] < mine[0]["from"]), *mine]


def _check_names(checker: c.Checker, models: Iterable[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for model in models:
        for name in (model["id"], *model["aliases"], *model["bedrock"], *model["vertex"]):
            if name in seen:
                hint = "append a dated price to the first"
                checker.problem(checker.place(model), f"the name {name!r} is used twice", hint)
            seen.add(name)


def _check_ids(checker: c.Checker, models: Iterable[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for model in models:
        if model["id"] in seen:
            hint = "put the prices into one list"
            checker.problem(checker.place(model), f"{model['id']!r} stands here twice", hint)
        seen.add(model["id"])


def _check_steps(checker: c.Checker, own: Iterable[dict[str, Any]], base: Iterable[dict[str, Any]]) -> None:
    """A price of one's own that leaves out the step of the shipped one would lose it without a word."""
    shipped = {model["id"]: model["prices"] for model in base}
    for model in own:
        for price in model["prices"]:
            before = [one for one in shipped.get(model["id"], ()) if one["from"] <= price["from"]]
            if before and before[-1].get("above") and "above" not in price:
                step = before[-1]["above"]["prompt_tokens"]
                message = (
                    f"{model['id']} costs more above {step:,} prompt tokens, and this does not say how much"
                )
                hint = "add `above:`, or `above: null` if the price has no step"
                checker.problem(checker.place(price), message, hint)


def _check_order(checker: c.Checker, dated: Sequence[dict[str, Any]]) -> None:
    for earlier, later in itertools.pairwise(dated):
        if later["from"] <= earlier["from"]:
            message = f"{later['from']} does not come after {earlier['from']}"
            checker.problem(checker.place(later), message, "keep the prices in the order of their dates")


def _every_name(models: Iterable[dict[str, Any]], prefixes: Iterable[str]) -> set[str]:
    names = {name for model in models for name in (model["id"], *model["aliases"], *model["vertex"])}
    bedrock = {name for model in models for name in model["bedrock"]}
    return names | bedrock | {f"{prefix}.{name}" for prefix in prefixes for name in bedrock}


def _one_based(node: Any, alias: str) -> c.Place:
    line, column = node["aliases"].lc.key(alias)
    return line + 1, column + 1


def _check_aliases(checker: c.Checker, aliases: dict[str, str], node: Any, known: set[str]) -> None:
    for alias, name in aliases.items():
        if alias in (*_LINES, "auto"):
            told = f"{alias!r} is a word of the policy language, so no request would be priced by this alias"
            checker.problem(_one_based(node, alias), told, "use another name")
            continue
        at = _one_based(node, alias)
        if name not in known:
            message = f"the alias {alias!r} points nowhere: there is no model {name!r}"
            checker.problem(at, message, nearest(name, known))
        if alias in known:
            checker.problem(at, f"{alias!r} is a model's name already", "remove it")


def _resolved(
    checker: c.Checker, discount: dict[str, Any], models: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """A discount with the ids of its models, and how wide it is: 0 models, 1 lines, 2 everything."""
    at = checker.place(discount)
    ids = {model["id"]: model["line"] for model in models}
    named, lines = discount.get("models"), discount.get("lines")
    for name in named or ():
        if name not in ids:
            checker.problem(at, f"a discount on {name!r}, which is no model's id", nearest(name, ids))
    for key in ("models", "lines"):
        if discount.get(key) == []:
            checker.problem(at, f"a discount on no {key}", f"name some, or leave `{key}` out for everything")
    if named and lines:
        checker.problem(at, "a discount is on models or on lines, not on both", "write two")
    if discount.get("until") is not None and discount["until"] < discount["from"]:
        checker.problem(at, f"a discount until {discount['until']}, before it begins", "correct its dates")
    chosen = named or [name for name, line in ids.items() if not lines or line in lines]
    return {**discount, "models": sorted(chosen), "width": 0 if named else 1 if lines else 2, "at": at}


def _check_overlaps(checker: c.Checker, discounts: Sequence[dict[str, Any]]) -> None:
    """Refuse two discounts of the same width on one model at one time, and take out their places."""
    for index, one in enumerate(discounts):
        for other in discounts[:index]:
            shared = set(one["models"]) & set(other["models"])
            if one["width"] == other["width"] and shared and _meet(one, other):
                message = f"two discounts on {min(shared)} at the same time; they do not add up"
                checker.problem(one["at"], message, "end the earlier one before, or write one")
    for one in discounts:
        del one["at"]


def _meet(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def ends_before(first: dict[str, Any], second: dict[str, Any]) -> bool:
        until: dt.date | None = first.get("until")
        return until is not None and until < second["from"]

    return not (ends_before(one, other) or ends_before(other, one))


def _above(checker: c.Checker, value: Any, at: c.Place) -> dict[str, Any] | None:
    return None if value is None else checker.mapping(value, at, {"prompt_tokens": c.whole, **_RATES})


def _fast(checker: c.Checker, value: Any, at: c.Place) -> dict[str, Any]:
    return checker.mapping(value, at, {"input": c.decimal, "output": c.decimal})


def _price(checker: c.Checker, value: Any, at: c.Place) -> dict[str, Any]:
    optional: c.Fields = {"above": _above, "fast": _fast, **dict.fromkeys(_PERCENTS, c.percent)}
    return checker.mapping(value, at, {**_DATED, **_RATES}, {**optional, "listed": c.yes})


def _prices(checker: c.Checker, value: Any, at: c.Place) -> list[dict[str, Any]]:
    items = checker.sequence(value, at, _price, "dated prices")
    if not items:
        checker.problem(at, "a model needs at least one dated price", "remove the model, or price it")
    return items


def _fee(checker: c.Checker, value: Any, at: c.Place) -> dict[str, Any]:
    return checker.mapping(value, at, {**_DATED, "web_search_per_thousand": c.decimal}, {"listed": c.yes})


def _fees(checker: c.Checker, value: Any, at: c.Place) -> list[dict[str, Any]]:
    items = checker.sequence(value, at, _fee, "dated fees")
    if not items:
        checker.problem(at, "a web search needs a price", "add a dated entry")
    return items


def _prefixes(checker: c.Checker, value: Any, at: c.Place) -> dict[str, str]:
    return checker.table(value, at, c.one_of("global", "regional", "us-gov"), "prefixes")


def _some_of(*allowed: str) -> c.Check:
    """A list of some of these values, none of them twice."""

    def check(checker: c.Checker, value: Any, at: c.Place) -> list[str]:
        found = checker.sequence(value, at, c.one_of(*allowed), "words")
        if len(set(found)) < len(found):
            checker.problem(at, "a word stands here twice", "name each once")
        return found

    return check


def _accepts(checker: c.Checker, value: Any, at: c.Place) -> dict[str, Any]:
    found = checker.mapping(value, at, {"source": c.text, "checked": c.date}, _ACCEPTED)
    if "thinking_off_up_to" in found and not set(OFF) & set(found.get("thinking", OFF)):
        hint = "leave out `thinking_off_up_to`"
        checker.problem(at, "the model's thinking is never off, so there is no highest effort for it", hint)
    return found


def _model(checker: c.Checker, value: Any, at: c.Place) -> dict[str, Any]:
    return checker.mapping(value, at, _MODEL, _MORE)


def _models(checker: c.Checker, value: Any, at: c.Place) -> list[dict[str, Any]]:
    return checker.sequence(value, at, _model, "models")


def _lines(checker: c.Checker, value: Any, at: c.Place) -> list[str]:
    return checker.sequence(value, at, c.one_of(*_LINES), "lines")


def _discount(checker: c.Checker, value: Any, at: c.Place) -> dict[str, Any]:
    required: c.Fields = {"percent": c.share, "from": c.date, "source": c.text}
    return checker.mapping(value, at, required, {"models": c.texts, "lines": _lines, "until": c.date_or_null})


def _own(base: dict[str, Any]) -> c.Fields:
    """What a company's own file may say: prices appended to a known model, and whole models."""
    known = {model["id"] for model in base["models"]}

    def model(checker: c.Checker, value: Any, at: c.Place) -> dict[str, Any]:
        name = value.get("id") if isinstance(value, CommentedMap) else None
        shipped = isinstance(name, str) and name in known
        return checker.mapping(
            value, at, {"id": c.text, "prices": _prices} if shipped else _MODEL, {} if shipped else _MORE
        )

    return {
        "currency": c.one_of(CURRENCY),
        "aliases": lambda checker, value, at: checker.table(value, at, c.text, "names to names"),
        "discounts": lambda checker, value, at: checker.sequence(value, at, _discount, "discounts"),
        "fees": _fees,
        "models": lambda checker, value, at: checker.sequence(value, at, model, "models"),
    }


_RATES: c.Fields = dict.fromkeys(RATES, c.decimal)
_DATED: c.Fields = {"from": c.date, "source": c.text, "checked": c.date}
_PERCENTS = ("batch_percent", "us_percent", "regional_percent", "us_gov_percent")
_MODEL: c.Fields = {
    "id": c.text,
    "line": c.one_of(*_LINES),
    "aliases": c.texts,
    "bedrock": c.texts,
    "vertex": c.texts,
    "context": c.whole,
    "max_output": c.whole,
    "tokenizer": c.whole,
    "lifecycle": c.one_of("active", "legacy", "deprecated", "retired"),
    "retires": c.date_or_null,
    "retires_not_before": c.date_or_null,
    "prices": _prices,
}
_MORE: c.Fields = {"accepts": _accepts}
_ACCEPTED: c.Fields = {
    "thinking": _some_of(*THINKING),
    "thinking_off_up_to": c.one_of(*EFFORTS),
    "efforts": _some_of(*EFFORTS),
    "forced_tool_choice": c.one_of(*FORCED),
    "prefill": c.flag,
    "inference_geo": c.flag,
}
_TABLE: c.Fields = {
    "version": c.one_of(1),
    "currency": c.one_of(CURRENCY),
    "fees": _fees,
    "bedrock_prefixes": _prefixes,
    "models": _models,
}
