"""Reads an archive's records a page at a time, from a place on or from an instant on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from governor.journal.chain import join
from governor.journal.tables import heads, journal
from governor.ledger.commands import JournalEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 2000
_FIELDS = ("seq", "kind", "id", "at_ms", "outcome", "detail", "record")


@dataclass(frozen=True, slots=True)
class Here:
    """A place in an archive: the last record that was read of an epoch; *place* -1: none of it yet."""

    epoch: str
    place: int = -1
    minor: int = 0


class Follower:
    """Follows the records of one organisation through its ledger's lives, oldest first; each call is a page.

    Args:
        organization: Whose.
        from_ms: Records older than this are left out, Unix milliseconds.
    """

    def __init__(self, organization: str, from_ms: int) -> None:
        self._organization, self._from_ms = organization, from_ms
        self._at: Here | None = None
        self._seen: frozenset[str] = frozenset()
        self._lives: list[str] = []

    def page(self, connection: sa.Connection) -> Sequence[JournalEntry]:
        """The next records, at most `PAGE`; none: nothing is new at this moment."""
        if self._at is None:
            self._at = self._begin(connection)
        while self._at is not None:
            found = connection.execute(self._after(self._at)).all()
            if found:
                self._at = Here(self._at.epoch, found[-1].place, found[-1].place_minor)
                return [_entry(row) for row in found]
            later = self._later(connection, self._at.epoch)
            if later is None:
                return []
            self._at = Here(later)
        return []

    def _begin(self, connection: sa.Connection) -> Here | None:
        """Just before the first record that is young enough."""
        for epoch in self._known(connection):
            young = (*self._of(epoch), journal.c.at_ms >= self._from_ms)
            query = sa.select(journal.c.place, journal.c.place_minor).where(*young)
            first = connection.execute(
                query.order_by(journal.c.place, journal.c.place_minor).limit(1)
            ).first()
            if first is not None:
                return Here(epoch, first.place, first.place_minor - 1)
        return None

    def _later(self, connection: sa.Connection, epoch: str) -> str | None:
        lives = self._known(connection)
        after = lives[lives.index(epoch) + 1 :] if epoch in lives else []
        return after[0] if after else None

    def _known(self, connection: sa.Connection) -> list[str]:
        """The epochs, oldest first; looked for anew only where another one has come: that reads them all."""
        mine = heads.c.organization == self._organization
        epochs = frozenset(connection.execute(sa.select(heads.c.epoch).where(mine)).scalars())
        if epochs != self._seen:
            query = (
                sa.select(journal.c.epoch)
                .where(journal.c.organization == self._organization)
                .group_by(journal.c.epoch)
                .order_by(sa.func.min(journal.c.at_ms))
            )
            self._seen, self._lives = epochs, list(connection.execute(query).scalars())
        return self._lives

    def _after(self, here: Here) -> Any:
        columns = [journal.c[name] for name in (*_FIELDS, "findings", "place", "place_minor")]
        further = sa.or_(
            journal.c.place > here.place,
            sa.and_(journal.c.place == here.place, journal.c.place_minor > here.minor),
        )
        query = sa.select(*columns).where(*self._of(here.epoch), journal.c.place >= here.place, further)
        return query.order_by(journal.c.place, journal.c.place_minor).limit(PAGE)

    def _of(self, epoch: str) -> tuple[Any, ...]:
        return journal.c.organization == self._organization, journal.c.epoch == epoch


def _entry(row: Any) -> JournalEntry:
    told = {name: getattr(row, name) for name in _FIELDS}
    return JournalEntry(**{**told, "record": join(row.record, row.findings)})
