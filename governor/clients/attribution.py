"""Whose request is it? Said in the code around it, in headers of its own, or by a callable.

What is nearest to the request goes first, part by part: its headers, then the callable, then the innermost
`attribute` around it, then the middleware's defaults.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import ContextDecorator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, Self

from governor.errors import PolicyViolation
from governor.findings import read_findings

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.story.decision import Receipt

PARTS = ("user", "department", "feature", "run", "tags", "priority", "tier", "pin", "data")
"""What a request is attributed by; the arguments of the same names of `call()`."""

HEADER, TAG_HEADER, DATA_HEADER = "governor-", "governor-tag-", "governor-data-"
_ADDED = ("tags", "data")
"""Parts that are mappings, and are added up member by member."""

_IN_HEADERS = ("user", "department", "feature", "run", "priority", "tier")

MOST_RECEIPTS = 1000
"""So many receipts are kept by one `attribute`; the oldest go first."""


@dataclass(eq=False)
class Attributed:
    """What an `attribute` says of the requests inside, and what they cost.

    Attributes:
        said: The parts it was given.
        receipts: Of the calls that ended inside it, in their order; at most 1,000, the newest.
        around: The one around it.
        began_by: The `attribute` that it is of.
        ended: Whether that was left; a task that was started inside stays in it.
    """

    said: Mapping[str, Any]
    receipts: deque[Receipt] = field(default_factory=lambda: deque(maxlen=MOST_RECEIPTS))
    around: Attributed | None = None
    began_by: object = None
    ended: bool = False

    def part(self, name: str) -> Any:
        """What this one, or the nearest around it that says it, says of *name*."""
        scope: Attributed | None = self
        while scope is not None:
            if scope.said.get(name) is not None:
                return scope.said[name]
            scope = scope.around
        return None

    def account(self, receipt: Receipt) -> None:
        """Keep a receipt, here and in every one around."""
        scope: Attributed | None = self
        while scope is not None:
            scope.receipts.append(receipt)
            scope = scope.around

    def leave(self, began_by: object) -> Attributed | None:
        """End the innermost scope that *began_by* began; returns the innermost that has not ended.

        Generators that are read in turns leave in another order than they entered.
        """
        scope: Attributed | None = self
        while scope is not None and (scope.began_by is not began_by or scope.ended):
            scope = scope.around
        if scope is not None:
            scope.ended = True
        innermost: Attributed | None = self
        while scope is not None and innermost is not None and innermost.ended:
            innermost = innermost.around
        return innermost


_CURRENT: ContextVar[Attributed | None] = ContextVar("governor_attribution", default=None)


def current() -> Attributed | None:
    """The innermost `attribute` around the code that asks; `None` outside of any."""
    return _CURRENT.get()


class attribute(ContextDecorator):  # noqa: N801 - it reads as a verb where it is used
    """Say whose requests the code inside makes: a context manager, and a decorator of functions.

    It holds in this thread and task, in tasks that are started inside, and in threads that are started
    with the context (`contextvars.copy_context().run`, `asyncio.to_thread`); never in another request's.

    ```python
    with governor.attribute(user="ada@example.com", department="engineering", run="pr-1423") as work:
        client.messages.create(...)
    work.receipts[-1].cost
    ```

    Args:
        user: Who asks.
        department: Whose policy file.
        feature: What it is for.
        run: The agent run or job it belongs to.
        tags: What else to count it under; added to those of an `attribute` around it.
        priority: How urgent it is, in the policy's words.
        tier: `premium`, `standard` or `economy`.
        pin: Refuse rather than swap the model.
        data: What their data is, for the audit: see `Governor.call`; added to that of one around it.

    Raises:
        PolicyViolation: `tags` or `data` is no mapping, or `data` says what is none of its words.
    """

    def __init__(
        self,
        *,
        user: str | None = None,
        department: str | None = None,
        feature: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: str | None = None,
        tier: str | None = None,
        pin: bool | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        values = (user, department, feature, run, tags, priority, tier, pin, data)
        self._said: dict[str, Any] = {
            name: value for name, value in zip(PARTS, values, strict=True) if value is not None
        }
        check_tags(tags)
        read_findings(data)

    def __enter__(self) -> Attributed:
        around = _CURRENT.get()
        said: dict[str, Any] = dict(self._said)
        for name in _ADDED:
            if around is not None and name in said:
                said[name] = {**(around.part(name) or {}), **said[name]}
        scope = Attributed(said, around=around, began_by=self)
        _CURRENT.set(scope)
        return scope

    def __exit__(self, *_: object) -> None:
        # No token is kept: one `attribute` may be entered by many threads, and be left in another context.
        scope = _CURRENT.get()
        if scope is not None:
            _CURRENT.set(scope.leave(self))

    def _recreate_cm(self) -> Self:
        return type(self)(**self._said)

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Decorate *function*: every call of it is attributed.

        Raises:
            PolicyViolation: It is a generator, whose body runs outside of its call.
        """
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise PolicyViolation(
                f"{function.__qualname__} is a generator, whose body runs where it is read: "
                f"put `with governor.attribute(…)` inside it"
            )
        if not iscoroutinefunction(function):
            return super().__call__(function)

        @wraps(function)
        async def attributed(*args: Any, **kwargs: Any) -> Any:
            with self._recreate_cm():
                return await function(*args, **kwargs)

        return attributed


def attribution_of(
    headers: Mapping[str, Any],
    told: object,
    around: Attributed | None,
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """The parts of one request's attribution.

    Args:
        headers: Of the request.
        told: What the callable answered: a mapping of some of `PARTS`, or `None`.
        around: The innermost `attribute`.
        defaults: The middleware's own.

    Raises:
        PolicyViolation: The callable answered something else, or nobody says who asks, or for whom.
    """
    said = _checked(told)
    by_header = _from_headers(headers)
    found: dict[str, Any] = {}
    for name in PARTS:
        values = (by_header.get(name), said.get(name), around and around.part(name), defaults.get(name))
        if name in _ADDED:
            merged: dict[str, Any] = {}
            for value in reversed(values):
                check_tags(value) if name == "tags" else read_findings(value)
                merged.update(value or {})
            found[name] = merged or None
        else:
            found[name] = next((value for value in values if value is not None), None)
    for name in ("user", "department"):
        if not found[name]:
            raise PolicyViolation(
                f"nobody says which {name} this request is for: put it inside `with governor.attribute("
                f"{name}=…)`, give the header `{HEADER}{name}` with it, or use gov.middleware({name}=…)"
            )
    return found


def stripped(headers: Mapping[str, Any]) -> dict[str, Any]:
    """*headers* without those that are for the governor."""
    return {name: value for name, value in headers.items() if not name.lower().startswith(HEADER)}


def _checked(told: object) -> Mapping[str, Any]:
    if told is None:
        return {}
    if not isinstance(told, Mapping):
        raise PolicyViolation(
            f"`who` answered {told!r:.60}: it answers a mapping such as {{'user': 'ada'}}, or None"
        )
    unknown = sorted(set(told.keys()) - set(PARTS), key=str)
    if unknown:
        raise PolicyViolation(
            f"`who` answered {unknown[0]!r}, which is no part of an attribution: {', '.join(PARTS)}"
        )
    return told


def check_tags(tags: object) -> None:
    """Refuse tags that are no mapping.

    Raises:
        PolicyViolation: They are none.
    """
    if tags is not None and not isinstance(tags, Mapping):
        raise PolicyViolation(f"tags is {tags!r:.60}: give a mapping such as {{'project': 'atlas'}}")


def _from_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    tags: dict[str, str] = {}
    data: dict[str, Any] = {}
    for name, value in headers.items():
        lower = name.lower()
        if not lower.startswith(HEADER) or not isinstance(value, str):
            continue
        part = lower.removeprefix(HEADER)
        if lower.startswith(TAG_HEADER):
            tags[lower.removeprefix(TAG_HEADER)] = value
        elif lower in (f"{DATA_HEADER}classification", f"{DATA_HEADER}region"):
            data[lower.removeprefix(DATA_HEADER)] = value
        elif lower == f"{DATA_HEADER}pii":
            data["pii"] = [kind.strip() for kind in value.split(",") if kind.strip()]
        elif part in _IN_HEADERS:
            found[part] = value
        else:
            raise PolicyViolation(
                f"the header {name!r} is none of the governor's: {HEADER}{{{', '.join(_IN_HEADERS)}}} "
                f"{TAG_HEADER}NAME, or {DATA_HEADER}{{classification, region, pii}}"
            )
    if tags:
        found["tags"] = tags
    if data:
        found["data"] = data
    return found
