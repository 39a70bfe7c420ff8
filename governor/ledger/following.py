"""What an archive asks of a ledger to follow its journal: to be known, to wait, to see who else follows.

Whoever follows has a name in the ledger and the place up to which it has everything; no record behind that
place is trimmed. The place is moved behind each commit of the archive: it tells where an archive is, it does
not decide it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.ledger.commands import Command

if TYPE_CHECKING:
    from governor.ledger.recovery import Mark


@dataclass(frozen=True, slots=True)
class Follow(Command[None]):
    """Say up to where an archive has the journal; one that is not known yet is from then on.

    Attributes:
        name: The archive's, as the ledger knows it.
        epoch: Of the journal that it has; a ledger made anew refuses another one's.
        last: Its last record; `None`: it has none yet.
        before: Where it was before, and *count* how many records it has had since: so the ledger can tell how
            far it lags without counting. '': before the first record; `None`: unknown.
        count: As said.
    """

    name: str
    epoch: str
    last: Mark | None
    before: str | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Unfollow(Command[bool]):
    """Forget an archive, so that nothing is kept for it any more; answers whether it was known."""

    name: str


@dataclass(frozen=True, slots=True)
class Follower:
    """An archive that follows, as the ledger knows it.

    Attributes:
        name: Its name.
        seq: The place up to which it has everything; `None`: it has nothing yet.
        lag: How many records it has not; `None`: the ledger cannot tell.
        oldest_ms: When the oldest of these was written, Unix milliseconds; `None` where there is none.
    """

    name: str
    seq: str | None
    lag: int | None
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class ListFollowers(Command[tuple[Follower, ...]]):
    """Every archive that follows, by name."""


@dataclass(frozen=True, slots=True)
class AwaitRecords(Command[bool]):
    """Wait until there is a record after the place *after*; answers whether there is.

    Redis wakes the caller; SQLite answers at once, and the caller looks again later.

    Attributes:
        after: A place; `None`: the beginning.
        most_ms: So long at most, in milliseconds; less than the client's time-out.
    """

    after: str | None
    most_ms: int
