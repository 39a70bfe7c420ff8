"""Turn positioned YAML into plain data; every problem is told with its line and column."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from governor.errors import PolicyError, Problem, nearest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

Place = tuple[int, int]
"""Line and column, from 1."""
Check = Callable[["Checker", Any, Place], Any]
Fields = dict[str, Check]
TOP = (1, 1)
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def parse(path: Path | Traversable) -> Any:
    """The YAML of a file, with positions.

    Raises:
        PolicyError: It cannot be read, or is not YAML.
    """

    def refuse(message: str, hint: str = "", at: Place = (0, 0)) -> NoReturn:
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
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        refuse(f"holds a value that is none: {error}", "such as the date 2026-02-30; correct it")


class Checker:
    """Collects what is wrong in one file, and where."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.places: dict[int, Place] = {}

    def problem(self, at: Place, message: str, hint: str = "") -> None:
        """Note one problem."""
        self.problems.append(Problem(self.file, *at, message, hint))

    def refuse(self) -> None:
        """Raise `PolicyError` with every problem found, in the file's order; nothing, where there is none."""
        if self.problems:
            raise PolicyError(sorted(self.problems, key=lambda problem: (problem.line, problem.column)))

    def mapping(self, node: Any, at: Place, fields: Fields, optional: Fields | None = None) -> dict[str, Any]:
        """The mapping *node* as plain data: *fields* must be there, *optional* may, no other key may."""
        if not isinstance(node, CommentedMap):
            self.problem(at, f"expected {', '.join(fields)}, got {told(node)}")
            return {}
        self.plain(node, at)
        known = {**fields, **(optional or {})}
        misspelt = {key: nearest(str(key), known) for key in node if key not in known}
        for key, hint in misspelt.items():
            self.problem(_one_based(node.lc.key(key)), f"unknown key {str(key)!r}", hint)
        for key in fields:
            # A misspelt key is told once, not also as the missing one.
            if key not in node and f"did you mean {key!r}?" not in misspelt.values():
                self.problem(at, f"{key!r} is missing", f"add `{key}:`")
        found = {
            key: check(self, node[key], _one_based(node.lc.value(key)))
            for key, check in known.items()
            if key in node
        }
        self.places[id(found)] = at
        return found

    def table(self, node: Any, at: Place, check: Check, what: str) -> dict[str, Any]:
        """The mapping *node*, whose keys are texts of the author's choice."""
        if not isinstance(node, CommentedMap):
            self.problem(at, f"expected a mapping of {what}, got {told(node)}")
            return {}
        self.plain(node, at)
        return {str(key): check(self, value, _one_based(node.lc.value(key))) for key, value in node.items()}

    def plain(self, node: CommentedMap, at: Place) -> None:
        """Refuse what stands in another place than where it counts: merged keys, keys that are no text."""
        if getattr(node, "merge", None):
            self.problem(at, "merged keys (<<) are not read", "write them out")
            raise PolicyError(self.problems)
        for key in node:
            if not isinstance(key, str):
                self.problem(at, f"the key {str(key)[:40]!r} is no text", "quote it")
                raise PolicyError(self.problems)

    def sequence(self, node: Any, at: Place, check: Check, what: str) -> list[Any]:
        """The list *node*, each item checked."""
        if not isinstance(node, CommentedSeq):
            self.problem(at, f"expected a list of {what}, got {told(node)}")
            return []
        return [check(self, item, _one_based(node.lc.item(index))) for index, item in enumerate(node)]

    def place(self, found: dict[str, Any]) -> Place:
        """Where a mapping that this checker made stands in the file."""
        return self.places.get(id(found), TOP)


def _one_based(place: tuple[int, int]) -> Place:
    return place[0] + 1, place[1] + 1


def told(value: Any) -> str:
    """*value* as an error names it."""
    if isinstance(value, (CommentedMap, CommentedSeq)):
        return "a mapping" if isinstance(value, CommentedMap) else "a list"
    return "nothing" if value is None else repr(str(value))


def text(checker: Checker, value: Any, at: Place) -> str:
    """A text that is not empty."""
    if isinstance(value, str) and value.strip():
        return str(value)
    checker.problem(at, f"expected a text, got {told(value)}")
    return ""


def texts(checker: Checker, value: Any, at: Place) -> list[str]:
    """A list of texts."""
    return checker.sequence(value, at, text, "model ids")


def decimal(checker: Checker, value: Any, at: Place) -> str:
    """A quoted decimal above 0, kept as it is written."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value) and value.strip("0."):
        return str(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    hint = f'quote it: "{value}"' if number else 'for example "0.10"'
    digits = ", with at most 9 digits on each side of the point" if isinstance(value, str) else ""
    checker.problem(at, f"expected a quoted decimal above 0{digits}, got {told(value)}", hint)
    return "1"


def share(checker: Checker, value: Any, at: Place) -> str:
    """A quoted decimal above 0 and at most 100: what a discount takes off."""
    percent = decimal(checker, value, at)
    if Decimal(percent) > 100:
        checker.problem(at, f"a discount of {percent} percent would pay the caller", "at most 100")
    return percent


def whole(checker: Checker, value: Any, at: Place) -> int:
    """A whole number above 0."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return int(value)
    checker.problem(at, f"expected a whole number above 0, got {told(value)}")
    return 1


def date(checker: Checker, value: Any, at: Place) -> dt.date:
    """A day."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    checker.problem(at, f"expected a date, got {told(value)}", "for example 2026-10-07")
    return dt.date.min


def date_or_null(checker: Checker, value: Any, at: Place) -> dt.date | None:
    """A day, or nothing."""
    return None if value is None else date(checker, value, at)


def yes(checker: Checker, value: Any, at: Place) -> bool:
    """`true`: what is not so is left out."""
    if value is not True:
        checker.problem(at, f"expected true, got {told(value)}", "or leave it out")
    return True


def flag(checker: Checker, value: Any, at: Place) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        checker.problem(at, f"expected true or false, got {told(value)}", "leave it out where it is unknown")
    return value is True


def one_of(*allowed: Any) -> Check:
    """One of these values."""

    def check(checker: Checker, value: Any, at: Place) -> Any:
        if value in allowed and not isinstance(value, (bool, float)):
            return value
        names = " or ".join(str(one) for one in allowed)
        checker.problem(at, f"expected {names}, got {told(value)}")
        return allowed[0]

    return check


def percent(checker: Checker, value: Any, at: Place) -> int:
    """A multiplier in percent: 100 changes nothing."""
    found = whole(checker, value, at)
    if found > 1000:
        checker.problem(at, f"{found} percent is no multiplier", "100 changes nothing, 50 halves the price")
    return found
