"""What a request's values weigh as the SDK sends them: how to read them, and bounds on their tokens."""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Iterable, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

ANY = 1 << 60
"""More tokens than any context window: for what cannot be bounded from the body alone."""
_SCALARS = frozenset({int, float, bool, type(None)})
_LONGEST_WORD = 9
"""Characters of `-Infinity`, which `repr` writes shorter."""
_LARGEST_BODY = 1 << 25
"""Bytes: the API refuses more than 32 MB. What refers to itself would otherwise be read for ever."""


def as_mapping(value: Any) -> Mapping[str, Any] | None:
    """*value* as a mapping: itself, or a pydantic object as the SDK sends it; `None` for anything else."""
    if type(value) is dict or isinstance(value, Mapping):  # the first is much faster
        return value
    dump = None if isinstance(value, type) else getattr(value, "model_dump", None)
    if not callable(dump):
        return None
    dumped = dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    return dumped if isinstance(dumped, Mapping) else None


def is_list(value: Any) -> bool:
    """Whether the SDK sends *value* as a list, and reading it does not use it up, as it would an iterator."""
    if type(value) is list:
        return True
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        return False
    return isinstance(value, (Sequence, AbstractSet, MappingView))


def as_items(value: Any) -> Sequence[Any]:
    """*value* as a list: its items, none for `None`, and for anything else one item nobody can read."""
    if value is None:
        return ()
    return tuple(value) if is_list(value) else (value,)


def text_tokens(text: str) -> int:
    """The most tokens *text* can have: its UTF-8 bytes, as it is or as NFKC, whichever are more.

    The proof is in `governor.pricing.bound.local_bound`.
    """
    if text.isascii():
        return len(text)
    normal = unicodedata.normalize("NFKC", text)
    size = len(text.encode("utf-8", "surrogatepass"))
    return size if normal == text else max(size, len(normal.encode("utf-8", "surrogatepass")))


def json_tokens(values: Sequence[Any]) -> int:
    """The most tokens *values* can have, each written as JSON: indented by two, with escapes or without.

    The proof is in `governor.pricing.bound.local_bound`.

    Returns:
        Tokens; `ANY` where their JSON has no known length.
    """
    try:
        return _written_tokens(values)
    except TypeError:
        pass  # of other types than JSON's own: read as they will be written
    try:
        return _written_tokens(json.loads(_JSON.encode(values), object_pairs_hook=list))
    except (TypeError, ValueError, RecursionError):
        return ANY  # such as an iterator, which the SDK sends as a list of whatever length


def _written_tokens(values: Iterable[Any]) -> int:
    """The same, level by level and in a few steps a value: `json` itself is much slower when it indents.

    Raises:
        TypeError: Not all are of JSON's own types.
    """
    size, depth, strings = 0, 0, []
    level = list(values)
    while level and size < _LARGEST_BODY:
        inner: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is str:
                strings.append(value)
            elif kind is dict:
                strings += value
                inner += value.values()
                size += (2 * depth + 7) * len(value) + 2 * depth + 3
            elif kind is list or kind is tuple:
                inner += value
                size += (2 * depth + 5) * len(value) + 2 * depth + 3
            else:
                size += _scalar_tokens(value, kind)
        level, depth = inner, depth + 1
    return ANY if level else size + _quoted_tokens(strings)


def _scalar_tokens(value: Any, kind: type) -> int:
    if kind not in _SCALARS:
        raise TypeError(f"{kind.__name__} is no type of JSON")
    try:
        return max(len(repr(value)), _LONGEST_WORD)
    except ValueError:  # more digits than Python, and so the SDK, writes
        return ANY


def _quoted_tokens(strings: list[str]) -> int:
    """Tokens of strings in quotes, their escapes included."""
    joined = '"'.join(strings)  # escaped as two characters: the end of one string, the start of the next
    escaped = len(_JSON.encode(joined))
    if joined.isascii():
        return escaped
    return max(escaped, text_tokens(_PLAIN_JSON.encode(joined)))


def _plain(value: Any) -> Any:
    """What `json` cannot write, as the SDK sends it."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if is_list(value):
        return list(value)
    plain = as_mapping(value)
    if plain is None:
        raise TypeError(f"{type(value).__name__} is of unknown length")
    return dict(plain)


_JSON = json.JSONEncoder(default=_plain, check_circular=False)
_PLAIN_JSON = json.JSONEncoder(ensure_ascii=False)
