"""Every Redis key name, in one place.

All keys of an organisation share one hash tag, so that one script may see all its levels on a cluster.
The leading `gov:2` is the layout's version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SCHEMA = 2
"""The layout's number, kept in the ledger; another one is refused until it is migrated."""

_ORGANIZATION = re.compile(r"[a-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of one organisation's keys.

    Attributes:
        organization: 1 to 64 of `a-z 0-9 _ -`: no brace or separator can get into a key.
        schema: Of which layout; only a migration asks for another one than this release's.
    """

    organization: str
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if not _ORGANIZATION.fullmatch(self.organization):
            raise ValueError(f"{self.organization!r} is no organization name: use 1 to 64 of a-z 0-9 _ -")

    @property
    def prefix(self) -> str:
        """`gov:2:{acme}`."""
        return f"gov:{self.schema}:{{{self.organization}}}"

    @property
    def meta(self) -> str:
        """A hash: schema, epoch, created_ms. `gov:2:{acme}:meta`."""
        return f"{self.prefix}:meta"

    @property
    def admin(self) -> str:
        """A hash that only administrators write: overrides, grants, freezes. `gov:2:{acme}:admin`."""
        return f"{self.prefix}:admin"

    @property
    def requests(self) -> str:
        """A hash of the grants that were asked for, and how it was answered. `gov:2:{acme}:requests`."""
        return f"{self.prefix}:requests"

    @property
    def board(self) -> str:
        """A hash of what processes tell each other, by process. `gov:2:{acme}:board`."""
        return f"{self.prefix}:board"

    @property
    def policies(self) -> str:
        """A hash that only administrators write: the policies that were pushed. `gov:2:{acme}:policies`."""
        return f"{self.prefix}:policies"

    @property
    def expiry(self) -> str:
        """A sorted set of open holds by expiry. `gov:2:{acme}:expiry`."""
        return f"{self.prefix}:expiry"

    @property
    def journal(self) -> str:
        """The stream of records. `gov:2:{acme}:journal`."""
        return f"{self.prefix}:journal"

    def hold(self, identifier: str) -> str:
        """A hash per hold. `gov:2:{acme}:h:01K…`."""
        return f"{self.prefix}:h:{identifier}"

    def entered(self, identifier: str) -> str:
        """A hash per record that was entered, by its id. `gov:2:{acme}:e:01K…`."""
        return f"{self.prefix}:e:{identifier}"

    def balance(self, identity: str, window: str) -> str:
        """A hash per balance. `gov:2:{acme}:b:department=engineering/usd/month:2026-11`."""
        return f"{self.prefix}:b:{identity}:{window}"

    def parse_balance(self, key: str) -> tuple[str, str]:
        """The identity and window of a balance's key; an identity has no colon."""
        identity, _, window = key.removeprefix(f"{self.prefix}:b:").partition(":")
        return identity, window
