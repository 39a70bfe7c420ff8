"""The verbs of a hold's life on SQLite: reserve, settle, release, extend, expire, read.

Each is a function of an open transaction, a command and the clock. The decisions are
`governor.ledger.admission`'s and `lifecycle`'s; here is only what is read and written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit
from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail, lifecycle
from governor.ledger.admission import crossings, decide

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

Verb = Callable[["sqlite3.Connection", Any, int], Any]


def reserve(db: sqlite3.Connection, command: c.Reserve, now_ms: int) -> c.Held | c.Refused | c.WindowMoved:
    """Decide and hold; see `Reserve`."""
    known = db.execute(
        "SELECT state, payload, candidate, expires_ms FROM hold WHERE id = ?", (command.id,)
    ).fetchone()
    if known:
        state, payload, candidate, expires_ms = known
        if payload != command.payload():
            raise ReservationConflict(f"request id {command.id!r} was used before with another payload")
        return c.Held(
            candidate, read_all(db, command.budgets, now_ms), state, expires_ms, now_ms, due_holds(db, now_ms)
        )
    if any(b.end_ms and not b.start_ms <= now_ms < b.end_ms for b in command.budgets):
        return c.WindowMoved(now_ms)
    balances = read_all(db, command.budgets, now_ms)
    decision = decide(command.candidates, balances)
    outcome = "held" if decision.chosen is not None else decision.reason
    text = detail.write_balances(decision.chosen, balances)
    if decision.chosen is not None:
        _hold(db, command, decision.chosen, now_ms)
    if outcome == "held" or not (command.trial or (command.quiet and outcome == "contended")):
        write_journal(db, "reserve", command.id, now_ms, outcome, text, command.record)
    due = due_holds(db, now_ms)
    if decision.chosen is None:
        earliest = db.execute("SELECT min(expires_ms) FROM hold WHERE state = 'open'").fetchone()[0]
        return c.Refused(outcome, balances, earliest, now_ms, due)
    return c.Held(decision.chosen, balances, lifecycle.OPEN, now_ms + command.ttl_ms, now_ms, due)


def settle(db: sqlite3.Connection, command: c.Settle, now_ms: int) -> c.Closed:
    """Post the actual cost; see `Settle`."""
    return _close(db, "settle", command, now_ms)


def release(db: sqlite3.Connection, command: c.Release, now_ms: int) -> c.Closed:
    """Give the hold back; see `Release`."""
    return _close(db, "release", command, now_ms)


def extend(db: sqlite3.Connection, command: c.Extend, now_ms: int) -> c.Extended:
    """Move the expiry of an open hold; see `Extend`."""
    row = db.execute("SELECT state FROM hold WHERE id = ?", (command.id,)).fetchone()
    state = row[0] if row else "unknown"
    if state != lifecycle.OPEN:
        return c.Extended(state, 0)
    expires_ms = now_ms + command.ttl_ms
    db.execute("UPDATE hold SET expires_ms = ? WHERE id = ?", (expires_ms, command.id))
    return c.Extended(state, expires_ms)


def expire(db: sqlite3.Connection, command: c.Expire, now_ms: int) -> c.Expired:
    """Close what is due; see `Expire`."""
    ended: list[str] = []
    crossed: list[c.Crossing] = []
    for due in command.holds:
        row = db.execute(
            "SELECT rows FROM hold WHERE id = ? AND state = 'open' AND expires_ms <= ?", (due.id, now_ms)
        ).fetchone()
        if row is None:
            continue
        held = _load_rows(row[0])
        amounts = [charge for _, _, charge in held]
        fired = [
            (index, *crossing)
            for index, (budget, amount, charge) in enumerate(held)
            for crossing in _post(db, budget, posted=charge, held=-amount, now_ms=now_ms)
        ]
        text = detail.write_closing(overrun=False, amounts=amounts, crossed=detail.write_crossings(fired))
        db.execute(
            "UPDATE hold SET state = 'expired', closed_ms = ?, closing = ? WHERE id = ?",
            (now_ms, text, due.id),
        )
        write_journal(db, "expire", due.id, now_ms, lifecycle.EXPIRED, text, "{}")
        ended.append(due.id)
        crossed += detail.read_crossings(
            detail.write_crossings(fired), [(b.identity, b.window) for b, _, _ in held]
        )
    return c.Expired(tuple(ended), tuple(crossed))


def read(db: sqlite3.Connection, command: c.Read, now_ms: int) -> c.Readings:
    """Read balances; see `Read`."""
    return c.Readings(read_all(db, command.budgets, now_ms), now_ms)


VERBS: dict[type[c.Command[Any]], Verb] = {
    c.Reserve: reserve,
    c.Settle: settle,
    c.Release: release,
    c.Extend: extend,
    c.Expire: expire,
    c.Read: read,
}


def read_all(db: sqlite3.Connection, budgets: Iterable[c.BudgetRow], now_ms: int) -> tuple[c.Balance, ...]:
    """The balances of *budgets*, in order, with the limits now in force."""
    return tuple(_read_one(db, budget, now_ms) for budget in budgets)


def limit_in_force(db: sqlite3.Connection, identity: str, window: str, file_limit: int, now_ms: int) -> int:
    """The override if there is one in force, else the file's limit; plus what was granted in the window."""
    override = db.execute(
        "SELECT amount, until_ms FROM limit_override WHERE identity = ?", (identity,)
    ).fetchone()
    base = override[0] if override and (not override[1] or now_ms < override[1]) else file_limit
    granted = db.execute(
        "SELECT amount FROM granted WHERE identity = ? AND window = ?", (identity, window)
    ).fetchone()
    return int(base + (granted[0] if granted else 0))


def freeze_in_force(db: sqlite3.Connection, identity: str, now_ms: int) -> str | None:
    """Why the budget is frozen now, or `None`."""
    row = db.execute("SELECT reason, until_ms FROM freeze WHERE identity = ?", (identity,)).fetchone()
    return str(row[0]) if row and (not row[1] or now_ms < row[1]) else None


def write_journal(
    db: sqlite3.Connection, kind: str, identifier: str, at_ms: int, outcome: str, text: str, record: str
) -> None:
    """Append one record."""
    db.execute(
        "INSERT INTO journal (kind, id, at_ms, outcome, detail, record) VALUES (?, ?, ?, ?, ?, ?)",
        (kind, identifier, at_ms, outcome, text, record),
    )


def due_holds(db: sqlite3.Connection, now_ms: int) -> tuple[c.DueHold, ...]:
    """The first few holds whose time is over."""
    rows = db.execute(
        "SELECT id, rows FROM hold WHERE state = 'open' AND expires_ms <= ? ORDER BY expires_ms, id LIMIT ?",
        (now_ms, c.DUE_PER_REPLY),
    )
    return tuple(c.DueHold(identifier, refs(rows_text)) for identifier, rows_text in rows.fetchall())


def refs(rows_text: str) -> tuple[tuple[str, str], ...]:
    """The (identity, window) of every balance a hold touches, from its stored rows."""
    return tuple((budget.identity, budget.window) for budget, _, _ in _load_rows(rows_text))


def _read_one(db: sqlite3.Connection, budget: c.BudgetRow, now_ms: int) -> c.Balance:
    row = db.execute(
        "SELECT posted, held FROM balance WHERE identity = ? AND window = ?", (budget.identity, budget.window)
    ).fetchone()
    posted, held = row or (0, 0)
    limit = limit_in_force(db, budget.identity, budget.window, budget.limit, now_ms)
    return c.Balance(posted, held, limit, freeze_in_force(db, budget.identity, now_ms))


def _hold(db: sqlite3.Connection, command: c.Reserve, chosen: int, now_ms: int) -> None:
    rows = [
        (
            budget,
            ask.amount,
            lifecycle.charged_on_expiry(budget.unit, ask.amount, charge=command.charge_on_expiry),
        )
        for budget, ask in zip(command.budgets, command.candidates[chosen], strict=True)
        if ask is not None
    ]
    for budget, amount, _ in rows:
        _post(db, budget, posted=0, held=amount, now_ms=now_ms)
    db.execute(
        "INSERT INTO hold (id, state, payload, candidate, expires_ms, rows) VALUES (?, ?, ?, ?, ?, ?)",
        (command.id, lifecycle.OPEN, command.payload(), chosen, now_ms + command.ttl_ms, _dump_rows(rows)),
    )


def _close(db: sqlite3.Connection, verb: str, command: c.Settle | c.Release, now_ms: int) -> c.Closed:
    row = db.execute(
        "SELECT state, close_payload, rows, closing FROM hold WHERE id = ?", (command.id,)
    ).fetchone()
    budgets = [posting.budget for posting in command.postings]
    if row and row[0] in lifecycle.ENDED:
        if row[1] != command.payload():
            raise ReservationConflict(f"hold {command.id!r} is {row[0]} already, with another payload")
        return _closed(db, row[0], row[3], budgets, now_ms)
    if row and refs(row[2]) != tuple((b.identity, b.window) for b in budgets):
        raise ReservationConflict(f"hold {command.id!r} touches other budgets than its {verb} names")
    before = _load_rows(row[2]) if row else [(budget, 0, 0) for budget in budgets]
    state = lifecycle.NEXT[(row[0] if row else lifecycle.OPEN, verb)]
    late = state == lifecycle.SETTLED_LATE
    fired: list[tuple[int, int, int, int]] = []
    for index, (posting, (_, held, charged)) in enumerate(zip(command.postings, before, strict=True)):
        posted = posting.amount - (charged if late else 0)
        fired += [
            (index, *crossing)
            for crossing in _post(db, posting.budget, posted=posted, held=0 if late else -held, now_ms=now_ms)
        ]
    overrun = row is not None and any(
        p.amount > held for p, (_, held, _) in zip(command.postings, before, strict=True)
    )
    text = detail.write_closing(
        overrun=overrun,
        unknown=budgets if row is None else None,
        amounts=[posting.amount for posting in command.postings],
        crossed=detail.write_crossings(fired),
    )
    _remember_closed(db, command, state, now_ms, text)
    write_journal(db, verb, command.id, now_ms, state, text, command.record)
    return _closed(db, state, text, budgets, now_ms)


def _remember_closed(
    db: sqlite3.Connection, command: c.Settle | c.Release, state: str, now_ms: int, text: str
) -> None:
    rows = _dump_rows([(p.budget, 0, 0) for p in command.postings])
    db.execute(
        "INSERT INTO hold"
        " (id, state, payload, close_payload, candidate, expires_ms, closed_ms, rows, closing)"
        " VALUES (:id, :state, '', :payload, 0, 0, :now, :rows, :closing)"
        " ON CONFLICT (id) DO UPDATE"
        " SET state = :state, close_payload = :payload, closed_ms = :now, closing = :closing",
        {
            "id": command.id,
            "state": state,
            "payload": command.payload(),
            "now": now_ms,
            "rows": rows,
            "closing": text,
        },
    )
    forgotten_ms = now_ms - c.CLOSED_HOLD_KEPT_MS
    db.execute(
        "DELETE FROM hold WHERE id IN (SELECT id FROM hold WHERE closed_ms > 0 AND closed_ms < ? LIMIT 10)",
        (forgotten_ms,),
    )


def _closed(
    db: sqlite3.Connection, state: str, text: str, budgets: Sequence[c.BudgetRow], now_ms: int
) -> c.Closed:
    fields = detail.read_closing(text)
    crossed = detail.read_crossings(fields["crossed"], [(b.identity, b.window) for b in budgets])
    return c.Closed(
        state=state,
        balances=read_all(db, budgets, now_ms),
        crossings=crossed,
        overrun=fields["overrun"] == "1",
        unknown=fields["unknown"] == "1",
        now_ms=now_ms,
        due=due_holds(db, now_ms),
    )


def _post(
    db: sqlite3.Connection, budget: c.BudgetRow, *, posted: int, held: int, now_ms: int
) -> list[tuple[int, int, int]]:
    """Change one balance; return the thresholds that posted now crosses as (step, posted, limit)."""
    total, crossed_text = db.execute(
        "INSERT INTO balance (identity, window, end_ms, file_limit, posted, held) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (identity, window) DO UPDATE SET posted = posted + excluded.posted,"
        " held = held + excluded.held, file_limit = excluded.file_limit"
        " RETURNING posted, crossed",
        (budget.identity, budget.window, budget.end_ms, budget.limit, posted, held),
    ).fetchone()
    if not budget.steps or not posted:
        return []
    limit = limit_in_force(db, budget.identity, budget.window, budget.limit, now_ms)
    before = frozenset(int(step) for step in crossed_text.split(",") if step)
    crossed, fired = crossings(before, total, limit, budget.steps)
    if crossed != before:
        db.execute(
            "UPDATE balance SET crossed = ? WHERE identity = ? AND window = ?",
            (",".join(str(step) for step in sorted(crossed)), budget.identity, budget.window),
        )
    return [(step, total, limit) for step in fired]


def _dump_rows(rows: Iterable[tuple[c.BudgetRow, int, int]]) -> str:
    return json.dumps(
        [
            [b.identity, b.window, b.end_ms, b.unit.value, b.limit, list(b.steps), amount, charge]
            for b, amount, charge in rows
        ]
    )


def _load_rows(text: str) -> list[tuple[c.BudgetRow, int, int]]:
    return [
        (c.BudgetRow(identity, window, 0, end_ms, Unit(unit), limit, tuple(steps)), amount, charge)
        for identity, window, end_ms, unit, limit, steps, amount, charge in json.loads(text)
    ]
