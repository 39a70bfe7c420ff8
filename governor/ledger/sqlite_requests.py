"""The verbs on SQLite by which more budget is asked for, and answered: request, approve, deny."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail
from governor.ledger import requests as q
from governor.ledger.sqlite_admin import add, is_new
from governor.ledger.sqlite_holds import write_journal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from governor.ledger.sqlite_holds import Verb

_COLUMNS = "id, asked_ms, said, answered_ms, answer"


def request(
    db: sqlite3.Connection, command: c.RequestGrant, now_ms: int
) -> c.BudgetRequest | c.TooManyRequests:
    """Keep what is asked; see `RequestGrant`."""
    asked = command.asked
    known = db.execute("SELECT said FROM request WHERE id = ?", (asked.id,)).fetchone()
    if known is None:
        (count,) = db.execute(
            "SELECT count(*) FROM request WHERE answered_ms = 0 AND (ends_ms = 0 OR ? < ends_ms)", (now_ms,)
        ).fetchone()
        if count >= q.OPEN_AT_MOST:
            return c.TooManyRequests(count)
        _forget(db, now_ms)
        db.execute(
            "INSERT INTO request (id, asked_ms, ends_ms, said) VALUES (?, ?, ?, ?)",
            (asked.id, now_ms, asked.ends_ms, asked.said),
        )
        write_journal(db, "request", asked.id, now_ms, asked.identity, asked.said, command.record)
    elif known[0] != asked.said:
        raise ReservationConflict(f"request id {asked.id!r} was used before for something else")
    return find(db, c.FindRequest(asked.id), now_ms) or asked


def approve(db: sqlite3.Connection, command: c.Approve, now_ms: int) -> c.BudgetRequest | c.NotAnswered:
    """Grant what was asked for; see `Approve`."""
    if command.by.is_also(command.request.by):
        return c.NotAnswered("own", command.request)
    told = _closed(db, command, now_ms)
    if told is not None:
        return told
    if command.request.state(now_ms) == q.OVER:
        return c.NotAnswered("over", command.request)
    grant = command.grant
    if is_new(db, grant.id, detail.operation(grant)):
        add(db, grant, now_ms)
        said = detail.write_approval(command)
        write_journal(db, "grant", grant.id, now_ms, grant.identity, said, command.record)
    return _answer(db, command, now_ms)


def deny(db: sqlite3.Connection, command: c.Deny, now_ms: int) -> c.BudgetRequest | c.NotAnswered:
    """Close a request; see `Deny`."""
    told = _closed(db, command, now_ms)
    if told is not None:
        return told
    if command.operation:
        is_new(db, command.id, command.operation)
    write_journal(db, "deny", command.id, now_ms, command.request.identity, command.said, command.record)
    return _answer(db, command, now_ms)


def find(db: sqlite3.Connection, command: c.FindRequest, _: int) -> c.BudgetRequest | None:
    """One request; see `FindRequest`."""
    row = db.execute(f"SELECT {_COLUMNS} FROM request WHERE id = ?", (command.id,)).fetchone()  # noqa: S608 - constant names
    return row and _read(*row)


def list_requests(db: sqlite3.Connection, _: c.ListRequests, __: int) -> tuple[c.BudgetRequest, ...]:
    """Every request; see `ListRequests`."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM request").fetchall()  # noqa: S608 - constant names
    return q.in_order([_read(*row) for row in rows])


def restore_requests(db: sqlite3.Connection, requests: Iterable[c.BudgetRequest]) -> None:
    """Put these in place of what there is of them; see `Restore`."""
    rows = [(one.id, one.at_ms, one.ends_ms, one.said, *_answer_columns(one.answer)) for one in requests]
    db.executemany("INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?, ?, ?)", rows)


VERBS: dict[type[c.Command[Any]], Verb] = {
    c.RequestGrant: request,
    c.Approve: approve,
    c.Deny: deny,
    c.FindRequest: find,
    c.ListRequests: list_requests,
}


def _closed(
    db: sqlite3.Connection, command: c.Approve | c.Deny, now_ms: int
) -> c.BudgetRequest | c.NotAnswered | None:
    """`None` where the request may be answered so; else it was before, or is not what was read."""
    found = find(db, c.FindRequest(command.request.id), now_ms)
    if found is None:
        return c.NotAnswered("unknown", None)
    if found.answer is not None:
        same = found.answer.said == command.answer.said
        return found if same else c.NotAnswered("answered", found)
    return None if found == command.request else c.NotAnswered("changed", found)


def _answer(db: sqlite3.Connection, command: c.Approve | c.Deny, now_ms: int) -> c.BudgetRequest:
    db.execute(
        "UPDATE request SET answered_ms = ?, answer = ? WHERE id = ?",
        (now_ms, command.answer.said, command.request.id),
    )
    return q.answered(command.request, command.answer, now_ms)


def _answer_columns(answer: c.Answer | None) -> tuple[int, str]:
    return (0, "") if answer is None else (answer.at_ms, answer.said)


def _forget(db: sqlite3.Connection, now_ms: int) -> None:
    """Closed requests go after their time, and the oldest of too many."""
    closed = (
        "SELECT id, CASE WHEN answered_ms THEN answered_ms ELSE ends_ms END AS at_ms FROM request"
        " WHERE answered_ms > 0 OR (ends_ms > 0 AND ends_ms <= :now)"
    )
    db.execute(
        f"DELETE FROM request WHERE id IN (SELECT id FROM ({closed}) WHERE at_ms + :kept <= :now)"  # noqa: S608 - as above
        f" OR id IN (SELECT id FROM ({closed}) ORDER BY at_ms DESC, id DESC LIMIT -1 OFFSET :most)",
        {"now": now_ms, "kept": q.CLOSED_KEPT_MS, "most": q.CLOSED_AT_MOST},
    )


def _read(identifier: str, asked_ms: int, said: str, answered_ms: int, answer: str) -> c.BudgetRequest:
    given = q.read_answer(answer, answered_ms) if answer else None
    return q.read_request(identifier, said, asked_ms, given)
