"""The layout of a YAML file made even: indentation, spaces, quotes and blank lines.

Words, comments and the author's columns stay. It goes by the scanner's tokens and touches only what stands
between them, so that nothing is written anew that was read. Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 110
"""A row in braces that is longer, its comment not counted, is broken after a comma."""

STEP = 2
"""Spaces of one level."""

_PLAIN = re.compile(r"[A-Za-z][\w./@+-]*( [A-Za-z0-9][\w./@+-]*)*|[0-9]{1,3}%", re.ASCII)
_NOT_PLAIN = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_OPENERS = {"FlowMappingStart": "{", "FlowSequenceStart": "["}
_CLOSERS = {"FlowMappingEnd": "}", "FlowSequenceEnd": "]"}
_KINDS = {**_OPENERS, **_CLOSERS, "BlockEntry": "-", "Key": "?", "Value": ":", "FlowEntry": ","}


@dataclass(slots=True)
class _Piece:
    """One token that can be seen, on its line.

    Attributes:
        kind: `-`, `:`, `,`, a brace, or the name of the token.
        start: Its first column; *end* is the one behind it.
        text: As it will be written.
        depth: How many braces are open before it.
        indent: The column that it belongs in, if it is the first of its line.
        opened: Of a piece within braces: the line and the column of the outermost one.
    """

    kind: str
    start: int
    end: int
    text: str
    depth: int
    indent: int
    opened: tuple[int, int] | None = None


@dataclass(slots=True)
class _Line:
    """One line of the file.

    Attributes:
        text: As it was read.
        pieces: What stands on it.
        comment: With its `#`; '' where there is none.
        column: Where the comment stands.
        scalar: The line on which the scalar begins that this line goes on with; the line is not parsed then.
        tail: How much of this line still belongs to that scalar.
    """

    text: str
    pieces: list[_Piece] = field(default_factory=list)
    comment: str = ""
    column: int = 0
    scalar: int | None = None
    tail: int = 0

    @property
    def old_indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())


def tokens(text: str) -> Iterator[Any]:
    """The scanner's tokens of a YAML text that was found right."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - `import governor` does not pay for the parser

    yield from YAML(typ="safe", pure=True).scan(text)


def comments(text: str) -> Counter[str]:
    """Every comment of a YAML text, and how often it is there."""
    return Counter(line.comment for line in _read(text) if line.comment)


def even(text: str) -> str:
    """The same file in an even layout; *text* must be YAML that was found right, with line feeds alone."""
    page = _Page(_read(text))
    page.write_words()
    page.write_comments()
    return page.text()


def _read(text: str) -> list[_Line]:
    lines = [_Line(line) for line in text.split("\n")]
    for piece, first, last, end in _pieces(text, lines):
        lines[first].pieces.append(piece)
        for inner in range(first + 1, last + 1):
            lines[inner].scalar = first
        if last > first:
            lines[last].tail = end
    for line in lines:
        if line.scalar is not None and not line.tail:
            continue
        behind = max([line.tail, *(piece.end for piece in line.pieces)])
        rest = line.text[behind:].strip()
        if rest.startswith("#"):
            line.comment, line.column = rest, line.text.index("#", behind)
    return lines


def _pieces(text: str, lines: list[_Line]) -> Iterator[tuple[_Piece, int, int, int]]:
    """Every token that can be seen, the lines it begins and ends on, and its end there if they differ."""
    levels = _Levels()
    opened: list[tuple[int, int]] = []
    for token in tokens(text):
        kind = type(token).__name__.removesuffix("Token")
        start, end = token.start_mark, token.end_mark
        if not opened:
            levels.take(kind)
        if start.index == end.index:
            continue
        row = lines[start.line].text
        last, column = (end.line, end.column) if end.column or end.line == start.line else (end.line - 1, 0)
        stop = end.column if end.line == start.line else len(row)
        shown = row[start.column : stop].rstrip()
        if kind == "Scalar" and end.line == start.line:
            shown = _requoted(token, shown)
        outermost = opened[0] if opened else None
        yield (
            _Piece(
                _KINDS.get(kind, kind), start.column, stop, shown, len(opened), levels.indent(kind), outermost
            ),
            start.line,
            last,
            column,
        )
        if kind in _OPENERS:
            opened.append((start.line, start.column))
        elif kind in _CLOSERS:
            opened.pop()
        if not opened:
            levels.passed(kind)


def _requoted(token: Any, shown: str) -> str:
    """A word in quotes without them, if nobody could take it for anything else; other quotes double."""
    value = token.value
    if token.plain:
        return shown
    if _PLAIN.fullmatch(value) and value.lower() not in _NOT_PLAIN:
        return str(value)
    if token.style == "'" and value.isprintable() and not set(value) & set('"\\'):
        return f'"{value}"'
    return shown


class _Levels:
    """Which blocks are open, and where what stands in them belongs."""

    def __init__(self) -> None:
        self._open: list[tuple[str, int]] = []
        self._key = False

    def take(self, kind: str) -> None:
        """Follow one token outside braces."""
        top, indent = self._open[-1] if self._open else ("", -STEP)
        if kind in ("BlockMappingStart", "BlockSequenceStart"):
            self._open.append((kind, indent + STEP))
        elif kind == "BlockEntry" and top == "BlockMappingStart":
            self._open.append(("indentless", indent + STEP))  # it has no token of its own, nor has its end
        elif kind in ("Key", "BlockEnd"):
            if top == "indentless":
                self._open.pop()
            if kind == "BlockEnd" and self._open:
                self._open.pop()
        self._key = self._key or kind == "Key"

    def passed(self, kind: str) -> None:
        """Take note that a token outside braces was seen."""
        self._key = self._key and kind in ("Anchor", "Tag")

    def indent(self, kind: str) -> int:
        """The column for a token that begins a line."""
        if not self._open:
            return 0
        own = self._open[-1][1]
        starts = self._key or kind in ("BlockEntry", "Key", "Value")
        return own if starts or kind.startswith("Document") else own + STEP


class _Page:
    """A file while it is written anew; one use."""

    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.rows: list[str] = [""] * len(lines)
        self.indents: dict[int, int] = {}
        """Of lines that begin a key, an item or a value outside braces: where they begin now."""
        self.shifts: dict[tuple[int, int], int] = {}
        """Line and column of an opening brace, or line and -1 for its beginning: how far that has moved."""
        self.columns = Counter(line.column for line in lines if line.comment and line.pieces)

    def write_words(self) -> None:
        """Write every line that has more on it than a comment."""
        for number, line in enumerate(self.lines):
            if line.scalar is not None and not line.pieces:
                self.rows[number] = _shifted(line.text, self.shifts[line.scalar, -1])
                self.shifts[number, -1] = self.shifts[line.scalar, -1]
            elif line.pieces:
                row, breaks = self._row(number, line)
                broken = _wrapped(row, breaks)
                self.rows[number] = "\n".join([*broken[:-1], self._with_comment(line, broken[-1])])

    def _row(self, number: int, line: _Line) -> tuple[str, list[int]]:
        """The line without its comment; the columns of the outermost row in braces, and of its commas."""
        first = line.pieces[0]
        if line.scalar is not None:
            row = _shifted(line.text[: line.tail], self.shifts[line.scalar, -1])
            behind = line.tail
        else:
            indent = self._indent(first)
            row, behind = " " * indent, first.start
            if not first.depth:
                self.indents[number] = indent
        self.shifts[number, -1] = len(row) - behind
        breaks: list[int] = []
        before = None
        for piece in line.pieces:
            row += " " * _gap(before, piece, line.text[behind : piece.start])
            if piece.kind in "{[" and not piece.depth:
                self.shifts[number, piece.start] = len(row) - piece.start
                breaks = [len(row)]
            row += piece.text
            if breaks and piece.depth == 1 and piece.kind in ",}]":
                breaks.append(len(row))
            before, behind = piece, piece.end
        closed = len(breaks) > 1 and line.pieces[-1].kind in "}]" and line.pieces[-1].depth == 1
        return row, breaks if closed else []

    def _indent(self, first: _Piece) -> int:
        if first.opened is None:
            return first.indent
        return max(first.start + self.shifts[first.opened], first.indent - STEP, 0)

    def _with_comment(self, line: _Line, row: str) -> str:
        if not line.comment:
            return row
        behind = max([line.tail, *(piece.end for piece in line.pieces)])
        near = len(row) + 2
        keeps = line.column - behind > 2 or self.columns[line.column] > 1
        return row + " " * ((max(near, line.column) if keeps else near) - len(row)) + line.comment

    def write_comments(self) -> None:
        """Write every line that has nothing but a comment, where the lines around it are now."""
        following: int | None = None
        for number in range(len(self.lines) - 1, -1, -1):
            line = self.lines[number]
            if line.pieces:
                following = number
            elif line.comment and line.scalar is None:
                self.rows[number] = " " * self._comment_indent(number, following) + line.comment

    def _comment_indent(self, number: int, following: int | None) -> int:
        old = self.lines[number].old_indent
        beside, there = 0, 0
        if following is not None:
            first = self.lines[following].pieces[0]
            if first.opened is not None:
                return max(old + self.shifts[first.opened], 0)
            beside, there = self.lines[following].old_indent, self.indents[following]
        if old <= beside:
            return there
        above = (n for n in range(number - 1, -1, -1) if n in self.indents)
        deep = next((self.indents[n] for n in above if self.lines[n].old_indent <= old), 0)
        return max(deep, there)

    def text(self) -> str:
        """The file, with single blank lines at most, none at its beginning, and one line break at its end."""
        kept: list[tuple[str, bool]] = []
        for line, row in zip(self.lines, self.rows, strict=True):
            blank = not row and line.scalar is None
            if not blank or (kept and not kept[-1][1]):
                kept.append((row, blank))
        while kept and kept[-1][1]:
            kept.pop()
        return "".join(f"{row}\n" for row, _ in kept)


def _shifted(text: str, columns: int) -> str:
    if columns >= 0:
        return " " * columns + text if text.strip() else text
    spaces = len(text) - len(text.lstrip(" "))
    return text[min(-columns, spaces) :]


def _gap(before: _Piece | None, piece: _Piece, old: str) -> int:
    """How many spaces stand before *piece*; after a colon or a comma the author's columns stay."""
    if before is None or before.kind in "{[" or piece.kind in ",}]":
        return 0
    if piece.kind == ":":
        return 1 if before.kind == "Alias" else 0
    return max(1, len(old)) if before.kind in ":," and not old.strip(" ") else 1


def _wrapped(row: str, breaks: list[int]) -> list[str]:
    """The row, broken after commas where it is longer than `WIDTH`.

    Args:
        row: The row.
        breaks: The column of its opening brace, and those behind every comma and its closing brace.
    """
    if len(row) <= WIDTH or not breaks:
        return [row]
    margin = " " * (breaks[0] + 1)
    rows: list[str] = []
    current, begin = row[: breaks[0] + 1], breaks[0] + 1
    empty = True
    for end in breaks[1:]:
        part = row[begin:end]
        if not empty and len((current + part).rstrip()) > WIDTH:
            rows.append(current.rstrip())
            current, part = margin, part.lstrip()
        current, begin, empty = current + part, end, False
    return [*rows, current]
