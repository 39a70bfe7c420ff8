"""How hard is a request? A score from 0 to 10, from its body alone: no network, no model, no randomness.

The points of each signal add up, and the sum is kept within 0 and 10. Below 3 a small model does it, above 7
it is work for the best one; which line serves which band is the policy's to say. The signals and their points
are in `docs/routing.md`, section "Complexity". The weights are this project's own, set on the requests in
`tests/data/complexity.yaml`; an application that knows better gives a scorer of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from governor.routing import vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 10
_MOST_ITEMS, _MOST_TEXTS = 20_000, 1_000
"""Messages and blocks that are counted in all, and blocks of one message that are read for its texts."""
_MOST_DEPTH = 4
"""Blocks lie within tool results, those within messages; what refers to itself would be read for ever."""
_HEAD, _TAIL, _EARLIER, _SYSTEM = 500, 300, 150, 300
"""Characters looked at: of the latest turn, of each of two before it, of the system prompt."""
_BLOCKS = 4
"""Of a turn in several blocks, the last ones are looked at; of the system prompt the first."""
_LIGHT_BELOW = 2_000
_WORK_FROM = 120
"""Characters of the latest user turn from which it is no small talk."""
_LARGE_BUDGET = 16_000

_SIZE = ((400_000, 3), (20_000, 2), (3_000, 1))
_LATEST = ((4_000, 2), (400, 1))
_TURNS = ((40, 3), (15, 2), (5, 1))
_MOST_BY_LENGTH = 3
_TOOLS = ((10, 2), (1, 1))
_RESULTS = ((15, 5), (5, 3), (1, 1))
_IMAGES = ((5, 3), (1, 2))
_EFFORTS = {"high": 2, "xhigh": 3, "max": 3}
_THINKING = {"adaptive": 1, "enabled": 2, "between_tools": 2}

_DIFF = ("diff --git ", "\n@@ -", "\n+++ b/")
_TRACE = (
    *("Traceback (most", "\n    at ", "\n\tat ", "goroutine ", "panicked at", "Exception in thread"),
    *("Call trace:", "Call Trace:"),
)
_SYNTAX = (
    *(
        r"def \w{1,40}\(",
        r"class \w{1,40}[:({]",
        r"function \w{0,40}\(",
        r"func [\w(]{1,40}",
        r"fn \w{1,40}\(",
    ),
    *(r"const \w{1,40} =", r"public (?:static|class|void|int) ", r"SELECT .{1,80}? FROM ", r"#include [<\"]"),
)
"""Each begins with letters as they are: where those are not, it is not searched for."""
_FILE = r"\.(?:py|tsx?|jsx?|go|rs|java|rb|c|cc|cpp|h|cs|kt|php|sql|swift|tf|ya?ml)\b"
_NAME = 40
"""Characters before a file's ending that tell it from another file."""


@dataclass(frozen=True, slots=True)
class Complexity:
    """How hard a request is.

    Attributes:
        value: 0 to 10; an `int` by the local scorer, maybe with one decimal by the application's.
        parts: What it is made of, each with its points; their sum may lie outside 0 to 10.
        note: What else there is to say of it, such as why the application's scorer was not heard; else ''.
    """

    value: float
    parts: tuple[tuple[str, float], ...]
    note: str = ""

    def __str__(self) -> str:
        """The reason in one phrase: `7 (size 2, work 3, code 2)`."""
        parts = ", ".join(f"{name} {points}" for name, points in self.parts) or "nothing hard in it"
        return f"{self.value} ({parts}; {self.note})" if self.note else f"{self.value} ({parts})"


def score(body: Mapping[str, Any]) -> Complexity:
    """How hard the request in *body* is, by the table above.

    The same body always has the same score. More turns before a conversation never lower it, nor do further
    tool calls and their results at its end; a new user turn may.

    Args:
        body: The parameters of `messages.create`; blocks may be the SDK's own objects. What is odd in it is
            passed over: nothing is raised.
    """
    prompt = _Prompt()
    prompt.read(_get(body, "messages"))
    prompt.content(_get(body, "system"))
    parts = {
        **_by_length(prompt),
        "tools": _points(len(_items(_get(body, "tools"))), _TOOLS),
        "results": _points(prompt.results, _RESULTS),
        **_by_words(prompt, _head(_texts(_get(body, "system")), _SYSTEM)),
        "effort": _effort(body),
        "media": 3 if prompt.files else _points(prompt.images, _IMAGES),
        "output": _output(body),
    }
    given = tuple((name, points) for name, points in parts.items() if points)
    return Complexity(min(max(sum(parts.values()), 0), MOST), given)


class _Prompt:
    """Counts what a prompt has in one pass, and keeps the latest user turns."""

    def __init__(self) -> None:
        self.characters = self.messages = self.results = self.images = self.files = 0
        self.turns: list[list[str]] = []
        self._items = 0

    @property
    def latest(self) -> int:
        """Characters of the latest user turn."""
        return sum(map(len, self.turns[-1])) if self.turns else 0

    def read(self, messages: Any) -> None:
        """Read all the messages."""
        for message in _items(messages):
            self.messages += 1
            content = message.get("content") if type(message) is dict else _get(message, "content")
            if type(content) is str:  # most are, and a conversation has many
                self.characters += len(content)
                if content and _word(message, "role") == "user":
                    self.turns.append([content])
                continue
            if _word(message, "role") == "user":
                texts = _texts(content)
                if texts:
                    self.turns.append(texts)
            self.content(content)

    def content(self, content: Any, depth: int = 0) -> None:
        """Read the content of a message or a block: a text or blocks."""
        if isinstance(content, str):
            self.characters += len(content)
            return
        if depth >= _MOST_DEPTH:
            return
        for block in _items(content):
            self._items += 1
            if self._items > _MOST_ITEMS:
                return
            self._block(block, depth)

    def _block(self, block: Any, depth: int) -> None:
        kind = _word(block, "type")
        if kind == "text":
            self.characters += len(_word(block, "text"))
        elif kind in ("image", "document", "container_upload"):
            self._file(kind, _get(block, "source"), depth)
        elif kind == "thinking":
            self.content(_get(block, "thinking"), depth + 1)
        elif kind == "tool_use":
            self._input(_get(block, "input"))
        else:
            self.results += kind.endswith("tool_result")
            self.content(_get(block, "content"), depth + 1)

    def _file(self, kind: str, source: Any, depth: int) -> None:
        how = _word(source, "type")
        if kind == "document" and how in ("text", "content"):
            self.content(_get(source, "data" if how == "text" else "content"), depth + 1)
        else:
            self.images += kind == "image"
            self.files += kind != "image"

    def _input(self, given: Any) -> None:
        if isinstance(given, dict):
            self.characters += sum(len(value) for value in given.values() if isinstance(value, str))


def _by_length(prompt: _Prompt) -> dict[str, int]:
    """How much there is to read, at most 3 points: what is long need not be hard."""
    size = _points(prompt.characters, _SIZE)
    latest = min(_points(prompt.latest, _LATEST), _MOST_BY_LENGTH - size)
    turns = min(_points(prompt.messages, _TURNS), _MOST_BY_LENGTH - size - latest)
    return {"size": size, "latest": latest, "turns": turns}


def _by_words(prompt: _Prompt, system: str) -> dict[str, int]:
    """What the latest user turns say, and the system prompt's head."""
    latest = _window(prompt.turns[-1]) if prompt.turns else ""
    text = "\n".join([*(_head(turn, _EARLIER) for turn in prompt.turns[-3:-1]), latest])
    told, short = vocabulary.find(system), prompt.latest < _LIGHT_BELOW
    if told.light and short:
        return {"light": -3}
    said, code = vocabulary.find(text), _code(text)
    light = short and said.light and not said.hard and vocabulary.find(latest).light
    asked = 5 * len(said.hard) + 2 * len(said.deep) + min(len(told.hard) + len(told.deep), 2)
    works = code or said.hard or said.deep or said.work or prompt.latest >= _WORK_FROM
    return {
        "code": code,
        "work": 3 if works else 0,
        "reasoning": min(asked, 7),
        "light": -3 if light else 0,
    }


def _code(text: str) -> int:
    syntax, ending = _expressions()
    kinds = int("```" in text)
    kinds += any(mark in text for mark in _DIFF)
    kinds += any(mark in text for mark in _TRACE)
    kinds += any(begin in text and expression.search(text) for begin, expression in syntax)
    files = {
        text[max(0, found.start() - _NAME) : found.end()].rsplit(maxsplit=1)[-1]
        for found in ending.finditer(text)
    }
    return 3 if len(files) >= 3 or kinds > 1 else 2 if kinds else 0


@cache
def _expressions() -> tuple[tuple[tuple[str, re.Pattern[str]], ...], re.Pattern[str]]:
    """Of syntax, each with how it begins, and of the ending of a file's name; made at the first use."""
    begins = (re.split(r"[\\[(.]", one)[0] for one in _SYNTAX)
    return tuple(zip(begins, map(re.compile, _SYNTAX), strict=True)), re.compile(_FILE)


def _effort(body: Any) -> int:
    thinking = _get(body, "thinking")
    points = _THINKING.get(_word(thinking, "type"), 0)
    budget = _get(thinking, "budget_tokens")
    if points and isinstance(budget, int) and budget >= _LARGE_BUDGET:
        points = 3
    return max(points, _EFFORTS.get(_word(_get(body, "output_config"), "effort"), 0))


def _output(body: Any) -> int:
    forced = _word(_get(body, "tool_choice"), "type") in ("any", "tool")
    return int(forced or _get(_get(body, "output_config"), "format") is not None)


def _points(amount: int, steps: tuple[tuple[int, int], ...]) -> int:
    return next((points for least, points in steps if amount >= least), 0)


def _get(value: Any, key: str) -> Any:
    """A field of a dictionary or of one of the SDK's objects; `None` where there is none to be read."""
    if type(value) is dict:
        return value.get(key)
    if value is None or isinstance(value, (str, bytes, int, float, list, tuple, type)):
        return None
    try:
        return value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    except Exception:  # noqa: BLE001 - an object of the caller's may raise whatever it likes
        return None


def _word(value: Any, key: str) -> str:
    """A field that is a text; '' for anything else."""
    found = _get(value, key)
    return found if isinstance(found, str) else ""


def _items(value: Any, most: int = _MOST_ITEMS) -> Sequence[Any]:
    """The last items of a list; reading an iterator would use it up."""
    if not isinstance(value, (list, tuple)):
        return ()
    return value if len(value) <= most else value[-most:]


def _texts(content: Any) -> list[str]:
    """The texts of a message, whole; empty ones left out."""
    if isinstance(content, str):
        return [content] if content else []
    blocks = _items(content, _MOST_TEXTS)
    texts = (_word(block, "text") for block in blocks if _word(block, "type") == "text")
    return [text for text in texts if text]


def _window(texts: list[str]) -> str:
    """What is looked at of the latest turn: its begin and end, or those of its last blocks."""
    if len(texts) == 1:
        return _ends(texts[0], _HEAD, _TAIL)
    return "\n".join(_ends(text, _HEAD // _BLOCKS, _TAIL // _BLOCKS) for text in texts[-_BLOCKS:])


def _ends(text: str, head: int, tail: int) -> str:
    return text if len(text) <= head + tail else f"{text[:head]}\n{text[-tail:]}"


def _head(texts: list[str], most: int) -> str:
    """The first *most* characters of texts."""
    return "\n".join(text[:most] for text in texts[:_BLOCKS])[:most]
