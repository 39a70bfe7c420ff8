"""Where policies come from: the process's own files, and what was pushed to the ledger."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from governor.errors import PolicyError
from governor.ledger import commands as c
from governor.policy.load import fingerprint, load
from governor.policy.pushed import load_pushed, refuse_another

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from governor.ledger import Ledger
    from governor.policy import Policies
    from governor.policy.load import Fingerprint

    Accept = Callable[[Policies], None]

log = logging.getLogger("governor")

SETTLED_AFTER_NS = 100_000_000
"""Files written this lately are read once more: the clock of a file system ticks every few milliseconds."""


class PolicyFiles:
    """The policy files of a process, and the last of their states that could be read.

    Args:
        path: A folder, or one file.
        accept: Raises `PolicyError` of policies that load and still cannot be in force.

    Attributes:
        policies: Of the last good state.

    Raises:
        PolicyError: There is no good state to begin with.
    """

    def __init__(self, path: str | Path, accept: Accept) -> None:
        self._path = path
        self._accept = accept
        self._organization = ""
        self._seen: Fingerprint | str = fingerprint(path)
        self._sure = _settled(self._seen)
        self._error = ""
        self.policies = self._load()
        self._organization = self.policies.organization

    def look(self, *, force: bool = False) -> None:
        """Take the files over if they changed; with *force* whether or not they did.

        Files that change while they are read are left for the next look.

        Raises:
            PolicyError: They are broken, or gone; raised once, not again until they change.
        """
        before = self._state()
        again = before == self._seen
        sure = again or _settled(before)
        if again and self._sure and not force:
            return
        try:
            if isinstance(before, str):
                fingerprint(self._path)  # raises, and says what is wrong with each file
            policies = self._load()
        except PolicyError as error:
            if self._state() != before and not force:
                return
            known, self._error = again and str(error) == self._error, str(error)
            self._seen, self._sure = before, sure
            if known and not force:
                return
            raise
        if self._state() == before or force:
            same = again and not self._error and policies.hash == self.policies.hash
            self._seen, self._sure, self._error = before, sure, ""
            self.policies = self.policies if same else policies

    def _state(self) -> Fingerprint | str:
        """The fingerprint, or why there is none."""
        try:
            return fingerprint(self._path)
        except PolicyError as error:
            return str(error)

    def _load(self) -> Policies:
        policies = load(self._path)
        if self._organization:  # that of the first time: the ledger in use is its
            refuse_another(policies, self._organization, str(self._path))
        self._accept(policies)
        return policies


def _settled(state: Fingerprint | str) -> bool:
    """Whether the files are old enough that a later change must show in their times."""
    if isinstance(state, str):
        return True
    return max(mtime_ns for *_, mtime_ns, _ in state) < time.time_ns() - SETTLED_AFTER_NS


class PushedPolicies:
    """What was pushed to the ledger, and the last version of it that this process could read.

    Args:
        ledger: Any thread may use it.
        organization: Whose ledger it is.
        accept: As for `PolicyFiles`.

    Attributes:
        policies: Those in force instead of files; `None`: none were pushed, or they were withdrawn.
        broken: Why the newest version is not taken over; '' where it is.
    """

    def __init__(self, ledger: Ledger, organization: str, accept: Accept) -> None:
        self._ledger = ledger
        self._organization = organization
        self._accept = accept
        self._seen: c.PolicyHead | None = None
        self._missed = False
        self.policies: Policies | None = None
        self.broken = ""

    def look(self, *, force: bool = False) -> None:
        """Ask which version is the newest, and take it over if it is a new one; with *force* in any case.

        Raises:
            LedgerUnavailable: The ledger does not say.
            PolicyError: This release cannot read it; raised once for each version.
        """
        head = self._ledger.execute(c.ReadPolicyHead())
        if head == self._seen and not force:
            self._missed = False
            return
        pushed = None if head is None else self._ledger.execute(c.ReadPolicies(head.version))
        if pushed is None or pushed.files is None:
            self._miss()
            return
        about, policies = pushed.about, None
        seen = c.PolicyHead(about.version, about.id)
        if not about.withdrawn:
            try:
                policies = load_pushed(pushed.files, self._organization, about.version)
                self._accept(policies)
            except PolicyError as error:
                self._seen, self.broken = seen, str(error)
                raise
        self._seen, self.policies, self._missed, self.broken = seen, policies, False, ""
        log.info(
            "policy version %d (%s %s, by %s) is taken over",
            about.version,
            about.what,
            about.hash,
            about.actor or "nobody named",
        )

    def _miss(self) -> None:
        """The ledger has no version any more, which no withdrawal leaves behind: it lost them."""
        if self._seen is not None and not self._missed:
            self._missed = True
            log.error(
                "the ledger of %r has lost the policies that were pushed to it: version %d stays in force in "
                "this process; push them again with `governor policy push`",
                self._organization,
                self._seen.version,
            )
