"""What a budget counts per: the scopes, a request's tags among them, alone or two to four together.

A file writes `user`, `tag:project` or `[user, model]`; a balance's identity writes `user=ada`,
`tag.project=atlas` or `user=ada/model=claude-opus-5-5`, always in the order of `SCOPES`, tags last by name.
No other scope has a point in it and no identity a colon, which parts it from its window in a Redis key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SCOPES = ("organization", "department", "user", "feature", "run", "model")
"""All of them but the tags, in the order of identities."""

NAMEABLE = ("feature", "model")
"""Those that a budget may be narrowed to one value of, beside tags; a user's budgets have tiers instead."""

LEAST_TOGETHER, MOST_TOGETHER = 2, 4
"""How many scopes a combination has."""

_TAG, _TAG_DIMENSION = "tag:", "tag."
_NAME = re.compile(r"[a-z0-9_-]{1,64}\Z")


def clean_name(value: str) -> bool:
    """Whether *value* may name a department, an organisation or a tag: 1 to 64 of `a-z 0-9 _ -`."""
    return _NAME.match(value) is not None


def tag_of(scope: str) -> str | None:
    """The tag that a scope such as `tag:project` names; `None` for one that is no tag."""
    return scope.removeprefix(_TAG) if scope.startswith(_TAG) else None


def is_scope(text: str) -> bool:
    """Whether a file may write *text* after `per:`."""
    return text in SCOPES or clean_name(tag_of(text) or "")


def nameable(scope: str) -> bool:
    """Whether a budget may be for one value of *scope* only."""
    return scope in NAMEABLE or tag_of(scope) is not None


def in_order(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes in the order of identities, each once."""
    return tuple(
        sorted(set(scopes), key=lambda scope: (SCOPES.index(scope) if scope in SCOPES else 99, scope))
    )


def dimension(scope: str) -> str:
    """What an identity calls a scope: `user` is `user`, `tag:project` is `tag.project`."""
    tag = tag_of(scope)
    return scope if tag is None else _TAG_DIMENSION + tag


def scope_of(name: str) -> str:
    """The scope that an identity calls *name*, whether or not there is one."""
    return _TAG + name.removeprefix(_TAG_DIMENSION) if name.startswith(_TAG_DIMENSION) else name
