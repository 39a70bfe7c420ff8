"""Is an archive as it was written? Every record, every link, and every row that is made from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.journal.archive import ArchiveError, audit_key
from governor.journal.archive_lines import LinesArchive, write_line
from governor.journal.audit.chain_check import ChainCheck, Stored
from governor.journal.audit.faults import Fault, Found, Head
from governor.journal.chain import split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from governor.journal.archive import Archive
    from governor.journal.archive_lines import Line
    from governor.journal.audit.chain_check import Kept

    Tell = Callable[[int, int | None], None]
    Noted = Mapping[str, Mapping[str, str]]


def verify(archive: Archive, organization: str, noted: Iterable[Head], tell: Tell) -> Found:
    """Look at all of an archive; nothing is written, and the memory it takes does not grow with it.

    Args:
        archive: A file's or a database's.
        organization: Whose.
        noted: Heads that somebody kept elsewhere (`records` is not looked at).
        tell: Is told how many rows were read, and of how many about.

    Raises:
        ArchiveError: It cannot be read.
    """
    by_epoch: dict[str, dict[str, str]] = {}
    for head in noted:
        by_epoch.setdefault(head.epoch, {})[head.seq] = head.hash
    work = _Work(organization, audit_key(), by_epoch, tell)
    if isinstance(archive, LinesArchive):
        work.lines(archive)
    else:
        work.database(archive)
    return work.found


class _Work:
    """One verification."""

    def __init__(self, organization: str, key: bytes, noted: Noted, tell: Tell) -> None:
        self._organization, self._key, self._noted, self._tell = organization, key, noted, tell
        self.found = Found(keyed=bool(key))

    def lines(self, archive: LinesArchive) -> None:
        """A file: its lines, and their chains."""
        total, checks = archive.count(), dict[str, ChainCheck]()
        for number, line, row in archive.read_lines():
            self.found.records += 1
            if row is None:
                what = "is no record of this journal" if line.endswith(b"\n") else "was cut off"
                self.found.add(Fault("changed", "", f"line {number}", "", f"it {what}"))
                continue
            if row.epoch not in checks:
                checks[row.epoch] = self._check(row.epoch, None)
            checks[row.epoch].take(_of_line(number, line, row))
            self._say(max(total, self.found.records))
        for epoch, check in checks.items():
            self._finish(epoch, check)
        self._never_seen(checks)

    def database(self, archive: Any) -> None:
        """Tables: the chains, what is kept of them, and what was made from the records."""
        from governor.journal.audit import database as tables  # noqa: PLC0415 - needs an extra
        from governor.journal.audit.derived import Derived  # noqa: PLC0415 - as above
        from governor.journal.retention import read_cuts  # noqa: PLC0415 - as above

        with tables.snapshot(archive) as now:
            self.found.cuts = cuts = read_cuts(now, self._organization)
            total = tables.count_rows(now, self._organization)
            kept, lives = (
                tables.read_kept(now, self._organization),
                tables.read_lives(now, self._organization),
            )
            for epoch in dict.fromkeys((*lives, *kept)):
                rows = tables.read_chain(now, self._organization, epoch, cuts.content)
                self._chain(epoch, rows, kept.get(epoch), total)
            self._never_seen(dict.fromkeys((*lives, *kept)))
            derived = Derived(now, self._organization, lives, cuts)
            for fault in derived.calls(lambda done: self._say(total, done)):
                self.found.add(fault)
            self.found.calls = derived.rows
            for fault in derived.results(lambda done: self._say(total, done)):
                self.found.add(fault)
            self.found.results = derived.rows - self.found.calls
            self.found.uncertain = derived.uncertain

    def _chain(self, epoch: str, rows: Iterator[Stored], kept: Kept | None, total: int) -> None:
        check, stranger = self._check(epoch, kept), False
        for row in rows:
            self.found.records += 1
            stranger = stranger or (check.count == 0 and kept is None and row.after is not None)
            if stranger:
                text = "it was put in: the archive has no chain of this epoch"
                self.found.add(Fault("inserted", epoch, str(row.entry.seq), str(row.entry.id), text))
            else:
                check.take(row)
            self._say(total)
        if stranger:
            return
        if kept is None:
            self.found.add(Fault("head", epoch, "", "", "its head is missing: nothing says where it ends"))
        self._finish(epoch, check)

    def _check(self, epoch: str, kept: Kept | None) -> ChainCheck:
        return ChainCheck(self._organization, epoch, self._key, kept, self._noted.get(epoch, {}))

    def _finish(self, epoch: str, check: ChainCheck) -> None:
        pruned = [seq for seq in self._noted.get(epoch, {}) if check.pruned(seq)]
        self.found.pruned += [f"{epoch}/{seq}" for seq in pruned]
        faults = check.finish()
        if check.broken > 1 and check.broken == check.count - check.unchained:
            key = (
                "with GOVERNOR_AUDIT_KEY, but maybe not this one" if self._key else "with GOVERNOR_AUDIT_KEY"
            )
            text = f"no record's hash holds: was it written {key}? Else each of them was changed"
            faults = [Fault("changed", epoch, "", "", text)]
        for fault in faults:
            self.found.add(fault)
        self.found.unchained += check.unchained
        if check.head[1]:
            self.found.heads.append(Head(epoch, *check.head, check.count))

    def _never_seen(self, seen: Mapping[str, object]) -> None:
        """Noted heads of epochs of which there is nothing."""
        for epoch, heads in self._noted.items():
            for seq in heads if epoch not in seen else ():
                self.found.add(Fault("missing", epoch, seq, "", "it was noted as a head, and is not there"))

    def _say(self, total: int, more: int = 0) -> None:
        done = self.found.records + more
        if done % 1000 == 0:
            self._tell(done, total)


def _of_line(number: int, line: bytes, row: Line) -> Stored:
    """A line as a record; one that has a hash is as this module's own writer writes it, to the byte."""
    parts, one = split(row.record), row.archived
    faults: tuple[str, ...] = ()
    if row.hash is not None and write_line(row.organization, one, row.hash) != line:
        faults = ("its line is not as it was written",)
    bare = replace(one.entry, record=parts.record)
    return Stored(bare, row.after, parts.findings_hash, row.hash, faults, spot=f"line {number}")


def read_head(text: str) -> Head:
    """A head as `str(head)` writes it.

    Raises:
        ArchiveError: It is none.
    """
    place, _, digest = text.strip().rpartition("=")
    epoch, _, seq = place.rpartition("/")
    if not (epoch and seq and len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
        raise ArchiveError(
            f"{text!r} is no head: write EPOCH/SEQ=HASH, as `governor audit verify` printed it "
            "(the hash has 64 hexadecimal digits)"
        )
    return Head(epoch, seq, digest, 0)
