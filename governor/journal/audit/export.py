"""What the audit hands out: a line for every call, with the hash of the record that ended it."""

from __future__ import annotations

import csv
import io
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from governor.journal.audit.database import snapshot
from governor.journal.fold import CALL_KINDS
from governor.journal.projection import from_row
from governor.journal.tables import calls, journal
from governor.story.decision import instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.journal.archive_sql import SqlArchive
    from governor.journal.call import Call

_PAGE = 500
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What spreadsheets take for the beginning of a formula."""

FIELDS = (
    "began_at",
    "ended_at",
    "request_id",
    "id",
    "turn",
    "leg",
    "api_request_id",
    "user",
    "department",
    "feature",
    "run",
    "priority",
    "tags",
    "door",
    "asked",
    "model",
    "decision",
    "state",
    "violation",
    "refusals",
    "status",
    "error",
    "input_tokens",
    "output_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "max_tokens",
    "cost_nanos",
    "ceiling_nanos",
    "uncertain",
    "overrun",
    "late",
    "admitted",
    "endpoint",
    "classification",
    "region",
    "pii",
    "content_hash",
    "policy",
    "prices",
    "record",
    "record_hash",
)
"""In their order; instants are ISO 8601 in UTC, amounts integers of nano-dollars."""


def export(
    archive: SqlArchive, where: list[Any], tell: Callable[[int, int | None], None]
) -> Iterator[dict[str, Any]]:
    """The calls of which *where* holds, by when they began; read as they are handed out.

    Args:
        archive: Where they are.
        where: Conditions on the columns of `tables.calls`.
        tell: Is told how many were read, and of how many.

    Raises:
        ArchiveError: It is not there, or cannot be read.
    """
    with snapshot(archive) as connection:
        mine = (calls.c.organization == archive.organization, *where)
        total = int(
            connection.execute(sa.select(sa.func.count()).select_from(calls).where(*mine)).scalar_one()
        )
        query = sa.select(calls).where(*mine).order_by(calls.c.began_ms, calls.c.id, calls.c.turn)
        rows = iter(connection.execute(query, execution_options={"yield_per": _PAGE}))
        done = 0
        while page := [from_row(row) for row in islice(rows, _PAGE)]:
            found = _records(connection, archive.organization, page)
            for call in page:
                yield _line(call, found.get(call.id, []))
            done += len(page)
            tell(done, total)


def _records(connection: sa.Connection, organization: str, page: list[Call]) -> dict[str, list[Any]]:
    """The places and hashes of the records of some calls, by id, in order."""
    names = ("id", "epoch", "seq", "at_ms", "hash", "place", "place_minor")
    query = sa.select(*(journal.c[name] for name in names)).where(
        journal.c.organization == organization,
        journal.c.kind.in_(sorted(CALL_KINDS)),
        journal.c.id.in_(list(dict.fromkeys(call.id for call in page))),
    )
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query.order_by(journal.c.at_ms, journal.c.place, journal.c.place_minor)):
        found.setdefault(row.id, []).append(row)
    return found


def _line(call: Call, records: list[Any]) -> dict[str, Any]:
    """A call as it is handed out; the record is the newest that tells of it, '' where that was pruned."""
    end_ms = call.ended_ms if call.ended_ms is not None else call.began_ms
    newest = next((one for one in reversed(records) if call.began_ms <= one.at_ms <= end_ms), None)
    told = call.as_json() | {
        "began_at": instant(call.began_ms),
        "ended_at": None if call.ended_ms is None else instant(call.ended_ms),
        "request_id": call.call_id,
        "violation": call.reason,
        "pii": call.pii.split(",") if call.pii else [],
        "record": "" if newest is None else f"{newest.epoch}/{newest.seq}",
        "record_hash": "" if newest is None else newest.hash,
    }
    return {name: told[name] for name in FIELDS}


def as_json_line(line: dict[str, Any]) -> str:
    """One line of JSON lines."""
    return _whole(json.dumps(line, separators=(",", ":"), ensure_ascii=False, default=_text)) + "\n"


def as_csv_line(values: Any) -> str:
    """One line of CSV (RFC 4180). What a spreadsheet would run as a formula has an apostrophe before it."""
    out = io.StringIO()
    csv.writer(out).writerow([_cell(value) for value in values])
    return _whole(out.getvalue())


def _whole(text: str) -> str:
    """With bytes escaped that are no character: somebody may have changed the archive."""
    return text.encode(errors="backslashreplace").decode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, dict):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False) if value else ""
    text = ",".join(value) if isinstance(value, list) else _text(value)
    return f"'{text}" if text.startswith(_RISKY) else text


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
