"""Append dated entries to a price file, leaving every byte that stands in it as it is."""

from __future__ import annotations

import copy
import errno
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Entry = dict[str, Any]
"""A dated entry as a price file has it: dates, whole numbers and decimal texts, in the order of its keys."""

EMPTY = "version: 1\nextends: anthropic\n"
"""A company's own file that changes nothing."""

_NO_PLACE = (
    "its form leaves no place for an entry (anchors, or several documents); write those of --dry-run by hand"
)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


class NotAppended(ValueError):  # noqa: N818 - nothing was written
    """Nothing can be appended to the file as it is: its form, or another writer; the message says which."""


@dataclass(frozen=True, slots=True)
class Additions:
    """What is to be appended to a price file.

    Attributes:
        prices: New entries of each model, by its id, oldest first.
        fees: New entries of `fees`.
    """

    prices: dict[str, list[Entry]] = field(default_factory=dict)
    fees: list[Entry] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.prices or self.fees)


def appended(text: str, additions: Additions) -> str:
    """A price file with entries appended; everything else in it stays, to the byte.

    Args:
        text: The file, which has been loaded without an error.
        additions: The entries. A model that the file does not name yet is added with them (in a company's own
            file, which extends the shipped one).

    Raises:
        NotAppended: It would not read back as the file with these entries and nothing else, for example
            because it shares parts of itself by YAML anchors.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - only writing needs it
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - as above

    root = YAML(typ="rt").compose(text)
    placed = _placed(text, root, additions)
    result = text
    for index in sorted({index for index, _ in placed}, reverse=True):
        new = "".join(more for where, more in placed if where == index)
        if index and "\n" in new and result[index - 1] != "\n":
            new = "\n" + new
        result = result[:index] + new.replace("\n", "\r\n" if "\r\n" in text else "\n") + result[index:]
    try:
        read_back = YAML(typ="safe").load(result)
    except YAMLError as error:
        raise NotAppended(_NO_PLACE) from error
    if read_back != _expected(YAML(typ="safe").load(text), additions):
        raise NotAppended(_NO_PLACE)
    return result


def _expected(data: Any, additions: Additions) -> Any:
    data = copy.deepcopy(data)
    for model_id, entries in additions.prices.items():
        models = data.setdefault("models", [])
        found = next((one for one in models if one["id"] == model_id), None)
        if found is None:
            found = {"id": model_id, "prices": []}
            models.append(found)
        found["prices"].extend(entries)
    if additions.fees:
        data.setdefault("fees", []).extend(additions.fees)
    return data


def _placed(text: str, root: Any, additions: Additions) -> list[tuple[int, str]]:
    """What to insert, and before which character; of one place, the innermost first."""
    models = _value(root, "models")
    known = {_value(one, "id").value: one for one in (models.value if models else ())}
    found = [
        _into_list(text, _value(known[model_id], "prices"), entries)
        for model_id, entries in additions.prices.items()
        if model_id in known
    ]
    new: list[Entry] = [
        {"id": model_id, "prices": entries}
        for model_id, entries in additions.prices.items()
        if model_id not in known
    ]
    for key, node, items in (("models", models, new), ("fees", _value(root, "fees"), additions.fees)):
        if items:
            found.append(_into_list(text, node, items) if node else _new_key(text, root, key, items))
    return found


def _value(node: Any, key: str) -> Any:
    return next((value for name, value in node.value if name.value == key), None)


def _into_list(text: str, node: Any, items: Sequence[Entry]) -> tuple[int, str]:
    if not node.flow_style:
        return _end_of_line(text, node), block(items, node.start_mark.column)
    inner = ", ".join(map(_flow, items))
    if node.value:
        return node.value[-1].end_mark.index, f", {inner}"
    return node.start_mark.index + 1, inner


def _new_key(text: str, root: Any, key: str, items: Sequence[Entry]) -> tuple[int, str]:
    if root.flow_style:
        return root.value[-1][1].end_mark.index, f", {key}: [{', '.join(map(_flow, items))}]"
    column = root.start_mark.column
    return _end_of_line(text, root), f"{' ' * column}{key}:\n{block(items, column + 2)}"


def _end_of_line(text: str, node: Any) -> int:
    """The first character after the line on which the last value within a block ends."""
    last = node
    while isinstance(last.value, list) and not last.flow_style:
        last = last.value[-1][1] if isinstance(last.value[-1], tuple) else last.value[-1]
    index: int = last.end_mark.index
    if index and text[index - 1] == "\n":  # a text block ends where the next line begins
        return index
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def block(items: Sequence[Entry], column: int) -> str:
    """Entries as the items of a YAML list, each key on a line of its own.

    Args:
        items: The entries.
        column: Where the dashes stand, from 0.
    """
    lines: list[str] = []
    for item in items:
        for index, (key, value) in enumerate(item.items()):
            lead = " " * column + ("- " if index == 0 else "  ")
            if isinstance(value, list):
                lines.append(f"{lead}{key}:\n{block(value, column + 4)}")
            elif isinstance(value, dict) and key == "above":
                inner = "".join(
                    f"{' ' * (column + 4)}{name}: {_scalar(one)}\n" for name, one in value.items()
                )
                lines.append(f"{lead}{key}:\n{inner}")
            else:
                lines.append(f"{lead}{key}: {_flow(value)}\n")
    return "".join(lines)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is True or value is None:
        return "true" if value else "null"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return str(value)


def write_whole(path: Path, before: str | None, text: str) -> None:
    """Write a price file in one step: after a crash it is the old or the new one, never half of one.

    The new text is read and checked as a price file before it takes the place of the old one, whose
    permissions are kept. A symbolic link stays one. While it is written, a file beside it keeps out others
    who write it in this way.

    Args:
        path: The file, which may not exist yet.
        before: What was read of it; `None`: it did not exist.
        text: All of it; its line ends are written as they are.

    Raises:
        NotAppended: Somebody has changed it since it was read, or is changing it; nothing changed.
        OSError: It cannot be written; nothing changed.
        PolicyError: The new text is no price file; nothing changed.
    """
    from governor.pricing.read import read_prices  # noqa: PLC0415 - as above

    target = path.resolve()
    beside = target.with_name(f".{target.name}.new")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(path))
    try:
        file = beside.open("x", encoding="utf-8", newline="")
    except FileExistsError:
        raise NotAppended(f"somebody else is changing it (if nobody is, delete {beside})") from None
    try:
        with file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, beside)
        read_prices(beside)
        now = target.read_bytes().decode("utf-8") if target.exists() else None
        if now != before:
            raise NotAppended("it has changed since it was read: run it again")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
