"""Read YAML 1.2 so that every key and every value knows its line and column.

Files are read as a stream of parse events, not as built objects: numbers stay as they were written (money
is never a float), and depth, size and aliases are bounded while reading, so that no file can hang the reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from governor.errors import PolicyError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_DEPTH = 32
MAX_NODES = 200_000
"""Values in one file, those behind aliases counted each time: some 1 MiB of plain rows, no alias bomb."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,64}\Z")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]{1,64}|[0-9]{1,64}(\.[0-9]{0,64})?)([eE][-+]?[0-9]{1,3})?\Z")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}


@dataclass(slots=True)
class Node:
    """One value of a file and where it starts.

    Attributes:
        value: `str`, `int`, `Decimal`, `bool`, `None`, or a `dict` or `list` of nodes.
        line: Line, counted from 1; likewise `column`.
        keys: For a mapping, the line and column of each of its keys.
        size: How many values it holds, itself included, aliases followed.
        height: How deep it is nested: 1 for a scalar.
    """

    value: Any
    line: int
    column: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1
    height: int = 1

    def plain(self) -> Any:
        """The value without places: nested `dict` and `list` of scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, part: object) -> Node | None:
        """The value under a key or an index, or `None`."""
        if isinstance(self.value, dict):
            found: Node | None = self.value.get(part)
            return found
        items: list[Node] = self.value if isinstance(self.value, list) else []
        return items[part] if isinstance(part, int) and part < len(items) else None


@dataclass(slots=True)
class Document:
    """A file that was read: its values, their places, and what was wrong with its YAML.

    Attributes:
        file: The file, as it was named to the loader.
        root: Its topmost value.
        problems: Duplicate keys, empty values, tags: what does not keep the rest from being looked at.
    """

    file: str
    root: Node
    problems: list[Problem] = field(default_factory=list)

    def find(self, path: Sequence[object]) -> Node | None:
        """The value at a path of keys and indexes, or `None`."""
        node: Node | None = self.root
        for part in path:
            node = node.child(part) if node else None
        return node

    def known_path(self, path: Sequence[object]) -> list[Any]:
        """The parts of *path* that this file really has, skipping those it does not."""
        node, known = self.root, []
        for part in path:
            child = node.child(part)
            if child is not None:
                node = child
                known.append(part)
        return known

    def place(self, path: Sequence[object], *, on_key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value at *path*, or with *on_key* of its key."""
        known = self.known_path(path)
        node = self.find(known) or self.root
        if on_key and known:
            parent = self.find(known[:-1]) or self.root
            return parent.keys.get(known[-1], (node.line, node.column))
        return node.line, node.column

    def problem(
        self, path: Sequence[object], message: str, hint: str = "", *, on_key: bool = False
    ) -> Problem:
        """A problem placed at the value (or with *on_key* the key) at *path*."""
        line, column = self.place(path, on_key=on_key)
        return Problem(self.file, line, column, message, hint)


def read_yaml(file: str, text: str) -> Document:
    """Read one YAML document.

    Args:
        file: What to call the file in problems.
        text: Its content.

    Raises:
        PolicyError: The text is not YAML, is empty, holds more than one document, or is nested or
            repeated beyond `MAX_DEPTH` and `MAX_NODES`.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - `import governor` does not pay for the parser
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - same

    builder = _Builder(file, iter(YAML(typ="safe", pure=True).parse(text)))
    try:
        return builder.document()
    except YAMLError as error:
        raise PolicyError([_syntax_problem(file, text, error)]) from None
    except (OverflowError, ValueError) as error:
        # The scanner lets these through for escapes that are no character, such as "\UFFFFFFFF".
        raise builder.refusal(f"this is not valid YAML: {error}") from None


def _syntax_problem(file: str, text: str, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    why = getattr(error, "problem", None) or getattr(error, "reason", None) or "this cannot be parsed"
    if mark is not None:
        return Problem(file, mark.line + 1, mark.column + 1, f"this is not valid YAML: {why}")
    before = text[: getattr(error, "position", 0) or 0]
    column = len(before) - (before.rfind("\n") + 1) + 1
    return Problem(file, before.count("\n") + 1, column, f"this is not valid YAML: {why}")


class _Builder:
    """Turns parse events into nodes; one use."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self.file = file
        self.events = events
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.nodes = 0
        self.line, self.column = 1, 1

    def refusal(self, message: str, hint: str = "") -> PolicyError:
        return PolicyError([*self.problems, Problem(self.file, self.line, self.column, message, hint)])

    def note(self, message: str, hint: str = "", place: tuple[int, int] | None = None) -> None:
        line, column = place or (self.line, self.column)
        self.problems.append(Problem(self.file, line, column, message, hint))

    def next(self) -> tuple[str, Any]:
        event = next(self.events)
        self.line, self.column = event.start_mark.line + 1, event.start_mark.column + 1
        return type(event).__name__.removesuffix("Event"), event

    def document(self) -> Document:
        self.next()
        kind, _ = self.next()
        if kind != "DocumentStart":
            raise self.refusal("the file is empty", "a policy starts with `version: 1`")
        root = self.node(*self.next(), depth=1)
        self.next()
        kind, _ = self.next()
        if kind != "StreamEnd":
            raise self.refusal("a second document starts here", "one file holds one policy: remove the `---`")
        return Document(self.file, root, self.problems)

    def node(self, kind: str, event: Any, *, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.refusal(f"nested deeper than {MAX_DEPTH} levels")
        if kind == "Alias":
            node = self.alias(event.anchor)
        else:
            node = self.fresh(kind, event, depth)
            if event.anchor is not None:
                self.anchors[event.anchor] = node
        if depth + node.height - 1 > MAX_DEPTH:
            raise self.refusal(f"nested deeper than {MAX_DEPTH} levels")
        return node

    def alias(self, anchor: str) -> Node:
        node = self.anchors.get(anchor)
        if node is None:
            raise self.refusal(f"alias *{anchor} has no anchor &{anchor} before it")
        self.count(node.size)
        return node

    def count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self.refusal(f"the file holds more than {MAX_NODES} values", "use fewer aliases or rows")

    def fresh(self, kind: str, event: Any, depth: int) -> Node:
        self.count(1)
        if event.tag is not None:
            self.note(f"tags are not part of the policy language: {event.tag}", "remove it")
        node = Node(None, self.line, self.column)
        if kind == "MappingStart":
            self.fill_mapping(node, depth)
        elif kind == "SequenceStart":
            self.fill_sequence(node, depth)
        else:
            node.value = self.scalar(event)
        return node

    def fill_sequence(self, node: Node, depth: int) -> None:
        node.value = []
        while (step := self.next())[0] != "SequenceEnd":
            item = self.node(*step, depth=depth + 1)
            if item.value is None:
                self.note("an empty item", "remove it or give it a value", (item.line, item.column))
            self.adopt(node, item)
            node.value.append(item)

    def fill_mapping(self, node: Node, depth: int) -> None:
        node.value = {}
        while (step := self.next())[0] != "MappingEnd":
            if step[0] != "Scalar":
                raise self.refusal("a key must be plain text")
            key, place = self.text(step[1]), (self.line, self.column)
            item = self.node(*self.next(), depth=depth + 1)
            if key in node.value:
                self.note(f"key {key!r} is written twice", f"first on line {node.keys[key][0]}", place)
                continue
            if item.value is None:
                # An empty value has no place of its own: it is shown at its key.
                self.note(f"{key!r} has no value", "remove the key or give it a value", place)
                item = Node(None, *place)
            self.adopt(node, item)
            node.value[key], node.keys[key] = item, place

    @staticmethod
    def adopt(node: Node, item: Node) -> None:
        node.size += item.size
        node.height = max(node.height, item.height + 1)

    def text(self, event: Any) -> str:
        value = str(event.value)
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise self.refusal("this text holds half a surrogate pair, which is no character")
        return value

    def scalar(self, event: Any) -> Any:
        value = self.text(event)
        if not event.implicit[0]:
            return value
        if value in _WORDS:
            return _WORDS[value]
        if _INTEGER.match(value):
            return int(value)
        return Decimal(value) if _DECIMAL.match(value) else value
