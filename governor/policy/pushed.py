"""Policies that come from the ledger, and what a process is told where it shall have no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.errors import PolicyError, Problem
from governor.policy.load import is_policy_name, load_texts

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from governor.policy.resolve import Policies

SCHEME = "ledger:"
"""What begins a source that is no folder: `ledger:acme`, whatever was pushed to the ledger of acme."""


def pushed_only(source: str | os.PathLike[str]) -> bool:
    """Whether *source* names the policies that were pushed, and no files."""
    return str(source).startswith(SCHEME)


def nothing_pushed(source: str | os.PathLike[str]) -> Policies:
    """The policies of an organisation before any were pushed: its name, and no department.

    Args:
        source: `ledger:acme`.

    Raises:
        PolicyError: It names no organisation.
    """
    organization = str(source).removeprefix(SCHEME)
    if not organization:
        problem = Problem(str(source), 0, 0, "no organization is named", "write `ledger:` and its name")
        raise PolicyError([problem])
    return load_texts({str(source): f"version: 1\norganization: {organization}\n"})


def load_pushed(files: Mapping[str, str], organization: str, version: int) -> Policies:
    """The policies of one version that was pushed; in problems a file is `ledger:acme@7/legal.yaml`.

    Args:
        files: The texts by file name.
        organization: Whose ledger it is.
        version: The version's number.

    Raises:
        PolicyError: This release cannot read it, or it is of another organisation.
    """
    where = f"{SCHEME}{organization}@{version}"
    odd = [name for name in files if not plain_name(name)]
    if odd:
        hint = "push the folder again with `governor policy push`"
        raise PolicyError(
            [Problem(where, 0, 0, f"{name!r} is no name of a policy file", hint) for name in odd]
        )
    loaded = load_texts({f"{where}/{name}": text for name, text in files.items()})
    refuse_another(loaded, organization, where)
    return loaded


def refuse_another(policies: Policies, organization: str, where: str) -> None:
    """Refuse policies of another organisation than the ledger in use is of.

    Raises:
        PolicyError: They are.
    """
    if policies.organization != organization:
        message = f"these are the policies of {policies.organization!r}, and {organization!r}'s are in force"
        hint = "put the name back; for another organization, restart with a ledger of its own"
        raise PolicyError([Problem(where, 0, 0, message, hint)])


def plain_name(name: str) -> bool:
    """Whether a name is that of a policy file in the folder itself: what a ledger says is not trusted."""
    return is_policy_name(name) and not any(char in "/\\" or ord(char) < 32 for char in name)
