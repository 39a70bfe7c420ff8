"""Hold a document against the policy language, and say what is wrong in the words of its author."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from governor.errors import Problem, nearest
from governor.policy.schema import AnyPolicy, DepartmentPolicy, OrganizationPolicy, User
from governor.policy.words import REFUSAL, Id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails

    from governor.policy.positions import Document

M = TypeVar("M", bound=BaseModel)

_USERS = TypeAdapter(Annotated[dict[Id, User], Field(min_length=1)], config=ConfigDict(strict=True))
_KEY = "[key]"
"""How pydantic marks that a mapping's key, not its value, is wrong."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file whose shape is right: what it says, and where it says it."""

    document: Document
    policy: AnyPolicy
    people: Document | None = None
    """The file of users that it names, if it does."""

    def place_of_user(self, user: str) -> tuple[Document, tuple[Any, ...]]:
        """The document that a user's row is in, and its path there."""
        own = ("users", user)
        if self.people is None or self.document.find(own) is not None:
            return self.document, own
        return self.people, (user,)

    @property
    def name(self) -> str:
        """The file, as it was named to the loader."""
        return self.document.file


def read_shape(document: Document) -> tuple[PolicyFile | None, list[Problem]]:
    """Validate one document.

    Returns:
        The file, or `None` where its shape is wrong, and every problem found.
    """
    problems = list(document.problems)
    kind = _kind(document, problems)
    if kind is None:
        return None, problems
    policy = validated(document, kind, problems)
    return (None if policy is None or problems else PolicyFile(document, policy)), problems


def validated(document: Document, kind: type[M], problems: list[Problem], plain: Any = None) -> M | None:
    """*document* as a *kind*; `None` where it is none, with what is wrong added to *problems*.

    *plain* is read in its place where it is given: what it says, with what it leaves to others filled in.
    """
    try:
        return kind.model_validate(document.root.plain() if plain is None else plain)
    except ValidationError as error:
        seen = {(problem.line, problem.column) for problem in problems}
        found = (_problem(document, kind, detail) for detail in error.errors(include_url=False))
        problems += [problem for problem in found if (problem.line, problem.column) not in seen]
        return None


def read_users(document: Document) -> tuple[dict[str, User] | None, list[Problem]]:
    """Validate a file of users: user to row.

    Returns:
        The users, or `None` where the file's shape is wrong, and every problem found.
    """
    problems = list(document.problems)
    try:
        users = _USERS.validate_python(document.root.plain())
    except ValidationError as error:
        found = (_problem(document, dict[str, User], detail) for detail in error.errors(include_url=False))
        return None, problems + list(found)
    return (None if problems else users), problems


def _kind(document: Document, problems: list[Problem]) -> type[DepartmentPolicy | OrganizationPolicy] | None:
    keys = document.root.value
    if not isinstance(keys, dict):
        problems.append(document.problem((), "a policy is a mapping of keys", "it starts with `version: 1`"))
        return None
    if "department" in keys and "organization" in keys:
        hint = "give the organisation a file of its own"
        message = "a file is of a department or of the organisation, not of both"
        problems.append(document.problem(("organization",), message, hint, on_key=True))
        return None
    if "organization" in keys:
        return OrganizationPolicy
    if "department" not in keys:
        meant = [key for key in keys if nearest(key, ("department", "organization")).startswith("did")]
        hint = nearest(meant[0], ("department", "organization")) if meant else "add `department: NAME`"
        message = "the file names neither a `department` nor an `organization`"
        problems.append(document.problem(meant[:1], message, hint, on_key=True))
        return None
    return DepartmentPolicy


def _problem(document: Document, kind: Any, detail: ErrorDetails) -> Problem:
    loc, context = list(detail["loc"]), detail.get("ctx", {})
    on_key = loc[-1:] == [_KEY]
    if on_key:
        loc.pop()
    if detail["type"] == REFUSAL:
        where = dotted(document.known_path(loc))
        message = f"{where}: {context['why']}" if where else str(context["why"])
        hint = str(context["hint"])
    else:
        message, hint = _words(document, kind, loc, detail)
    return document.problem(loc, message, hint, on_key=on_key or detail["type"] == "extra_forbidden")


def _words(document: Document, kind: Any, loc: list[Any], detail: ErrorDetails) -> tuple[str, str]:
    """Message and hint for what pydantic itself refused."""
    wrong, where = show(detail.get("input")), dotted(document.known_path(loc))
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key {loc[-1]!r}", nearest(str(loc[-1]), set(_fields(_at(kind, loc[:-1]))))
        case "missing":
            return f"{where or 'the file'} lacks the key {loc[-1]!r}", "add it"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
            return f"{where}: {wrong} is not known here", nearest(str(detail.get("input")), choices)
        case "too_short":
            return f"{where}: at least one is needed", "add one, or remove the key"
        case "model_type" | "dict_type":
            return f"{where or 'the file'} should be a mapping, not {wrong}", ""
        case _:
            return f"{where} {detail['msg'].removeprefix('Input ')}, not {wrong}", ""


def show(value: object) -> str:
    """A value as a message shows it: short, and as the file writes it."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return repr(value if len(value) <= 40 else value[:40] + "…")
        case None:
            return "nothing"
        case _:
            return str(value)[:40]


def dotted(path: Iterable[object]) -> str:
    """A path as messages write it: `budgets[2].window`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _at(kind: Any, loc: Sequence[object]) -> list[Any]:
    """The types that the end of *loc* may have; parts that lead nowhere (tags of a union) are skipped."""
    kinds = list(_alternatives(kind))
    for part in loc:
        inner = [alternative for kind in kinds for alternative in _inside(kind, part)]
        kinds = inner or kinds
    return kinds


def _alternatives(kind: Any) -> Iterator[Any]:
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _alternatives(get_args(kind)[0])
    elif origin in (Union, UnionType):
        for option in get_args(kind):
            yield from _alternatives(option)
    else:
        yield kind


def _inside(kind: Any, part: object) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for field in (field for name, field in kind.model_fields.items() if part in (name, field.alias)):
            yield from _alternatives(field.annotation)
    elif get_origin(kind) is dict:
        yield from _alternatives(get_args(kind)[1])
    elif get_origin(kind) is list and isinstance(part, int):
        yield from _alternatives(get_args(kind)[0])


def _fields(kinds: Iterable[Any]) -> Iterator[str]:
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (field.alias or name for name, field in kind.model_fields.items())
