"""The labelled requests of `tests/data/complexity.yaml`, and the bodies they stand for."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FILE = Path(__file__).parents[1] / "data" / "complexity.yaml"

_DOT = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
_PAPER = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}
_MEDIA = {"image": {"type": "image", "source": _DOT}, "pdf": {"type": "document", "source": _PAPER}}


def labelled() -> list[dict[str, Any]]:
    """The rows as they stand in the file."""
    return list(YAML(typ="safe").load(FILE.read_text(encoding="utf-8")))


def band(value: float) -> str:
    """The band of a score: `low` below 3, `middle` from 3 to 7, `high` above."""
    return "low" if value < 3 else "middle" if value <= 7 else "high"


def body_of(row: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `messages.create` that a row stands for."""
    text = row.get("filler", "") * row.get("repeat", 1) + row["user"]
    content: Any = text
    if row.get("media"):
        content = [*(_MEDIA[name] for name in row["media"]), {"type": "text", "text": text}]
    earlier = row.get("earlier", []) * row.get("rounds", 1)
    turns = [
        {"role": role, "content": said}
        for role, said in zip(cycle(["user", "assistant"]), earlier, strict=False)
    ]
    body: dict[str, Any] = {"messages": [*turns, {"role": "user", "content": content}, *_run(row)]}
    if row.get("system"):
        body["system"] = row["system"]
    if row.get("tools"):
        body["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in row["tools"]]
    return {**body, **row.get("more", {})}


def _run(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The tool calls of a row, each with its result."""
    result = "A line of what it found.\n" * row.get("result_repeat", 4)
    return [
        message
        for step in range(row.get("steps", 0))
        for message in step_of(f"toolu_{step}", row["tools"][step % len(row["tools"])], result)
    ]


def step_of(id: str, name: str, result: str) -> list[dict[str, Any]]:  # noqa: A002 - the API's own word
    """One tool call and its result, as two messages."""
    call = {"type": "tool_use", "id": id, "name": name, "input": {"what": "the next thing"}}
    answer = {"type": "tool_result", "tool_use_id": id, "content": result}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [answer]}]
