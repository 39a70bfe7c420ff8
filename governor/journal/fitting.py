"""What a record says of a call, made fit for a row: a journal may hold anything, and must go on. Pure.

A record is kept whole, whatever it says. A value that a database cannot take would stop all later records
too: in the row its place is left as if nothing had been said, and a NUL, which PostgreSQL takes in no text,
is shown as U+FFFD.
"""

from __future__ import annotations

from dataclasses import fields, replace
from math import isfinite
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from governor.journal.call import Call, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

R = TypeVar("R", Call, Result)

MOST = 2**63 - 1
"""The largest whole number that a database keeps; of `leg`, which is counted from 1 on, less."""

_MOST_LEG = 2**31 - 1
_NUL, _SHOWN = "\0", "\ufffd"
_NONE = type(None)
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, _NONE),
    "int": (int,),
    "int | None": (int, _NONE),
    "bool": (bool,),
    "float | None": (float, int, _NONE),
}


def _kinds(of: type[Call | Result]) -> dict[str, tuple[type, ...]]:
    return {one.name: _KINDS[str(one.type)] for one in fields(of) if one.name != "tags"}


_CALL, _RESULT = _kinds(Call), _kinds(Result)
_NOTHING: Mapping[str, Any] = {one.name: one.default for one in (*fields(Result), *fields(Call))}
_call_values = attrgetter(*_CALL)
_texts = attrgetter(*(name for name, kinds in _CALL.items() if kinds == (str,)))
_numbers = attrgetter(*(name for name, kinds in _CALL.items() if kinds == (int,)))
_maybe_numbers = attrgetter(*(name for name, kinds in _CALL.items() if kinds == (int, _NONE)))
_PLAIN: set[tuple[type, ...]] = set()
"""The types of calls' fields as they were found right: few combinations, so that looking costs little."""

_MOST_PLAIN = 4096


def fit_call(call: Call) -> Call:
    """The call as every database keeps it; itself, but for what no governor writes."""
    types = tuple(map(type, _call_values(call)))
    if types in _PLAIN and _NUL not in "".join(_texts(call)):
        numbers = (*_numbers(call), *filter(None, _maybe_numbers(call)))
        if max(numbers) <= MOST and min(numbers) >= -MOST and call.leg <= _MOST_LEG:
            return call
    fit = _fit(call, _CALL)
    if fit is call and float not in types and len(_PLAIN) < _MOST_PLAIN:  # the next float may be none: NaN
        _PLAIN.add(types)
    return fit


def fit_result(result: Result) -> Result:
    """Likewise what calls were good for."""
    return _fit(result, _RESULT)


def _fit(row: R, kinds: Mapping[str, tuple[type, ...]]) -> R:
    given = {name: getattr(row, name) for name in kinds}
    fit = {name: _value(name, value, kinds[name]) for name, value in given.items()}
    changed = {name: value for name, value in fit.items() if value is not given[name]}
    return replace(row, **changed) if changed else row


def _value(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    if type(value) not in kinds:
        return _NOTHING[name]
    if isinstance(value, str):
        return value.replace(_NUL, _SHOWN) if _NUL in value else value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, int) and not abs(value) <= (_MOST_LEG if name == "leg" else MOST):
        return _NOTHING[name]
    return value
