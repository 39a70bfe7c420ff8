"""Whether a chain's records are as they were written: which was changed, is missing or was put in. Pure.

A record's hash holds all of it and the hash before. So of a record that does not follow, the one after it
tells what was changed: it follows the stored hash (the text was changed) or the computed one (the hash was).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.journal.audit.faults import MOST_FAULTS, Fault
from governor.journal.chain import link
from governor.ledger.recovery import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.ledger.commands import JournalEntry

_KEPT = 64
"""So many records back one is found that the next should have followed."""
_MOST = 10 * MOST_FAULTS
_TEXT = "it is not what was archived: its {what} was changed"
_UNSURE = _TEXT.format(what="text or its hash")
_NO_HASH = "its hash was taken away"


class Stored(NamedTuple):
    """A record as an archive has it; its fields may be anything.

    Attributes:
        entry: Its fields, without what was found in its content.
        after: The place of the record before it.
        findings_hash: Of what was cut out of it.
        hash: As it is stored; `None` where an older release wrote it.
        faults: What is wrong with it by itself.
        others: Places that it stands at, if they are not the one that it says.
        spot: Where it is, for people: `line 7`; ''.
    """

    entry: JournalEntry
    after: str | None
    findings_hash: str | None
    hash: str | None
    faults: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    spot: str = ""


class Kept(NamedTuple):
    """What an archive keeps of a chain beside its records; of a row that may hold anything."""

    first_seq: Any
    before_hash: Any
    seq: Any
    hash: Any
    records: Any


class _Seen(NamedTuple):
    """A record that was taken: its hash as stored, as computed, and whether the two differ."""

    seq: str | None
    id: str
    hash: str
    computed: str
    faults: int  # how many there were when it had been taken

    @property
    def pending(self) -> bool:
        return self.hash != self.computed


class ChainCheck:
    """Takes the records of one epoch, in the order that they are stored in.

    Args:
        organization: Whose.
        epoch: Its ledger's.
        key: Of the HMAC; empty: none.
        kept: What the archive says of the chain; `None`: nothing, as of a file.
        noted: Hashes that somebody noted, by the place of their record.

    Attributes:
        count: How many records were taken.
        unchained: How many of them have no hash.
        first: The first of them.
        broken: How many do not follow the one before.
    """

    def __init__(
        self, organization: str, epoch: str, key: bytes, kept: Kept | None, noted: Mapping[str, str]
    ) -> None:
        self._organization, self._epoch, self._key, self._kept = organization, epoch, key, kept
        before = kept.before_hash if kept is not None and isinstance(kept.before_hash, str) else ""
        self._cut = before != ""
        self._last = _Seen(None, "", before, "" if self._cut else before, 0)
        self._recent: dict[str | None, _Seen] = {None: self._last}
        self._noted = dict(noted)
        self._faults: list[tuple[str, Fault]] = []  # by the record that it was seen at
        self._beyond: list[_Seen] | None = None
        self._sound = True
        self.count = self.unchained = self.broken = 0
        self.first: Stored | None = None

    @property
    def head(self) -> tuple[str, str]:
        """The place and the hash of the newest record."""
        return self._last.seq or "", self._last.hash

    def take(self, row: Stored) -> None:
        """Look at the next record."""
        self.count += 1
        self.first = self.first or row
        for what in row.faults:
            self._add("changed", row, what)
        self._compare_with_noted(row)
        seen = self._recent.get(row.entry.seq)
        if seen is not None and seen.hash == row.hash:
            self._add("inserted", row, "it is there twice")
        elif row.hash is None:
            self._unchained(row)
        elif not (self._follows(row) or self._follows_an_older(row)):
            self.broken += 1
            self._broken(row)

    def finish(self) -> list[Fault]:
        """Look at what the archive says of the chain; returns all that was found."""
        if self._kept is not None:
            self._finish_with(self._kept)
        for seq, digest in self._noted.items():
            self._not_there(seq, digest)
        return [fault for _, fault in self._faults]

    def _follows(self, row: Stored) -> bool:
        """Whether it follows the one before it, as it is or but for one thing that is named."""
        last = self._last
        for before in dict.fromkeys((last.hash, last.computed)):
            for seq in (row.entry.seq, *row.others):
                if row.hash is not None and self._link(before, row, seq, row.after) == row.hash:
                    if last.pending:
                        self._explain(last, "text" if before == last.hash else "hash")
                    if seq != row.entry.seq:
                        text = f"its `seq` was changed: it says {row.entry.seq}"
                        self._put("changed", seq, row.entry.id, text)
                    self._accept(row, seq, row.hash)
                    self._look_for_a_gap(row, last)  # not that of `_last`, which is this one by now
                    return True
            if row.after == last.seq or row.hash is None:
                continue
            if self._link(before, row, row.entry.seq, last.seq) == row.hash:
                self._add("changed", row, _TEXT.format(what="`after`"))
                self._accept(row, row.entry.seq, row.hash)
                return True
        return False

    def _look_for_a_gap(self, row: Stored, last: _Seen) -> None:
        """Records may be missing though nobody took them: the ledger was trimmed before it was archived."""
        if row.after == last.seq or (last.seq is None and self._cut and row.after is not None):
            return
        if last.pending and last.seq is not None:
            self._put("changed", row.after or "", last.id, f"its `seq` was changed: it says {last.seq}")
            return
        text = f"records between {last.seq} and {row.entry.seq} were trimmed from the ledger before they "
        self._add("missing", row, f"{text}were archived", seq=row.after or row.entry.seq, name="")

    def _follows_an_older(self, row: Stored) -> bool:
        """Whether it follows one that is further back: what is between them was put in."""
        anchor = self._recent.get(row.after)
        if anchor is None or anchor is self._last or row.others:
            return False
        between = list(self._recent.values())
        between = between[between.index(anchor) + 1 :]
        if len(between) > 1 and self._sound and _before(row.entry.seq, self._last.seq):
            return False  # they follow each other: it is this one that stands behind its place
        before = next(
            (
                one
                for one in (anchor.hash, anchor.computed)
                if self._link(one, row, row.entry.seq, row.after) == row.hash
            ),
            None,
        )
        if before is None:
            return False
        names = {one.seq for one in between}
        self._faults = [
            told for n, told in enumerate(self._faults) if n < anchor.faults or told[0] not in names
        ]
        for one in between:
            self._recent.pop(one.seq, None)
            self._put(
                "inserted", one.seq or "", one.id, "it was put in: the next record follows the one before"
            )
        if anchor.pending:
            self._explain(anchor, "text" if before == anchor.hash else "hash")
        self._accept(row, row.entry.seq, row.hash or "")
        return True

    def _broken(self, row: Stored) -> None:
        """Say of a record that follows none what may be; the next one may tell better."""
        seq, last = row.entry.seq, self._last
        if row.others:
            return  # said already: it stands where it does not belong
        if _before(seq, last.seq):
            self._add("inserted", row, f"it is out of order: it stands behind {last.seq}")
        elif row.after != last.seq and not (last.seq is None and self._cut and self._kept_first(row)):
            since = "from the beginning" if last.seq is None else f"after {last.seq}"
            text = f"the records {since} up to {row.after} are missing"
            self._add("missing", row, f"{text} (so {seq} cannot be checked)", seq=row.after or seq, name="")
            if last.seq is None:
                self._add("changed", row, "it is not the first record, and nothing before it is there")
            self._accept(row, seq, row.hash or "", sound=False)
        else:
            self._add("changed", row, _UNSURE)
            self._accept(row, seq, self._link(last.hash, row, seq, row.after), sound=False)

    def _kept_first(self, row: Stored) -> bool:
        return self._kept is not None and self._kept.first_seq == row.entry.seq

    def _unchained(self, row: Stored) -> None:
        """A record that an older release wrote, in a file; only its place can be looked at."""
        self.unchained += 1
        last, seq = self._last, row.entry.seq
        if last.hash:
            self._add("changed", row, _NO_HASH)
        if _before(seq, last.seq):
            self._add("inserted", row, f"it is out of order: it stands behind {last.seq}")
            return
        if row.after != last.seq:
            self._add("missing", row, f"records up to {row.after} are missing", seq=row.after or "", name="")
        # What its hash would be, had it one: if the next follows that, it had.
        self._accept(row, seq, self._link(last.computed, row, seq, row.after))

    def _accept(self, row: Stored, seq: str, computed: str, *, sound: bool = True) -> None:
        """It is the one that the next should follow; *sound*: and it follows the one before it."""
        self._sound = sound
        self._last = seen = _Seen(seq, row.entry.id, row.hash or "", computed, len(self._faults))
        self._recent[seq] = seen
        if len(self._recent) > _KEPT:
            del self._recent[next(iter(self._recent))]
        if self._beyond is not None:
            if len(self._beyond) < MOST_FAULTS:
                self._beyond.append(seen)
        elif self._kept is not None and seq == self._kept.seq:
            self._beyond = []

    def _explain(self, seen: _Seen, what: str) -> None:
        """Say of a record what the next one told of it."""
        for n in range(len(self._faults) - 1, -1, -1):
            owner, fault = self._faults[n]
            if owner == seen.seq and fault.text.startswith(_UNSURE):
                text = fault.text.replace(_UNSURE, _TEXT.format(what=what), 1)
                self._faults[n] = (owner, replace(fault, text=text))
                return
            if owner == seen.seq and fault.text.startswith(_NO_HASH):
                return
        if seen.seq is not None and not seen.hash and what == "hash":
            self._put("changed", seen.seq, seen.id, _NO_HASH)
        if seen.seq is None and what == "hash":
            text = "its `before_hash` was changed: the first record follows none"
            self._put("head", self._first_seq, "", text)

    def _finish_with(self, kept: Kept) -> None:
        last = self._last
        if self.first is None:
            if kept.records != 0:
                text = f"all its records are missing: there were {kept.records}, up to {kept.seq}"
                self._put("missing", str(kept.seq), "", text)
            return
        if last.pending and last.seq is not None and kept.hash in (last.hash, last.computed):
            self._explain(last, "text" if kept.hash == last.hash else "hash")
        if kept.first_seq != self._first_seq and not self._seen_missing_first():
            text = f"its `first_seq` is {kept.first_seq}, the first record is {self._first_seq}"
            self._put("head", self._first_seq, "", text)
        self._finish_at_the_end(kept)
        if not self._faults and kept.records != self.count:
            text = f"its count is {kept.records}, and there are {self.count}"
            self._put("head", last.seq or "", "", text)

    def _finish_at_the_end(self, kept: Kept) -> None:
        last = self._last
        if kept.seq == last.seq:
            if kept.hash not in (last.hash, last.computed):
                self._put("head", last.seq or "", "", "its hash is not the last record's")
        elif kept.hash == last.hash:
            self._put("head", last.seq or "", "", f"its `seq` is {kept.seq}, the last record is {last.seq}")
        elif self._beyond:
            names = {one.seq for one in self._beyond}
            self._faults = [told for told in self._faults if told[0] not in names]
            for one in self._beyond:
                self._put("inserted", one.seq or "", one.id, f"it was put in behind the head, {kept.seq}")
        elif (_place(kept.seq) or (0, 0)) > (_place(last.seq) or (0, 0)):
            text = f"the records after {last.seq} up to {kept.seq} are missing"
            self._put("missing", str(kept.seq), "", text)
        else:
            self._put("head", last.seq or "", "", f"its `seq` is {kept.seq}, which is no record's")

    @property
    def _first_seq(self) -> str:
        return "" if self.first is None else self.first.entry.seq

    def _seen_missing_first(self) -> bool:
        return any(owner == self._first_seq for owner, _ in self._faults)

    def _compare_with_noted(self, row: Stored) -> None:
        noted = self._noted.pop(row.entry.seq, None) if self._noted else None
        if noted is not None and noted != row.hash:
            text = (
                f"the hash that was noted of it is {noted}, its hash is {row.hash}: the chain was made anew"
            )
            self._add("changed", row, text)

    def _not_there(self, seq: str, digest: str) -> None:
        """A noted record is not there: it was pruned, or taken away."""
        first = self.first
        if first is not None and self._cut and first.after == seq:
            if self._kept is not None and self._kept.before_hash != digest:
                self._put("head", seq, "", "its `before_hash` is not the one that was noted of that record")
        elif first is None or not self._cut or (_place(seq) or (0, 0)) > (_place(first.entry.seq) or (0, 0)):
            self._put("missing", seq, "", "it was noted as a head, and is not there")

    def pruned(self, seq: str) -> bool:
        """Whether a place is before all that is kept, because older records were pruned."""
        first = self.first and _place(self.first.entry.seq)
        told = self.first is not None and self.first.after == seq  # of that one the hash is kept
        return self._cut and not told and first is not None and (_place(seq) or first) < first

    def _link(self, before: str, row: Stored, seq: str, after: str | None) -> str:
        entry = row.entry if seq == row.entry.seq else replace(row.entry, seq=seq)
        try:
            return link(before, self._organization, self._epoch, entry, after, row.findings_hash, self._key)
        except (UnicodeEncodeError, AttributeError):
            return ""  # what cannot be text was never archived

    def _add(
        self, kind: Any, row: Stored, text: str, seq: str | None = None, name: str | None = None
    ) -> None:
        text += f" ({row.spot})" if row.spot else ""
        named = row.entry.id if name is None else name
        self._keep(
            row.entry.seq, Fault(kind, self._epoch, row.entry.seq if seq is None else seq, named, text)
        )

    def _put(self, kind: Any, seq: str, name: str, text: str) -> None:
        self._keep(seq, Fault(kind, self._epoch, seq, name, text))

    def _keep(self, owner: str, fault: Fault) -> None:
        if len(self._faults) < _MOST:
            self._faults.append((owner, fault))


def _before(seq: str, last: str | None) -> bool:
    """Whether a record cannot come after the last one: it is no place, or none behind it."""
    here, there = _place(seq), None if last is None else _place(last)
    return here is None or (there is not None and here <= there)


def _place(seq: Any) -> tuple[int, int] | None:
    try:
        return place(seq)
    except (ValueError, TypeError, AttributeError):
        return None
