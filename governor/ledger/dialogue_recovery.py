"""What is said to Redis for the journal's archive and for a rebuild; see `governor.ledger.dialogue`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.ledger import recovery as r
from governor.ledger.dialogue import check, journal_entry, terms
from governor.ledger.dialogue_requests import answer_row, row_of
from governor.ledger.entering import ENTERED_KEPT_MS
from governor.ledger.keys import SCHEMA
from governor.ledger.orders import freezes, rebuilt_version
from governor.ledger.scripts import script
from governor.ledger.talk import PlainCall, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from governor.ledger.keys import Keys
    from governor.ledger.talk import Dialogue


def _read_since(command: r.ReadSince, keys: Keys, now: str) -> Dialogue:
    args = (now, str(SCHEMA), command.after or "-", str(command.limit + 1))
    reply = yield ScriptCall(script("since"), (keys.meta, keys.journal), args)
    check(reply, keys, "since")
    _, epoch, *rows = reply
    return command.page(epoch, tuple(_entry(row) for row in rows))


def _measure(command: r.MeasureJournal, keys: Keys, now: str) -> Dialogue:
    page = yield from _read_since(r.ReadSince(limit=1), keys, now)
    records = yield PlainCall(("XLEN", keys.journal))
    newest = yield PlainCall(("XREVRANGE", keys.journal, "+", "-", "COUNT", "1"))
    last = journal_entry(*newest[0]) if newest else None
    before = yield PlainCall(("XREVRANGE", keys.journal, command.at or "0-0", "-", "COUNT", "1"))
    known = journal_entry(*before[0]) if before else None
    return r.JournalSize(page.epoch, int(records), page.entries[0] if page.entries else None, last, known)


def _trim(command: r.TrimJournal, keys: Keys, now: str) -> Dialogue:
    major, minor = r.place(command.up_to)
    last = command.last
    major, minor = min((major, minor + 1), r.place(last.seq))
    mark = (last.seq, last.kind, last.id, str(last.at_ms))
    args = (now, str(SCHEMA), command.epoch, f"{major}-{minor}", str(command.limit), *mark)
    reply = yield ScriptCall(script("trim"), (keys.meta, keys.journal), args)
    if reply[0] == "other_epoch":
        raise LedgerUnavailable(
            f"the ledger of organization {keys.organization!r} has epoch {reply[1]}, its archive's is "
            f"{command.epoch}: it was made anew meanwhile, and nothing was trimmed; archive it again"
        )
    if reply[0] == "went_back":
        raise LedgerUnavailable(
            f"the ledger of organization {keys.organization!r} has not the record {last.seq} of its archive: "
            "it went back in time, and nothing was trimmed; archive it to a new place"
        )
    check(reply, keys, "trimmed")
    return int(reply[1])


def _begin(command: r.BeginRestore, keys: Keys, now: str) -> Dialogue:
    used = yield from _has_balances(keys)
    args = (now, str(SCHEMA), str(r.REBUILDING), command.epoch, command.source, str(int(used)))
    named = (keys.meta, keys.admin, keys.expiry, keys.journal, keys.requests)
    reply = yield ScriptCall(script("restore_begin"), named, args)
    if reply[0] == "in_use":
        raise LedgerUnavailable(
            f"Redis holds a ledger of organization {keys.organization!r} that is in use, or parts of one: a "
            f"rebuild needs an empty store; if it is to go, archive its journal too (lives are added up), "
            f"then delete the keys {keys.prefix}:*"
        )
    if reply[0] == "other_source":
        raise LedgerUnavailable(
            f"a rebuild of organization {keys.organization!r} from another archive, or another state of it, "
            f"was begun here and not ended: end that one, or delete the keys {keys.prefix}:* first"
        )
    check(reply, keys, "begun", "resumed", "done")
    return r.Begun(reply[0], reply[1])


def _has_balances(keys: Keys) -> Dialogue:
    cursor = 0
    while True:
        cursor, found = yield PlainCall(("SCAN", str(cursor), "MATCH", f"{keys.prefix}:b:*", "COUNT", "1000"))
        if found or int(cursor) == 0:
            return bool(found)


def _restore(command: r.Restore, keys: Keys, now: str) -> Dialogue:
    admin = [word for pair in _admin_fields(command.changes, command.source) for word in pair]
    args = [now, str(r.REBUILDING), command.source]
    asked = [word for pair in _request_fields(command.changes) for word in pair]
    args += [str(len(admin) // 2), str(len(command.balances)), str(len(command.holds)), str(len(asked) // 2)]
    args.append(str(len(command.entered)))
    args += [*admin, *asked]
    for b in command.balances:
        buckets = "".join(f"{slot} {amount};" for slot, amount in b.buckets)
        args += [terms(b.row), str(b.posted), _joined(b.crossed), buckets]
    for hold in command.holds:
        args += [
            str(hold.closed_ms + lifecycle.remembered_ms(hold.state, hold.id)),
            hold.state,
            _member(hold),
            _rows(hold),
            hold.closing,
            hold.detail,
            hold.payload,
        ]
    for one in command.entered:
        args += [str(one.at_ms + ENTERED_KEPT_MS), one.payload, str(one.at_ms)]
    named = [keys.meta, keys.admin, keys.requests]
    named += [keys.balance(b.identity, b.window) for b in command.balances]
    named += [keys.hold(hold.id) for hold in command.holds]
    named += [keys.entered(one.id) for one in command.entered]
    reply = yield ScriptCall(script("restore"), tuple(named), tuple(args))
    _check_rebuilding(reply, keys)


def _member(hold: r.RestoredHold) -> str:
    """What tells the hold from others, as `member` in the scripts makes it."""
    return " ".join([hold.id, *(part for row, *_ in hold.rows for part in (row.identity, row.window))])


def _rows(hold: r.RestoredHold) -> str:
    """What the hold keeps of its budgets, as `reserve.lua` writes it."""
    return "".join(
        f"{held} {charge} {slot if row.bucket_ms else '-'} {terms(row)};"
        for row, held, charge, slot in hold.rows
    )


def _admin_fields(changes: r.RestoredChanges, source: str) -> Iterator[tuple[str, str]]:
    """The hash `admin` as the verbs of administrators write it."""
    for identity, made in changes.limits:
        entries = (f"{'+' if x.added else '='}{x.amount} {x.from_ms} {x.until_ms};" for x in made)
        yield f"l:{identity}", "".join(entries)
    for identity, window, amount in changes.grants:
        yield f"g:{identity}:{window}", str(amount)
    for identity, reason, until_ms in changes.freezes:
        yield f"z:{identity}", f"{until_ms} {reason}"
    for identifier, payload in changes.operations:
        yield f"op:{identifier}", payload
    if changes.orders:
        yield "orders", "".join(order.row for order in changes.orders)
        yield "orders:v", rebuilt_version(source)
        for identity, order in freezes(changes.orders).items():
            yield f"z:{identity}", f"{order.until_ms} {order.why}"


def _request_fields(changes: r.RestoredChanges) -> Iterator[tuple[str, str]]:
    """The hash `requests` as the verbs of requests write it."""
    for request in changes.requests:
        yield f"r:{request.id}", row_of(request)
        if request.answer is not None:
            yield f"a:{request.id}", answer_row(request.answer)


def _finish(command: r.FinishRestore, keys: Keys, now: str) -> Dialogue:
    args = (now, str(SCHEMA), str(r.REBUILDING), command.source, command.detail, command.record)
    reply = yield ScriptCall(script("restore_finish"), (keys.meta, keys.journal), args)
    _check_rebuilding(reply, keys)


def _check_rebuilding(reply: list[str], keys: Keys) -> None:
    if reply[0] == "not_rebuilding":
        raise LedgerUnavailable(
            f"the store of organization {keys.organization!r} is not being rebuilt from this archive any "
            "more: somebody emptied it, or made it a ledger; run `governor ledger rebuild` again"
        )


def _entry(row: list[Any]) -> c.JournalEntry:
    seq, fields = row
    return journal_entry(seq, dict(zip(fields[::2], fields[1::2], strict=True)))


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)


DIALOGUES: dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {
    r.ReadSince: _read_since,
    r.MeasureJournal: _measure,
    r.TrimJournal: _trim,
    r.BeginRestore: _begin,
    r.Restore: _restore,
    r.FinishRestore: _finish,
}
