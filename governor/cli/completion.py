"""What the shell completes: departments, users and budgets of the policy files, the files, time zones.

Nothing here asks a ledger. Where the policies cannot be read nothing is offered and nothing is said.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002 - typer reads the annotations of what completes

from governor.cli.context import load_policies
from governor.errors import GovernorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from governor.policy import Policies

MOST = 500
"""More than this many budgets are not offered: type more of the word."""

_INSTRUCTION, _WORDS, _WORD = "_GOVERNOR_COMPLETE", "COMP_WORDS", "COMP_CWORD"
_BREAKS = re.compile("[=:@]+")
"""Where bash (its COMP_WORDBREAKS) takes one word of ours for several."""


def departments(ctx: typer.Context, incomplete: str) -> list[str]:
    """The departments that have a policy file."""
    found = _policies(ctx)
    return [] if found is None else _beginning(found.departments, incomplete)


def users(ctx: typer.Context, incomplete: str) -> list[str]:
    """The users whom the policy files name."""
    found = _policies(ctx)
    return [] if found is None else _beginning(_values(found, None)["user"], incomplete)


def identities(ctx: typer.Context, incomplete: str) -> list[str]:
    """The budgets whose identity the policy files tell, of the users, features and models they name, too."""
    found = _policies(ctx)
    return [] if found is None else _beginning(_identities(found), incomplete)


def policy_files(ctx: typer.Context, incomplete: str) -> list[str]:
    """The policy files of the folder that is being typed; at first, of --policies."""
    typed = incomplete.rpartition("/")[0]
    folder = Path(typed or (_path(ctx) if not incomplete else "."))
    try:
        names = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError:
        return []
    return _beginning((str(name) for name in names if name.suffix in (".yaml", ".yml")), incomplete)


def timezones(incomplete: str) -> list[str]:
    """Every IANA time zone."""
    from zoneinfo import available_timezones  # noqa: PLC0415 - only a completion reads them all

    return _beginning(sorted(available_timezones()), incomplete)


def run(command: Callable[[], None]) -> None:
    """Run the command; where bash asks for completions, with words as they were typed.

    Bash takes `department=legal/usd/month` for three words, and puts what it is told in the place of the
    last. So they are joined before the command sees them, and what stands there already is left out after.
    """
    if os.environ.get(_INSTRUCTION) != "complete_bash":
        command()
        return
    typed = _join_words(os.environ)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            command()
    finally:
        for line in said.getvalue().splitlines():
            sys.stdout.write(line.removeprefix(typed) + "\n")


def _join_words(environ: Any) -> str:
    """Join what bash took apart; what of the last word stands before the part that bash replaces."""
    words, number = environ.get(_WORDS, ""), environ.get(_WORD, "")
    if not number.isdecimal():
        return ""
    parted = (words.split("\n") if "\n" in words else words.split(" "))[: int(number) + 1]
    parted += [""] * (int(number) + 1 - len(parted))
    joined: list[str] = []
    open_end = False
    before = ""
    for word in parted:
        breaks = _BREAKS.fullmatch(word) is not None
        if joined and (breaks or open_end) and len(joined) > 1:
            before = joined[-1] + (word if breaks else "")
            joined[-1] += word
        else:
            joined.append(word)
            before = ""
        open_end = breaks
    environ[_WORDS], environ[_WORD] = "\n".join(joined), str(len(joined) - 1)
    return before


def _policies(ctx: typer.Context) -> Policies | None:
    # What the loader logs would be written across the line that is being typed.
    logging.getLogger("governor").addHandler(logging.NullHandler())
    try:
        return load_policies(_path(ctx))
    except GovernorError:
        return None


def _path(ctx: typer.Context) -> str:
    return str(ctx.params.get("policies") or os.environ.get("GOVERNOR_POLICIES") or "policies")


def _beginning(values: Iterable[str], incomplete: str) -> list[str]:
    return list(itertools.islice((value for value in values if value.startswith(incomplete)), MOST))


def _identities(policies: Policies) -> Iterator[str]:
    seen: set[str] = set()
    for row in policies.all_terms():
        values = {
            **_values(policies, row.department),
            **{scope: (name,) for scope, name in row.names.items()},
        }
        for combination in itertools.product(*(values.get(scope, ()) for scope in row.inner)):
            identity = row.identity(dict(zip(row.inner, combination, strict=True)))
            if identity not in seen and policies.limit_of(identity) is not None:
                seen.add(identity)
                yield identity


def _values(policies: Policies, department: str | None) -> Mapping[str, Sequence[str]]:
    """The values of each scope that the files name: of a department's file, or of them all."""
    found: dict[str, dict[str, None]] = {"user": {}, "feature": {}, "model": {}}
    for file in policies.files:
        policy: Any = file.policy
        if not hasattr(policy, "department") or department not in (None, policy.department):
            continue
        found["user"].update(dict.fromkeys(policy.users or ()))
        found["feature"].update(dict.fromkeys(policy.features))
        found["model"].update(dict.fromkeys(policy.routing.lines.values()))
    named = {scope: [name for name in names if name != "*"] for scope, names in found.items()}
    return {**named, "department": policies.departments}
