"""What a ledger is asked of the policies that were pushed to it: versions, the newest of them in force.

Every change makes a new version, a rollback and a withdrawal too, so numbers only rise.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from governor.ledger.values import Command

MOST_BYTES = 1 << 20
"""How long the texts of one version may be, as they are kept."""

KEPT_TEXTS = 100
"""Of how many versions, the newest, the texts are kept; who pushed what, when and why is kept of all."""

WITHDRAW = "withdraw"
"""What the version is called that has no files: everybody's own are in force again."""


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """What is known of a version besides its texts.

    Attributes:
        version: Its number, from 1.
        id: Of the command that made it.
        at_ms: When, by the ledger's clock, Unix milliseconds.
        what: `push`, `rollback` or `withdraw`.
        hash: Of its policies; '' where it was withdrawn.
        of: Of a rollback, the version whose texts it has; else 0.
        record: The journal record, JSON: who, and why.
    """

    version: int
    id: str
    at_ms: int
    what: str
    hash: str
    of: int
    record: str

    @property
    def withdrawn(self) -> bool:
        """Whether it has no files."""
        return self.what == WITHDRAW

    @property
    def actor(self) -> str:
        """Who made it; '' where the record does not say."""
        return self._said("actor")

    @property
    def reason(self) -> str:
        """Why; '' likewise."""
        return self._said("reason")

    def _said(self, name: str) -> str:
        try:
            return str(json.loads(self.record).get(name, ""))
        except (ValueError, AttributeError):
            return ""


@dataclass(frozen=True, slots=True)
class PolicyHead:
    """The newest version: its number, and the id that tells it from one of the same number after a loss."""

    version: int
    id: str


@dataclass(frozen=True, slots=True)
class PushedPolicies:
    """A version with its texts by file name: `None` where they are kept no more, empty if withdrawn."""

    about: PolicyVersion
    files: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Nothing was changed: the newest version is not the one the command was based on.

    *newest* is `None` where there is none at all.
    """

    newest: PolicyVersion | None


@dataclass(frozen=True, slots=True)
class PushPolicies(Command["PolicyVersion | Overtaken"]):
    """Put policies in force in every process, in place of its own files; or, without files, those again.

    Attributes:
        id: Made by the caller.
        base: The newest version there was when this was decided; 0: none.
        files: The texts of the policy files by name; empty: withdraw.
        hash: Of these policies; '' without files.
        record: The journal record, JSON.
        of: Of a rollback, the version whose texts these are.
    """

    id: str
    base: int
    files: dict[str, str]
    hash: str = ""
    record: str = "{}"
    of: int = 0

    def __post_init__(self) -> None:
        size = size_of(self.files)
        if size > MOST_BYTES:
            raise ValueError(f"the policy files have {size:,} bytes, and a version at most {MOST_BYTES:,}")

    @property
    def what(self) -> str:
        """What it makes: see `PolicyVersion.what`."""
        return ("rollback" if self.of else "push") if self.files else WITHDRAW

    def text(self) -> str:
        """The files as they are kept; '' without any."""
        return _dump(self.files)

    def payload(self) -> str:
        """A digest of what makes this the same change again."""
        said = repr((self.base, self.text(), self.hash, self.of))
        return hashlib.blake2b(said.encode(), digest_size=12).hexdigest()

    def detail(self) -> str:
        """What the journal says of it, but for the version's number."""
        return f"base={self.base} hash={self.hash} of={self.of}"


@dataclass(frozen=True, slots=True)
class ReadPolicyHead(Command["PolicyHead | None"]):
    """Which version is the newest; `None` where nothing was ever pushed."""


@dataclass(frozen=True, slots=True)
class ReadPolicies(Command["PushedPolicies | None"]):
    """One version with its texts, the newest where none is named; `None` where there is no such version."""

    version: int | None = None


@dataclass(frozen=True, slots=True)
class ListPolicyVersions(Command[tuple[PolicyVersion, ...]]):
    """The newest *limit* versions, the newest first."""

    limit: int = KEPT_TEXTS


def size_of(files: dict[str, str]) -> int:
    """How many bytes the texts of a version have, as they are kept."""
    return len(_dump(files).encode())


def _dump(files: dict[str, str]) -> str:
    return json.dumps(files, ensure_ascii=False, separators=(",", ":")) if files else ""


def read_files(text: str | None) -> dict[str, str] | None:
    """The inverse of `PushPolicies.text`; `None` of texts that are kept no more."""
    if text is None:
        return None
    files: dict[str, str] = json.loads(text) if text else {}
    return files
