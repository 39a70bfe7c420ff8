"""What commands know of the policies that were pushed to the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.cli.findings import OK, WRONG, Finding
from governor.cli.output import note
from governor.errors import LedgerDown, LedgerUnavailable, PolicyError
from governor.ledger import commands as c
from governor.ledger import detail
from governor.story.decision import instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.ledger import Ledger
    from governor.policy import Policies


def in_force(store: Ledger, loaded: Policies, source: str) -> Policies:
    """The policies that the applications go by: those that were pushed, else *loaded*; says which.

    Args:
        store: The ledger.
        loaded: Of the files.
        source: What `--policies` names.

    Raises:
        LedgerUnavailable: The ledger is away.
    """
    from governor.policy.pushed import load_pushed  # noqa: PLC0415 - a command without policies need not pay

    try:
        pushed = store.execute(c.ReadPolicies())
    except LedgerDown:
        raise
    except LedgerUnavailable as error:
        note(f"what was pushed to the ledger is not known, so this goes by {source}: {error}")
        return loaded
    if pushed is None or not pushed.files:
        return loaded
    about = pushed.about
    try:
        policies = load_pushed(pushed.files, loaded.organization, about.version)
    except PolicyError as error:
        note(f"{said(about)} cannot be read by this release, so this goes by {source}:\n{error}")
        return loaded
    note(f"{said(about)} is in force, and not {source}")
    return policies


@dataclass(frozen=True, slots=True)
class Push:
    """A version of the policies, as its record in the journal tells of it.

    Attributes:
        version: Its number.
        what: `push`, `rollback` or `withdraw`.
        hash: Of its policies; '' where they were withdrawn.
        at_ms: When, Unix milliseconds by the ledger's clock.
        actor: Who; may be empty, like *reason*.
        reason: Why.
    """

    version: int
    what: str
    hash: str
    at_ms: int
    actor: str
    reason: str

    def __str__(self) -> str:
        """For example `policy version 7 (push, 1a2b3c4d5e6f) by ada@host: launch week`."""
        named = ", ".join(filter(None, (self.what, self.hash)))
        return f"policy version {self.version} ({named}) by {self.actor or 'somebody'}" + (
            f": {self.reason}" if self.reason else ""
        )

    def as_json(self) -> dict[str, Any]:
        """The version as JSON."""
        told = {name: getattr(self, name) for name in ("version", "what", "hash", "actor", "reason")}
        return {**told, "at": instant(self.at_ms)}


def push_of(entry: c.JournalEntry) -> Push:
    """The version that a journal entry of the kind `policy` records."""
    record, fields = json.loads(entry.record), detail.read_change(entry.detail)
    who = (str(record.get("actor", "")), str(record.get("reason", "")))
    return Push(int(fields["version"]), entry.outcome, fields["hash"], entry.at_ms, *who)


def findings(store: Ledger, loaded: Policies) -> Iterator[Finding]:
    """What `governor doctor` says of the policies that were pushed."""
    from governor.policy.pushed import load_pushed  # noqa: PLC0415 - as above

    try:
        pushed = store.execute(c.ReadPolicies())
    except LedgerUnavailable as error:
        yield Finding(WRONG, "policies", f"what was pushed is not known: {error}")
        return
    if pushed is None or not pushed.files:
        if not loaded.departments:
            text = "there are no files, and nothing is pushed: every call is refused"
            yield Finding(WRONG, "policies", text, "`governor policy push PATH --reason …`")
        return
    try:
        load_pushed(pushed.files, loaded.organization, pushed.about.version)
    except PolicyError as error:
        text = f"{said(pushed.about)} cannot be read by this release: {error}"
        yield Finding(WRONG, "policies", text, "update the package, or `governor policy rollback VERSION`")
        return
    yield Finding(OK, "policies", f"{said(pushed.about)} is in force, in place of files")


def said(about: c.PolicyVersion) -> str:
    """A version as sentences name it: `policy version 7 (push, 1a2b3c4d5e6f, by ada@host)`."""
    what = f"{about.what} to {about.of}" if about.of else about.what
    return f"policy version {about.version} ({what}, {about.hash}, by {about.actor or 'nobody named'})"
