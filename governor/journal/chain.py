"""The hashes that chain an archive's records, so that none can be changed, left out or put in unseen. Pure.

The hash of a record is SHA-256 over the hash of the record before it and every field of its own; with a key,
HMAC-SHA256, so that who can write the archive, and has not the key, cannot make the chain anew. What was
found in a request's content is kept for less long than its record: the chain has its hash, and holds
without it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json

if TYPE_CHECKING:
    from governor.ledger.commands import JournalEntry

_MARK = ',"findings":'


class Split(NamedTuple):
    """A record's text in two: without what was found in its content, and that (`None`: nothing was)."""

    record: str
    findings: str | None

    @property
    def findings_hash(self) -> str | None:
        """What the chain has of the findings."""
        return None if self.findings is None else hashlib.sha256(self.findings.encode()).hexdigest()


def split(record: str) -> Split:
    """Cut the findings out of a record's text; they are its last member (`records.reserve`)."""
    at = record.rfind(_MARK)
    if at < 0 or not record.endswith("}"):
        return Split(record, None)
    rest, findings = record[:at] + "}", record[at + len(_MARK) : -1]
    try:
        whole = from_json(record)["findings"]
        if from_json(findings) == whole and "findings" not in from_json(rest):
            return Split(rest, findings)
    except (ValueError, KeyError, TypeError):
        pass
    return Split(record, None)


def join(record: str, findings: str | None) -> str:
    """The inverse of `split`, to the byte."""
    return record if findings is None else f"{record[:-1]}{_MARK}{findings}}}"


def link(
    before: str,
    organization: str,
    epoch: str,
    entry: JournalEntry,
    after: str | None,
    findings_hash: str | None,
    key: bytes = b"",
) -> str:
    """The hash of a record, hexadecimal.

    Args:
        before: The hash of the record before it in its epoch; '' of the first.
        organization: Whose.
        epoch: Its ledger's.
        entry: Its fields, the record without findings.
        after: The place of the record before it, or `None`.
        findings_hash: Of what was cut out of it.
        key: Of the HMAC; empty: a plain hash.
    """
    fields = (before, organization, epoch, after or "", entry.seq, entry.kind, entry.id, str(entry.at_ms))
    more = (entry.outcome, entry.detail, entry.record, findings_hash or "")
    # Each with its length before it, so that no two lists of fields are the same bytes.
    text = "".join([f"{len(part)}:{part}" for part in (*fields, *more)])
    # Lengths are of bytes: as many as characters where all is ASCII, as it nearly always is.
    told = text.encode() if text.isascii() else _with_lengths((*fields, *more))
    return hmac.new(key, told, "sha256").hexdigest() if key else hashlib.sha256(told).hexdigest()


def _with_lengths(fields: tuple[str, ...]) -> bytes:
    parts = [part.encode() for part in fields]
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])
