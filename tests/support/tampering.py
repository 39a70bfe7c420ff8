"""Archives to tamper with, and hands that do: one edit at random, and what must be named."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.journals import DAY_MS, HOUR_MS, START_MS, Firm, shipped_crowd
from governor.journal.archive import open_archive
from governor.journal.chain import join, link, split
from governor.ledger.commands import JournalEntry
from governor.policy import load
from governor.pricing import PriceTable

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ORGANIZATION = "example"
TABLES = ("governor_journal", "governor_calls", "governor_results", "governor_heads")
KEYS = {
    "governor_journal": ("organization", "epoch", "place", "place_minor"),
    "governor_calls": ("organization", "id", "turn"),
    "governor_results": ("organization", "id"),
    "governor_heads": ("organization", "epoch"),
}


@cache
def lives(calls: int = 25) -> tuple[tuple[str, tuple[JournalEntry, ...]], ...]:
    """Two lives of a ledger: calls, some with findings, some ids used again, and outcomes among them."""
    policies, prices = load(ROOT / "policies"), PriceTable.load(None)
    told = []
    for number, epoch in enumerate(("first", "second")):
        firm = Firm(policies, prices, shipped_crowd(5), seed=number)
        lines = firm.lines(calls, start_ms=START_MS + number * 10 * DAY_MS, length_ms=HOUR_MS)
        told.append((epoch, tuple(_numbered(_enriched(lines), redis=number == 1))))
    return tuple(told)


def _enriched(lines: Iterator[bytes]) -> Iterator[JournalEntry]:
    names = ("seq", "kind", "id", "at_ms", "outcome", "detail", "record")
    for n, line in enumerate(lines):
        entry = JournalEntry(*(json.loads(line)[name] for name in names))
        if entry.kind == "reserve" and n % 3 == 0:
            found = {"classification": "confidential", "region": "eu", "pii": ["email"], "content": "ab" * 32}
            entry = replace(entry, record=join(entry.record, json.dumps(found, separators=(",", ":"))))
        yield entry
        if n % 7 == 3:
            said = {"v": 1, "value": f"{n}.5", "unit": "usd", "run": f"run-{n}", "department": "legal"}
            yield replace(
                entry, kind="outcome", id=f"told-{n}", outcome="won", detail="", record=json.dumps(said)
            )


def _numbered(entries: Iterator[JournalEntry], *, redis: bool) -> Iterator[JournalEntry]:
    """With places as Redis gives them, or SQLite."""
    for n, entry in enumerate(entries, 1):
        yield replace(entry, seq=f"{entry.at_ms}-{n}" if redis else str(n))


def make(where: str) -> None:
    """The archive of both lives at *where*."""
    archive = open_archive(where, ORGANIZATION)
    for epoch, entries in lives():
        half = len(entries) // 2
        archive.append(epoch, entries[:half])
        archive.append(epoch, entries[half:], entries[half - 1].seq)
    archive.close()


@dataclass(frozen=True)
class Edit:
    """What was done, and how what it touched may be named: `(epoch, seq)` or `('', id)`."""

    did: str
    touched: tuple[tuple[str, str], ...]


def touch_database(path: Path, draw: random.Random) -> Edit:
    """One edit of one of the four tables of a SQLite file."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        while True:
            hand = draw.choice((_column, _column, _column, _column, _gone, _put_in, _swapped, _cut))
            connection.execute("SAVEPOINT edit")
            try:
                edit = hand(connection, draw)
            except sqlite3.IntegrityError:
                edit = None  # the database refuses that one by itself
            if edit is not None:
                connection.commit()
                return edit
            connection.execute("ROLLBACK TO edit")
    finally:
        connection.close()


def _named(table: str, row: Any) -> tuple[str, str]:
    if table == "governor_journal":
        return row["epoch"], row["seq"]
    return (row["epoch"], "") if table == "governor_heads" else ("", row["id"])


def _rows(connection: sqlite3.Connection, table: str) -> list[Any]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY {','.join(KEYS[table])}").fetchall()


def _set(connection: sqlite3.Connection, table: str, row: Any, column: str, value: Any) -> None:
    where = " AND ".join(f"{key} = ?" for key in KEYS[table])
    query = f'UPDATE {table} SET "{column}" = ? WHERE {where}'
    connection.execute(query, (value, *(row[key] for key in KEYS[table])))


def _column(connection: sqlite3.Connection, draw: random.Random) -> Edit | None:
    """Any column of any row, to something else."""
    table = draw.choice(TABLES)
    rows = _rows(connection, table)
    row = draw.choice(rows)
    column = draw.choice(row.keys())
    value = _other(row[column], [one[column] for one in rows], draw)
    if value == row[column]:
        return None
    _set(connection, table, row, column, value)
    return Edit(f"{table}.{column} {row[column]!r} -> {value!r}", (_named(table, row),))


def _other(value: Any, values: list[Any], draw: random.Random) -> Any:
    if draw.random() < 0.3:
        return draw.choice(values)
    if draw.random() < 0.1:
        return None
    if isinstance(value, int):
        return value + draw.choice((-1, 1, 1000))
    if isinstance(value, float):
        return value + 1
    if not value:
        return draw.choice(("x", 7))
    at = draw.randrange(len(value))
    return draw.choice(
        (value[:at] + chr((ord(value[at]) - 31) % 94 + 33) + value[at + 1 :], value[:at] + value[at + 1 :])
    )


def _gone(connection: sqlite3.Connection, draw: random.Random) -> Edit:
    """A row less."""
    table = draw.choice(TABLES)
    row = draw.choice(_rows(connection, table))
    where = " AND ".join(f"{key} = ?" for key in KEYS[table])
    connection.execute(f"DELETE FROM {table} WHERE {where}", [row[key] for key in KEYS[table]])
    return Edit(f"{table}: one deleted", (_named(table, row),))


def _put_in(connection: sqlite3.Connection, draw: random.Random) -> Edit:
    """A row more: a copy of another at a place, or under an id, of its own; its hash may be a right one."""
    table = draw.choice(TABLES)
    row = dict(draw.choice(_rows(connection, table)))
    if table == "governor_journal":
        row["place_minor"] += 1
        row["seq"] = f"{row['place']}-{row['place_minor']}"
        before = row["hash"]
        row["after"] = (
            str(row["place"]) if row["place_minor"] == 1 else f"{row['place']}-{row['place_minor'] - 1}"
        )
        if draw.random() < 0.5:
            entry = JournalEntry(
                *(row[name] for name in ("seq", "kind", "id", "at_ms", "outcome", "detail", "record"))
            )
            row["hash"] = link(before, ORGANIZATION, row["epoch"], entry, row["after"], row["findings_hash"])
    elif table == "governor_heads":
        row["epoch"] += "x"
    else:
        row["id"] += "x"
    names = ",".join(f'"{name}"' for name in row)
    marks = ",".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
    return Edit(f"{table}: one put in", (_named(table, row),))


def _swapped(connection: sqlite3.Connection, draw: random.Random) -> Edit | None:
    """What two rows hold, each in the other's place."""
    table = draw.choice(TABLES)
    one, other = draw.sample(_rows(connection, table), 2)
    columns = [name for name in tuple(one.keys()) if name not in KEYS[table]]
    if draw.random() < 0.5:
        columns = [draw.choice(columns)]
    columns = [name for name in columns if one[name] != other[name]]
    for name in columns:
        _set(connection, table, one, name, other[name])
        _set(connection, table, other, name, one[name])
    if not columns:
        return None
    return Edit(f"{table}: {columns} swapped", (_named(table, one), _named(table, other)))


def _cut(connection: sqlite3.Connection, draw: random.Random) -> Edit:
    """The last records of a life less; the last of them must be named."""
    life = [
        row
        for row in _rows(connection, "governor_journal")
        if row["epoch"] == draw.choice(("first", "second"))
    ]
    life = life or _rows(connection, "governor_journal")
    gone = life[-draw.randint(1, min(5, len(life))) :]
    for row in gone:
        connection.execute(
            "DELETE FROM governor_journal WHERE epoch = ? AND seq = ?", (row["epoch"], row["seq"])
        )
    return Edit(f"the last {len(gone)} records deleted", (_named("governor_journal", gone[-1]),))


def touch_file(path: Path, draw: random.Random) -> Edit:
    """One edit of a file of JSON lines; what it touched may also be named by its line."""
    lines = path.read_bytes().splitlines(keepends=True)
    hand = draw.choice(
        (_byte, _byte, _byte, _line_gone, _twice, _lines_swapped, _forged, _bared, _torn, _member)
    )
    edit = hand(lines, draw)
    path.write_bytes(b"".join(lines))
    return edit


def _line_named(lines: list[bytes], n: int) -> tuple[str, str]:
    row = json.loads(lines[n])
    return row["epoch"], row["seq"]


def _byte(lines: list[bytes], draw: random.Random) -> Edit:
    """One byte of one line."""
    n = draw.randrange(len(lines))
    named, line = _line_named(lines, n), bytearray(lines[n])
    at = draw.randrange(len(line))
    line[at] = (line[at] + draw.randint(1, 255)) % 256
    lines[n] = bytes(line)
    return Edit(f"byte {at} of line {n + 1}", (named, ("line", str(n + 1)), ("line", str(n + 2))))


def _member(lines: list[bytes], draw: random.Random) -> Edit:
    """One member of one line, written as it should be."""
    n = draw.randrange(len(lines))
    named, row = _line_named(lines, n), json.loads(lines[n])
    name = draw.choice(list(row))
    before = row[name]
    row[name] = before + 1 if isinstance(before, int) else f"{before or ''}7"
    lines[n] = json.dumps(row, separators=(",", ":")).encode() + b"\n"
    return Edit(f"{name} of line {n + 1}", (named, ("line", str(n + 1))))


def _line_gone(lines: list[bytes], draw: random.Random) -> Edit:
    n = draw.randrange(len(lines))
    named = _line_named(lines, n)
    del lines[n]
    return Edit(f"line {n + 1} deleted", (named,))


def _twice(lines: list[bytes], draw: random.Random) -> Edit:
    n = draw.randrange(len(lines))
    lines.insert(draw.randint(n, len(lines)), lines[n])
    return Edit(f"line {n + 1} twice", (_line_named(lines, n),))


def _lines_swapped(lines: list[bytes], draw: random.Random) -> Edit:
    one, other = draw.sample(range(len(lines)), 2)
    named = (_line_named(lines, one), _line_named(lines, other))
    lines[one], lines[other] = lines[other], lines[one]
    return Edit(f"lines {one + 1} and {other + 1} swapped", named)


def _forged(lines: list[bytes], draw: random.Random) -> Edit:
    """A line more, whose hash follows the one before it."""
    ends = [json.loads(line)["epoch"] for line in lines].index("second") - 1, len(lines) - 1
    # Put in at the end of a chain, it cannot be told from a new record but by the key.
    n = draw.choice([n for n in range(len(lines)) if n not in ends])
    row = json.loads(lines[n])
    row |= {"after": row["seq"], "seq": f"{row['seq'].partition('-')[0]}-999999999", "outcome": "forged"}
    parts = split(row["record"])
    entry = JournalEntry(
        row["seq"], row["kind"], row["id"], row["at_ms"], "forged", row["detail"], parts.record
    )
    row["hash"] = link(row["hash"], ORGANIZATION, row["epoch"], entry, row["after"], parts.findings_hash)
    lines.insert(n + 1, json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return Edit(f"a line put in as {n + 2}", ((row["epoch"], row["seq"]),))


def _bared(lines: list[bytes], draw: random.Random) -> Edit:
    """The hash of a line taken away."""
    n = draw.randrange(len(lines))
    named, row = _line_named(lines, n), json.loads(lines[n])
    del row["hash"]
    lines[n] = json.dumps(row, separators=(",", ":")).encode() + b"\n"
    return Edit(f"the hash of line {n + 1}", (named, ("line", str(n + 1))))


def _torn(lines: list[bytes], draw: random.Random) -> Edit:
    """The end of the file cut off; only who noted its head can tell, and the head is what is missed."""
    named = _line_named(lines, -1)
    gone = draw.randint(1, 5)
    del lines[-gone:]
    if draw.random() < 0.5:
        lines[-1] = lines[-1][: draw.randrange(1, len(lines[-1]))]
    return Edit(f"the last {gone} lines cut off", (named,))
