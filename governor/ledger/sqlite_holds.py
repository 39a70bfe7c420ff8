"""The verbs of a hold's life on SQLite: reserve, settle, release, extend, expire, read.

Each is a function of an open transaction, a command and the clock. The decisions are
`governor.ledger.admission`'s and `lifecycle`'s; here is only what is read and written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.budgets import ROLLING_BUCKETS, Unit
from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail, lifecycle
from governor.ledger.admission import crossings, decide
from governor.ledger.orders import read_order
from governor.ledger.sqlite_board import carrying

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

Verb = Callable[["sqlite3.Connection", Any, int], Any]


class Row(NamedTuple):
    """What a hold keeps of one budget: how much is held, what its expiry charges, and in which bucket.

    *slot* is the number of the bucket in which the hold was opened; 0 where the window does not roll.
    """

    budget: c.BudgetRow
    amount: int
    charge: int
    slot: int


_FORGOTTEN = tuple((state, of_batch) for state in lifecycle.CLOSED for of_batch in (False, True))
"""Which holds are forgotten after how long: by how they ended, and whether they were a batch's."""


def reserve(
    db: sqlite3.Connection, command: c.Reserve, now_ms: int
) -> c.Held | c.Refused | c.WindowMoved | c.Reordered:
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
    if command.heard is not None and command.heard != (version := orders_version(db)):
        return c.Reordered(version, orders_in_force(db, now_ms), now_ms)
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
        found = db.execute(
            "SELECT rows FROM hold WHERE id = ? AND state = 'open' AND expires_ms <= ?", (due.id, now_ms)
        ).fetchone()
        if found is None:
            continue
        held = load_rows(found[0])
        fired = [
            (index, *crossing)
            for index, row in enumerate(held)
            for crossing in _post(db, row, posted=row.charge, held=-row.amount, now_ms=now_ms)
        ]
        text = detail.write_closing(
            overrun=False,
            amounts=[row.charge for row in held],
            crossed=detail.write_crossings(fired),
        )
        db.execute(
            "UPDATE hold SET state = 'expired', closed_ms = ?, closing = ? WHERE id = ?",
            (now_ms, text, due.id),
        )
        write_journal(db, "expire", due.id, now_ms, lifecycle.EXPIRED, text, "{}")
        ended.append(due.id)
        crossed += detail.read_crossings(
            detail.write_crossings(fired), [(row.budget.identity, row.budget.window) for row in held]
        )
    return c.Expired(tuple(ended), tuple(crossed))


def read(db: sqlite3.Connection, command: c.Read, now_ms: int) -> c.Readings:
    """Read balances; see `Read`."""
    return c.Readings(read_all(db, command.budgets, now_ms), now_ms)


VERBS: dict[type[c.Command[Any]], Verb] = {
    c.Reserve: carrying(reserve),
    c.Settle: carrying(settle),
    c.Release: carrying(release),
    c.Extend: extend,
    c.Expire: expire,
    c.Read: read,
}


def read_all(db: sqlite3.Connection, budgets: Iterable[c.BudgetRow], now_ms: int) -> tuple[c.Balance, ...]:
    """The balances of *budgets*, in order, with the limits now in force."""
    return tuple(_read_one(db, budget, now_ms) for budget in budgets)


def limit_in_force(db: sqlite3.Connection, identity: str, window: str, file_limit: int, now_ms: int) -> int:
    """The limit last set that is in force, else the file's; plus grants for the window or this instant."""
    changes = db.execute(
        "SELECT added, amount FROM limit_change"
        " WHERE identity = ?1 AND from_ms <= ?2 AND (until_ms = 0 OR ?2 < until_ms) ORDER BY seq",
        (identity, now_ms),
    ).fetchall()
    granted = db.execute(
        "SELECT amount FROM granted WHERE identity = ? AND window = ?", (identity, window)
    ).fetchone()
    base = next((amount for added, amount in reversed(changes) if not added), file_limit)
    return int(base + sum(amount for added, amount in changes if added) + (granted[0] if granted else 0))


def freeze_in_force(db: sqlite3.Connection, identity: str, now_ms: int) -> str | None:
    """Why the budget is frozen now, or `None`."""
    row = db.execute("SELECT reason, until_ms FROM freeze WHERE identity = ?", (identity,)).fetchone()
    return str(row[0]) if row and (not row[1] or now_ms < row[1]) else None


def orders_version(db: sqlite3.Connection) -> str:
    """Tells the newest orders from any others; '' where there never were any."""
    row = db.execute("SELECT value FROM meta WHERE name = 'orders'").fetchone()
    return str(row[0]) if row else ""


def orders_in_force(db: sqlite3.Connection, now_ms: int) -> tuple[c.Order, ...]:
    """Every order in force, in the order in which they were given."""
    rows = db.execute("SELECT id, said, at_ms FROM standing_order ORDER BY seq").fetchall()
    return tuple(one for one in (read_order(*row) for row in rows) if one.in_force(now_ms))


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
    return tuple((row.budget.identity, row.budget.window) for row in load_rows(rows_text))


def _read_one(db: sqlite3.Connection, budget: c.BudgetRow, now_ms: int) -> c.Balance:
    found = db.execute(
        "SELECT posted, held FROM balance WHERE identity = ? AND window = ?", (budget.identity, budget.window)
    ).fetchone()
    posted, held = found or (0, 0)
    frees_ms = 0
    if budget.bucket_ms:
        posted, frees_ms = _rolled(db, budget, now_ms)
    limit = limit_in_force(db, budget.identity, budget.window, budget.limit, now_ms)
    return c.Balance(posted, held, limit, freeze_in_force(db, budget.identity, now_ms), frees_ms)


def _rolled(db: sqlite3.Connection, budget: c.BudgetRow, now_ms: int) -> tuple[int, int]:
    """What was spent in the buckets of a rolling window, and when the first of it leaves; 0: nothing was."""
    total, first = db.execute(
        "SELECT COALESCE(sum(posted), 0), min(CASE WHEN posted > 0 THEN slot END) FROM bucket"
        " WHERE identity = ? AND slot >= ?",
        (budget.identity, _oldest_slot(budget, now_ms)),
    ).fetchone()
    return total, 0 if first is None else (first + ROLLING_BUCKETS + 1) * budget.bucket_ms


def _slot_at(budget: c.BudgetRow, now_ms: int) -> int:
    return now_ms // budget.bucket_ms if budget.bucket_ms else 0


def _oldest_slot(budget: c.BudgetRow, now_ms: int) -> int:
    return _slot_at(budget, now_ms) - ROLLING_BUCKETS


def _hold(db: sqlite3.Connection, command: c.Reserve, chosen: int, now_ms: int) -> None:
    rows = [
        Row(
            budget,
            ask.amount,
            lifecycle.charged_on_expiry(budget.unit, ask.amount, charge=command.charge_on_expiry),
            _slot_at(budget, now_ms),
        )
        for budget, ask in zip(command.budgets, command.candidates[chosen], strict=True)
        if ask is not None
    ]
    for row in rows:
        _post(db, row, posted=0, held=row.amount, now_ms=now_ms)
    db.execute(
        "INSERT INTO hold (id, state, payload, candidate, expires_ms, rows) VALUES (?, ?, ?, ?, ?, ?)",
        (command.id, lifecycle.OPEN, command.payload(), chosen, now_ms + command.ttl_ms, dump_rows(rows)),
    )


def _close(db: sqlite3.Connection, verb: str, command: c.Settle | c.Release, now_ms: int) -> c.Closed:
    known = db.execute(
        "SELECT state, close_payload, rows, closing FROM hold WHERE id = ?", (command.id,)
    ).fetchone()
    budgets = [posting.budget for posting in command.postings]
    if known and known[0] in lifecycle.ENDED:
        if known[1] != command.payload():
            raise ReservationConflict(f"hold {command.id!r} is {known[0]} already, with another payload")
        return _closed(db, known[0], known[3], budgets, now_ms)
    if known and refs(known[2]) != tuple((b.identity, b.window) for b in budgets):
        raise ReservationConflict(f"hold {command.id!r} touches other budgets than its {verb} names")
    rows = load_rows(known[2]) if known else [Row(b, 0, 0, _slot_at(b, now_ms)) for b in budgets]
    state = lifecycle.NEXT[(known[0] if known else lifecycle.OPEN, verb)]
    late = state == lifecycle.SETTLED_LATE
    fired: list[tuple[int, int, int, int]] = []
    for index, (posting, row) in enumerate(zip(command.postings, rows, strict=True)):
        posted = posting.amount - (row.charge if late else 0)
        own, freed = row._replace(budget=posting.budget), 0 if late else -row.amount
        fired += [(index, *crossing) for crossing in _post(db, own, posted=posted, held=freed, now_ms=now_ms)]
    overrun = known is not None and any(
        posting.amount > row.amount for posting, row in zip(command.postings, rows, strict=True)
    )
    text = detail.write_closing(
        overrun=overrun,
        unknown=budgets if known is None else None,
        amounts=[posting.amount for posting in command.postings],
        crossed=detail.write_crossings(fired),
    )
    _remember_closed(db, command, state, now_ms, text)
    write_journal(db, verb, command.id, now_ms, state, text, command.record)
    return _closed(db, state, text, budgets, now_ms)


def _remember_closed(
    db: sqlite3.Connection, command: c.Settle | c.Release, state: str, now_ms: int, text: str
) -> None:
    rows = dump_rows([Row(p.budget, 0, 0, 0) for p in command.postings])
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
    for ended, of_batch in _FORGOTTEN:
        kept_ms = lifecycle.remembered_ms(ended, c.BATCH if of_batch else "")
        db.execute(
            "DELETE FROM hold WHERE id IN (SELECT id FROM hold"
            " WHERE state = ?1 AND closed_ms > 0 AND closed_ms < ?2 AND (id GLOB ?3) = ?4 LIMIT 10)",
            (ended, now_ms - kept_ms, f"{c.BATCH}*", of_batch),
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
    db: sqlite3.Connection, row: Row, *, posted: int, held: int, now_ms: int
) -> list[tuple[int, int, int]]:
    """Change one balance; return the thresholds that posted now crosses as (step, posted, limit)."""
    budget = row.budget
    if budget.bucket_ms:
        posted = _post_to_bucket(db, row, posted, now_ms)
    total, crossed_text = db.execute(
        "INSERT INTO balance (identity, window, end_ms, file_limit, bucket_ms, posted, held)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (identity, window) DO UPDATE SET posted = posted + excluded.posted,"
        " held = held + excluded.held, file_limit = excluded.file_limit"
        " RETURNING posted, crossed",
        (budget.identity, budget.window, budget.end_ms, budget.limit, budget.bucket_ms, posted, held),
    ).fetchone()
    if not budget.steps or not posted:
        return []
    if budget.bucket_ms:
        total, _ = _rolled(db, budget, now_ms)
    limit = limit_in_force(db, budget.identity, budget.window, budget.limit, now_ms)
    before = frozenset(int(step) for step in crossed_text.split(",") if step)
    crossed, fired = crossings(before, total - posted, total, limit, budget.steps, budget.pace_bp)
    if crossed != before:
        db.execute(
            "UPDATE balance SET crossed = ? WHERE identity = ? AND window = ?",
            (",".join(str(step) for step in sorted(crossed)), budget.identity, budget.window),
        )
    return [(step, total, limit) for step in fired]


def _post_to_bucket(db: sqlite3.Connection, row: Row, posted: int, now_ms: int) -> int:
    """Add to the bucket in which the hold was opened; return what that adds to the window as it is now."""
    oldest = _oldest_slot(row.budget, now_ms)
    db.execute("DELETE FROM bucket WHERE identity = ? AND slot < ?", (row.budget.identity, oldest))
    if not posted or row.slot < oldest:
        return 0
    db.execute(
        "INSERT INTO bucket VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET posted = posted + excluded.posted",
        (row.budget.identity, row.slot, posted),
    )
    return posted


def dump_rows(rows: Iterable[Row]) -> str:
    """What a hold keeps of its budgets, as text."""
    return json.dumps(
        [
            [b.identity, b.window, b.end_ms, b.unit.value, b.limit, [*b.steps], b.bucket_ms, *rest, b.pace_bp]
            for b, *rest in rows
        ]
    )


def load_rows(text: str) -> list[Row]:
    """The inverse of `dump_rows`."""
    return [
        Row(
            c.BudgetRow(identity, window, 0, end_ms, Unit(unit), limit, tuple(steps), bucket_ms, *pace),
            amount,
            charge,
            slot,
        )
        for (
            identity,
            window,
            end_ms,
            unit,
            limit,
            steps,
            bucket_ms,
            amount,
            charge,
            slot,
            *pace,
        ) in json.loads(text)
    ]
