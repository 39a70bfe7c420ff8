"""The keys of a policy file in the order of the language's reference, each with its comments.

Pure: text in, text out. A file with anchors keeps its order, for an alias must stay behind its anchor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from governor.policy.terms import LINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_TOP = (
    *("version", "organization", "department", "timezone", "owner", "estimate", "server_tools", "workspace"),
    *("budgets", "thresholds", "routing", "limits", "runaway", "features", "users", "users_from", "mode"),
    *("if_ledger_is_down", "on_expiry", "uncertain", "retry_uncertain", "deadline"),
)
_BUDGET = (
    *("per", "name", "user_tier", "usd", "tokens", "requests", "concurrent", "window"),
    *("thresholds", "pace", "keep", "for", "mode"),
)
_MODELS = {
    ("routing",): "Routing",
    ("routing", "tiers"): "Tiers",
    ("routing", "tiers", "*"): "Tier",
    ("routing", "choose", "*"): "Choice",
    ("routing", "value"): "Value",
    ("routing", "load"): "Load",
    ("limits",): "Limits",
    ("runaway",): "Runaway",
    ("workspace",): "Workspace",
    ("features", "*"): "Feature",
}
_BY_LINE = {
    ("routing", "lines"),
    ("routing", "complexity"),
    ("routing", "floors"),
    ("routing", "value", "quality"),
}


@dataclass(slots=True)
class _Entry:
    """A key of a mapping, where it begins, the line it is on, and its value."""

    key: str
    start: int
    line: int
    value: _Node


@dataclass(slots=True)
class _Node:
    """A value and its place in the text.

    Attributes:
        start: The index of its first character; *end* is the one behind its last.
        line: Its first line, counted from 0; *stop* is its last.
        flow: Whether it is written in braces.
        entries: Of a mapping.
        items: Of a list.
    """

    start: int
    end: int
    line: int
    stop: int
    flow: bool = False
    entries: list[_Entry] = field(default_factory=list)
    items: list[_Node] = field(default_factory=list)


def ordered_rows(text: str) -> str:
    """The same file, its rows in braces in order, where they stand on one line."""
    root = _tree(text)
    return text if root is None else text[: root.start] + _row(text, root, ()) + text[root.end :]


def _row(text: str, node: _Node, path: tuple[str, ...]) -> str:
    """The text of *node*, in order."""
    parts, at = [], node.start
    for key, begin, inner in _members(node):
        parts.append((text[at:begin], key, text[begin : inner.start] + _row(text, inner, (*path, key))))
        at = inner.end
    rank = _rank(path)
    words = [word for _, _, word in parts]
    if rank is not None and node.flow and node.entries and "\n" not in text[node.start : node.end]:
        words = [word for _, _, word in sorted(parts, key=lambda part: rank(part[1]))]
    return "".join(gap + word for (gap, _, _), word in zip(parts, words, strict=True)) + text[at : node.end]


def _members(node: _Node) -> Iterator[tuple[str, int, _Node]]:
    """Every value in a node: its key or, of a list, `*`; the index where it begins, key and all."""
    yield from ((entry.key, entry.start, entry.value) for entry in node.entries)
    yield from (("*", item.start, item) for item in node.items)


def ordered_blocks(text: str) -> str:
    """The same file, its sections in order; *text* must have an even layout already."""
    root = _tree(text)
    if root is None or root.flow or not root.entries:
        return text
    lines = text.split("\n")[:-1]
    first = root.entries[0].line
    # The comment at the top is the file's; one that stands apart from it, right above a key, is that key's.
    begin = next((number for number in range(first - 1, -1, -1) if not lines[number]), first)
    end = root.stop + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    done = [*lines[:begin], *_block(lines, root, (), begin, end), *lines[end:]]
    return "\n".join(done) + "\n"


def _block(lines: list[str], node: _Node, path: tuple[str, ...], begin: int, end: int) -> list[str]:
    """The lines from *begin* to *end*, which are those of a mapping, in order."""
    starts = [begin, *(_start(lines, *pair) for pair in pairwise(node.entries)), end]
    slots = []
    for entry, (start, stop) in zip(node.entries, pairwise(starts), strict=True):
        inner, behind = entry.value, entry.line + 1
        slot = lines[start:stop]
        if inner.entries and not inner.flow and inner.line > entry.line:
            slot = [*lines[start:behind], *_block(lines, inner, (*path, entry.key), behind, stop)]
        slots.append((entry.key, slot))
    rank = _rank(path)
    if rank is None:
        return [line for _, slot in slots for line in slot]
    moved = sorted(slots, key=lambda slot: rank(slot[0]))
    if moved[0][0] != slots[0][0]:
        if not path and slots[0][1][0] and (node.entries[0].value.stop > node.entries[0].line):
            slots[0][1].insert(0, "")  # a section that was the first had no need of a line before it
        while not moved[0][1][0]:
            del moved[0][1][0]
    return [line for _, slot in moved for line in slot]


def _start(lines: list[str], before: _Entry, entry: _Entry) -> int:
    """The first line of an entry's own: comments above it that are no deeper than it, and blank lines."""
    column = len(lines[entry.line]) - len(lines[entry.line].lstrip())
    start = entry.line
    for number in range(entry.line - 1, before.value.stop, -1):
        line = lines[number]
        if line and len(line) - len(line.lstrip()) > column:
            break
        start = number
    return start


def _rank(path: tuple[str, ...]) -> Callable[[str], int] | None:
    """What the keys of the mapping at *path* are sorted by; `None` where the order is the author's."""
    if path[:1] == ("thresholds",) or path[2:] == ("thresholds",):
        return lambda key: int(key[:-1]) if key[:-1].isdecimal() else 101
    names = _names(path)
    if names is None:
        return None
    places = {name: place for place, name in enumerate(names)}
    return lambda key: places.get(key, len(places))


def _names(path: tuple[str, ...]) -> Iterable[str] | None:
    if path in ((), ("budgets", "*")):
        return _BUDGET if path else _TOP
    if path in _BY_LINE:
        return LINES
    model = _MODELS.get(path) or _MODELS.get((*path[:-1], "*"))
    if model is None:
        return None
    from governor.policy import schema  # noqa: PLC0415 - pydantic is needed for a file that is read only

    return getattr(schema, model).model_fields  # type: ignore[no-any-return]


def _tree(text: str) -> _Node | None:
    """What the file holds; `None` if it has anchors or marks of documents."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - `import governor` does not pay for the parser

    events = list(YAML(typ="safe", pure=True).parse(text))
    if any(getattr(event, "anchor", None) or getattr(event, "explicit", None) for event in events):
        return None
    return _node(events, 2)[0]


def _node(events: Sequence[Any], at: int) -> tuple[_Node, int]:
    """The value that begins with event *at*, and the number of the event behind it."""
    event, kind = events[at], type(events[at]).__name__
    node = _Node(event.start_mark.index, event.end_mark.index, event.start_mark.line, event.end_mark.line)
    if kind == "ScalarEvent":
        node.stop -= event.end_mark.column == 0 and node.stop > node.line
        return node, at + 1
    node.flow = bool(event.flow_style)
    at += 1
    while not type(events[at]).__name__.endswith("EndEvent"):
        key = events[at]
        value, at = _node(events, at + 1 if kind == "MappingStartEvent" else at)
        if kind == "MappingStartEvent":
            entry = _Entry(str(key.value), key.start_mark.index, key.start_mark.line, value)
            node.entries.append(entry)
        else:
            node.items.append(value)
        node.stop = max(node.stop, value.stop)
        node.end = max(node.end, value.end)
    if node.flow:
        node.end, node.stop = events[at].end_mark.index, events[at].end_mark.line
    return node, at + 1
