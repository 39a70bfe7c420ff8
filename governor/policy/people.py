"""Users that are listed in a file of their own, beside the policy file that names it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.policy.schema import DepartmentPolicy
from governor.policy.shape import read_users

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.errors import Problem
    from governor.policy.positions import Document
    from governor.policy.shape import PolicyFile


def with_users(file: PolicyFile, people: Mapping[str, Document]) -> tuple[PolicyFile | None, list[Problem]]:
    """The file with the users of the one that its `users_from` names; its own rows go before.

    Args:
        file: A policy file.
        people: The users files that were read, by name.

    Returns:
        The file, or `None` where its users cannot be read, and every problem found.
    """
    name = _named(file)
    if name is None or not isinstance(file.policy, DepartmentPolicy):
        return file, []
    document = people.get(name)
    if document is None:
        message = f"users_from: there is no file {file.policy.users_from!r} beside this one that can be read"
        return None, [file.document.problem(("users_from",), message, "add it, or correct its name")]
    users, problems = read_users(document)
    if users is None:
        return None, problems
    whole = file.policy.model_copy(update={"users": {**users, **(file.policy.users or {})}})
    return replace(file, policy=whole, people=document), problems


def unused_users(files: Sequence[PolicyFile], people: Mapping[str, Document]) -> Iterator[Problem]:
    """Files of users that no policy file names: their users would silently have no tier."""
    named = {_named(file) for file in files}
    for name, document in people.items():
        if name not in named:
            own = name.rpartition("/")[2]
            hint = f"write `users_from: {own}` into a department's file, or remove this one"
            yield document.problem((), "no policy file names this file of users", hint)


def _named(file: PolicyFile) -> str | None:
    """The users file that a policy file names, called as the loader calls it."""
    policy = file.policy
    if not isinstance(policy, DepartmentPolicy) or policy.users_from is None or policy.asks_application:
        return None
    folder, slash, _ = file.name.rpartition("/")
    return f"{folder}{slash}{policy.users_from}"
