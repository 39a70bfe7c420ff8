"""Read a price file and check its form; every problem is told with its line and column."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from governor.errors import PolicyError, Problem, nearest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

_Place = tuple[int, int]
_Check = Callable[["_Checker", Any, _Place], Any]
_Fields = dict[str, _Check]
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_TOP = (1, 1)
CURRENCY = "USD per million tokens"


def read_prices(path: Path | Traversable) -> dict[str, Any]:
    """Read and check a price file.

    Args:
        path: A YAML file in the form of `pricing/anthropic.yaml` (its JSON schema is `pricing/schema.json`).

    Returns:
        Plain data in the shape of the file: prices stay decimal strings, dates are `datetime.date`, an
        optional key that is absent stays absent.

    Raises:
        PolicyError: The file cannot be read or is malformed; it lists every problem in the file's order.
    """
    checker = _Checker(str(path))
    data = checker.mapping(_parse(path), _TOP, _FILE_FIELDS)
    if not checker.problems:
        _check_across(checker, data)
    if checker.problems:
        raise PolicyError(sorted(checker.problems, key=lambda problem: (problem.line, problem.column)))
    return data


def _parse(path: Path | Traversable) -> Any:
    def refuse(message: str, hint: str = "", at: _Place = (0, 0)) -> NoReturn:
        raise PolicyError([Problem(str(path), *at, message, hint)]) from None

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        refuse(f"cannot be read: {error.strerror or error}", "name an existing price file")
    except UnicodeDecodeError as error:
        refuse(f"is not UTF-8 (byte {error.start + 1})", "save it as UTF-8")
    try:
        return YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        refuse(f"is not YAML: {error.problem}", "", at)
    except YAMLError as error:
        refuse(f"is not YAML: {error}".replace("\n", " "))


class _Checker:
    """Turns positioned YAML into plain data and collects what is wrong on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.model_places: list[_Place] = []
        self.price_places: list[list[_Place]] = []

    def problem(self, at: _Place, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, *at, message, hint))

    def mapping(
        self, node: Any, at: _Place, fields: _Fields, optional: _Fields | None = None
    ) -> dict[str, Any]:
        if not isinstance(node, CommentedMap):
            self.problem(at, f"expected {', '.join(fields)}, got {_told(node)}")
            return {}
        known = {**fields, **(optional or {})}
        misspelt = {key: nearest(str(key), known) for key in node if key not in known}
        for key, hint in misspelt.items():
            self.problem(_one_based(node.lc.key(key)), f"unknown key {str(key)!r}", hint)
        for key in fields:
            # A misspelt key is told once, not also as the missing one.
            if key not in node and f"did you mean {key!r}?" not in misspelt.values():
                self.problem(at, f"{key!r} is missing", f"add `{key}:`")
        return {
            key: check(self, node[key], _one_based(node.lc.value(key)))
            for key, check in known.items()
            if key in node
        }

    def sequence(self, node: Any, at: _Place, check: _Check, what: str) -> list[tuple[Any, _Place]]:
        if not isinstance(node, CommentedSeq):
            self.problem(at, f"expected a list of {what}, got {_told(node)}")
            return []
        places = [_one_based(node.lc.item(index)) for index in range(len(node))]
        return [(check(self, item, place), place) for item, place in zip(node, places, strict=True)]


def _one_based(place: tuple[int, int]) -> _Place:
    return place[0] + 1, place[1] + 1


def _told(value: Any) -> str:
    if isinstance(value, (CommentedMap, CommentedSeq)):
        return "a mapping" if isinstance(value, CommentedMap) else "a list"
    return "nothing" if value is None else repr(str(value))


def _text(checker: _Checker, value: Any, at: _Place) -> str:
    if isinstance(value, str) and value.strip():
        return str(value)
    checker.problem(at, f"expected a text, got {_told(value)}")
    return ""


def _decimal(checker: _Checker, value: Any, at: _Place) -> str:
    if isinstance(value, str) and _DECIMAL.fullmatch(value) and value.strip("0."):
        return str(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    hint = f'quote it: "{value}"' if number else 'for example "0.10"'
    checker.problem(at, f"expected a quoted decimal above 0, got {_told(value)}", hint)
    return "1"


def _whole(checker: _Checker, value: Any, at: _Place) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return int(value)
    checker.problem(at, f"expected a whole number above 0, got {_told(value)}")
    return 1


def _date(checker: _Checker, value: Any, at: _Place) -> dt.date:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    checker.problem(at, f"expected a date, got {_told(value)}", "for example 2026-10-07")
    return dt.date.min


def _date_or_null(checker: _Checker, value: Any, at: _Place) -> dt.date | None:
    return None if value is None else _date(checker, value, at)


def _one_of(*allowed: Any) -> _Check:
    def check(checker: _Checker, value: Any, at: _Place) -> Any:
        if value in allowed and not isinstance(value, (bool, float)):
            return value
        names = " or ".join(str(one) for one in allowed)
        checker.problem(at, f"expected {names}, got {_told(value)}")
        return allowed[0]

    return check


def _percent(checker: _Checker, value: Any, at: _Place) -> int:
    percent = _whole(checker, value, at)
    if percent > 1000:
        checker.problem(at, f"{percent} percent is no multiplier", "100 changes nothing, 50 halves the price")
    return percent


def _aliases(checker: _Checker, value: Any, at: _Place) -> list[str]:
    return [alias for alias, _ in checker.sequence(value, at, _text, "model ids")]


def _above(checker: _Checker, value: Any, at: _Place) -> dict[str, Any]:
    return checker.mapping(value, at, {"prompt_tokens": _whole, **_RATES})


def _fast(checker: _Checker, value: Any, at: _Place) -> dict[str, Any]:
    return checker.mapping(value, at, {"input": _decimal, "output": _decimal})


def _price(checker: _Checker, value: Any, at: _Place) -> dict[str, Any]:
    required: _Fields = {"from": _date, "source": _text, "checked": _date, **_RATES}
    optional: _Fields = {"above": _above, "fast": _fast, "batch_percent": _percent, "us_percent": _percent}
    return checker.mapping(value, at, required, optional)


def _prices(checker: _Checker, value: Any, at: _Place) -> list[dict[str, Any]]:
    items = checker.sequence(value, at, _price, "dated prices")
    checker.price_places.append([place for _, place in items])
    if not items:
        checker.problem(at, "a model needs at least one dated price", "remove the model, or price it")
    return [item for item, _ in items]


def _model(checker: _Checker, value: Any, at: _Place) -> dict[str, Any]:
    return checker.mapping(value, at, _MODEL_FIELDS)


def _models(checker: _Checker, value: Any, at: _Place) -> list[dict[str, Any]]:
    items = checker.sequence(value, at, _model, "models")
    checker.model_places = [place for _, place in items]
    return [item for item, _ in items]


def _check_across(checker: _Checker, data: dict[str, Any]) -> None:
    """What no single value shows: names used twice, and entries out of their order."""
    seen: set[str] = set()
    for model, at, places in zip(data["models"], checker.model_places, checker.price_places, strict=True):
        for name in (model["id"], *model["aliases"]):
            if name in seen:
                checker.problem(at, f"the name {name!r} is used twice", "append a dated price to the first")
            seen.add(name)
        dates = [price["from"] for price in model["prices"]]
        for earlier, later, place in zip(dates, dates[1:], places[1:], strict=False):
            if later <= earlier:
                checker.problem(
                    place,
                    f"{later} does not come after {earlier}",
                    "keep the prices in the order of their dates",
                )


_RATES: _Fields = dict.fromkeys(
    ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), _decimal
)
_MODEL_FIELDS: _Fields = {
    "id": _text,
    "line": _text,
    "aliases": _aliases,
    "context": _whole,
    "max_output": _whole,
    "tokenizer": _whole,
    "retires": _date_or_null,
    "prices": _prices,
}
_FILE_FIELDS: _Fields = {
    "version": _one_of(1),
    "currency": _one_of(CURRENCY),
    "web_search_per_thousand": _decimal,
    "models": _models,
}
