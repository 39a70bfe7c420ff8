"""Keeps the tables that are made from an archive's records: the calls and their results."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from governor.journal.call import Call, Result
from governor.journal.fold import CALL_KINDS, RESULT, Fold, leg_before, read_result
from governor.journal.tables import calls, results

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from governor.ledger.commands import JournalEntry

_MOST_IDS = 500
"""So many ids are asked for in one query: SQLite takes 32,766 parameters, older ones 999."""

_FIELDS = tuple(one.name for one in fields(Call))
_values = attrgetter(*_FIELDS)
_LENGTHS = tuple(
    (one.name, one.type.length)
    for one in calls.c
    if isinstance(one.type, sa.String) and one.type.length and one.name in _FIELDS
)
"""How much of a text a column takes: callers may say more, which a strict database refuses."""

_RESULT_FIELDS = tuple(one.name for one in fields(Result))
_RESULT_LENGTHS = tuple(
    (one.name, one.type.length)
    for one in results.c
    if isinstance(one.type, sa.String) and one.type.length and one.name in _RESULT_FIELDS
)


def project(connection: sa.Connection, organization: str, entries: Sequence[JournalEntry]) -> None:
    """Write what records tell into the tables, in the transaction that writes the records themselves.

    Args:
        connection: In its transaction.
        organization: Whose.
        entries: In the journal's order; each is given once.
    """
    ids = dict.fromkeys(entry.id for entry in entries if entry.kind in CALL_KINDS)
    ids |= dict.fromkeys(filter(None, map(leg_before, ids)))
    known = _known(connection, organization, list(ids))
    there = {(call.id, call.turn) for call in known.values()}
    fold = Fold(known)
    fold.take(entries)
    rows = [to_row(organization, call) for call in fold.rows()]
    keys = [(row["id"], row["turn"]) for row in rows]
    old = [{"o": organization, "i": name, "t": turn} for name, turn in keys if (name, turn) in there]
    if old:
        same = (calls.c.id == sa.bindparam("i"), calls.c.turn == sa.bindparam("t"))
        connection.execute(sa.delete(calls).where(calls.c.organization == sa.bindparam("o"), *same), old)
    if rows:
        insert(connection, calls, rows)
    told = {one.id: one for one in (read_result(x) for x in entries if x.kind == RESULT) if one is not None}
    if told:
        names = [{"o": organization, "i": one} for one in told]
        mine = (results.c.organization == sa.bindparam("o"), results.c.id == sa.bindparam("i"))
        connection.execute(sa.delete(results).where(*mine), names)
        connection.execute(
            sa.insert(results),
            [{"organization": organization} | result_row(one) for one in told.values()],
        )


def to_row(organization: str, call: Call) -> dict[str, Any]:
    """A call as a row of `governor_calls`."""
    row: dict[str, Any] = dict(zip(_FIELDS, _values(call), strict=True))
    row["organization"] = organization
    row["tags"] = json.dumps(dict(call.tags), separators=(",", ":")) if call.tags else "{}"
    for name, length in _LENGTHS:
        if len(row[name]) > length:
            row[name] = row[name][:length]
    return row


def result_row(result: Result) -> dict[str, Any]:
    """A result as a row of `governor_results`, but for whose it is."""
    row = {name: getattr(result, name) for name in _RESULT_FIELDS}
    return row | {name: row[name][:length] for name, length in _RESULT_LENGTHS if row[name]}


def insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns, of plain values.

    The driver is given them as they are: what SQLAlchemy does for each row costs as much as the database.
    """
    names = tuple(rows[0])
    text, order = _statement(connection.dialect, table, names)
    given = rows if order is None else list(map(itemgetter(*order), rows))
    connection.exec_driver_sql(text, given)


@cache
def _statement(
    dialect: sa.Dialect, table: sa.Table, names: tuple[str, ...]
) -> tuple[str, tuple[str, ...] | None]:
    """The statement's text, and the order of its values; `None`: by name."""
    compiled: Any = sa.insert(table).compile(dialect=dialect, column_keys=names)
    return str(compiled), tuple(compiled.positiontup) if compiled.positional else None


def from_row(row: Any) -> Call:
    """A call from a row of `governor_calls`."""
    told = row._asdict()
    told.pop("organization", None)
    return Call(**{**told, "tags": tuple(sorted(json.loads(told["tags"]).items()))})


def read_calls(connection: sa.Connection, organization: str, *where: Any) -> Iterator[Call]:
    """The calls of which *where* holds, by when they began."""
    query = (
        sa.select(calls)
        .where(calls.c.organization == organization, *where)
        .order_by(calls.c.began_ms, calls.c.id, calls.c.turn)
    )
    for row in connection.execute(query, execution_options={"yield_per": 2000}):
        yield from_row(row)


def _known(connection: sa.Connection, organization: str, ids: list[str]) -> dict[str, Call]:
    """The newest call of each of *ids* that is in the table."""
    found: dict[str, Call] = {}
    for some in _in_parts(ids):
        query = sa.select(calls).where(calls.c.organization == organization, calls.c.id.in_(some))
        for row in connection.execute(query.order_by(calls.c.turn)):
            found[row.id] = from_row(row)
    return found


def _in_parts(ids: list[str]) -> Iterable[list[str]]:
    return (ids[at : at + _MOST_IDS] for at in range(0, len(ids), _MOST_IDS))
