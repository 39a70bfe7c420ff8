"""What is said to Redis for each command, and how its replies are read: shared by both shells.

A dialogue is a generator: it yields calls, is sent their replies, and returns the command's answer. So a
command that needs several calls (a scan, say) is written once for blocking and async clients.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit
from governor.errors import LedgerUnavailable, ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail, lifecycle
from governor.ledger.keys import SCHEMA
from governor.ledger.scripts import Script, script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from governor.ledger.keys import Keys


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """Run one script."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlainCall:
    """Send one ordinary Redis command; its reply comes as redis-py parses it."""

    words: tuple[str, ...]


Call = ScriptCall | PlainCall
Dialogue = Generator[Call, Any, Any]


def converse(command: c.Command[Any], keys: Keys, now: str) -> Dialogue:
    """The dialogue for *command*; *now* is '' or a test's clock in milliseconds."""
    if type(command) not in _DIALOGUES:
        from governor.ledger.dialogue_recovery import DIALOGUES  # noqa: PLC0415 - only a rebuild needs it

        return DIALOGUES[type(command)](command, keys, now)
    return _DIALOGUES[type(command)](command, keys, now)


def _reserve(command: c.Reserve, keys: Keys, now: str) -> Dialogue:
    budgets = command.budgets
    args = [now, str(SCHEMA), command.id, command.payload(), str(command.ttl_ms), command.record]
    unrecorded = "2" if command.trial else str(int(command.quiet))
    args += [str(len(budgets)), str(len(command.candidates)), str(c.DUE_PER_REPLY), unrecorded]
    for b in budgets:
        args += [b.identity, b.window, str(b.start_ms), str(b.end_ms), str(b.limit), _steps(b)]
    for asks in command.candidates:
        for b, ask in zip(budgets, asks, strict=True):
            args.append(_ask(b, ask, charge=command.charge_on_expiry))
    for asks in command.candidates:
        args.append(_member(command.id, (b for b, ask in zip(budgets, asks, strict=True) if ask is not None)))
    named = [
        keys.meta,
        keys.admin,
        keys.expiry,
        keys.journal,
        keys.hold(command.id),
        *_balance_keys(keys, budgets),
    ]
    reply = yield ScriptCall(script("reserve"), tuple(named), tuple(args))
    status = reply[0]
    if status == "conflict":
        raise ReservationConflict(f"request id {command.id!r} was used before with another payload")
    if status == "window_moved":
        return c.WindowMoved(int(reply[1]))
    if status == "held":
        _, now_ms, candidate, state, expires_ms, *rest = reply
        balances, due = _balances_and_due(rest)
        return c.Held(int(candidate), balances, state, int(expires_ms), int(now_ms), due)
    _check(reply, keys, "exhausted", "contended", "frozen")
    _, now_ms, earliest, *rest = reply
    balances, due = _balances_and_due(rest)
    return c.Refused(status, balances, int(earliest) if earliest else None, int(now_ms), due)


def _ask(budget: c.BudgetRow, ask: c.Ask | None, *, charge: bool) -> str:
    """One argument for five numbers: an argument costs redis-py more than the script's parsing."""
    if ask is None:
        return ""
    on_expiry = lifecycle.charged_on_expiry(budget.unit, ask.amount, charge=charge)
    return f"{ask.amount} {ask.mark_bp} {ask.floor} {int(ask.comes_back)} {on_expiry}"


def _close(command: c.Settle | c.Release, keys: Keys, now: str) -> Dialogue:
    verb = "settle" if isinstance(command, c.Settle) else "release"
    budgets = [posting.budget for posting in command.postings]
    args = [now, str(SCHEMA), command.id, command.payload(), command.record, _member(command.id, budgets)]
    args += [str(len(budgets)), str(c.DUE_PER_REPLY), str(c.CLOSED_HOLD_KEPT_MS)]
    for posting in command.postings:
        b = posting.budget
        args += [b.identity, b.window, str(b.end_ms), str(b.limit), _steps(b), str(posting.amount)]
    named = [
        keys.meta,
        keys.admin,
        keys.expiry,
        keys.journal,
        keys.hold(command.id),
        *_balance_keys(keys, budgets),
    ]
    reply = yield ScriptCall(script(verb), tuple(named), tuple(args))
    if reply[0] == "conflict":
        raise ReservationConflict(f"hold {command.id!r} is {reply[1]}, and this {verb} has another payload")
    _check(reply, keys, "closed")
    _, now_ms, state, text, *rest = reply
    balances, due = _balances_and_due(rest)
    fields = detail.read_closing(text)
    return c.Closed(
        state=state,
        balances=balances,
        crossings=detail.read_crossings(fields["crossed"], [(b.identity, b.window) for b in budgets]),
        overrun=fields["overrun"] == "1",
        unknown=fields["unknown"] == "1",
        now_ms=int(now_ms),
        due=due,
    )


def _extend(command: c.Extend, keys: Keys, now: str) -> Dialogue:
    named = (keys.meta, keys.expiry, keys.hold(command.id))
    reply = yield ScriptCall(script("extend"), named, (now, str(SCHEMA), str(command.ttl_ms)))
    _check(reply, keys, "extended")
    return c.Extended(reply[1], int(reply[2]))


def _expire(command: c.Expire, keys: Keys, now: str) -> Dialogue:
    named = [keys.meta, keys.admin, keys.expiry, keys.journal]
    args = [now, str(SCHEMA), str(c.CLOSED_HOLD_KEPT_MS), str(len(command.holds))]
    for hold in command.holds:
        named += [keys.hold(hold.id), *(keys.balance(*ref) for ref in hold.balances)]
        args += [hold.id, str(len(hold.balances)), *(part for ref in hold.balances for part in ref)]
    reply = yield ScriptCall(script("expire"), tuple(named), tuple(args))
    _check(reply, keys, "expired")
    refs = {hold.id: hold.balances for hold in command.holds}
    ended = list(zip(reply[2::2], reply[3::2], strict=True))
    crossed = [crossing for hold, text in ended for crossing in detail.read_crossings(text, refs[hold])]
    return c.Expired(tuple(hold for hold, _ in ended), tuple(crossed))


def _administer(
    verb: str, words: Callable[[Any], tuple[str, ...]]
) -> Callable[[c.Command[Any], Keys, str], Dialogue]:
    def dialogue(command: Any, keys: Keys, now: str) -> Dialogue:
        own = words(command)
        payload = " ".join((verb, *own))
        args = (now, str(SCHEMA), command.id, payload, command.record, *own)
        reply = yield ScriptCall(script(verb), (keys.meta, keys.admin, keys.journal), args)
        if reply[0] == "conflict":
            raise ReservationConflict(f"operation id {command.id!r} was used before with another payload")
        _check(reply, keys, "done")
        return c.Administered(int(reply[1]), int(reply[2]))

    return dialogue


def _read(command: c.Read, keys: Keys, now: str) -> Dialogue:
    args = [now, str(SCHEMA), str(len(command.budgets))]
    for b in command.budgets:
        args += [b.identity, b.window, str(b.limit)]
    named = (keys.meta, keys.admin, *_balance_keys(keys, command.budgets))
    reply = yield ScriptCall(script("read"), named, tuple(args))
    _check(reply, keys, "read")
    return c.Readings(_balances_and_due(reply[2:])[0], int(reply[1]))


def _list_balances(command: c.ListBalances, keys: Keys, now: str) -> Dialogue:
    names: set[str] = set()
    cursor = 0
    while True:
        cursor, found = yield PlainCall(("SCAN", str(cursor), "MATCH", f"{keys.prefix}:b:*", "COUNT", "1000"))
        names.update(found)
        if int(cursor) == 0:
            break
    known: list[c.KnownBalance] = []
    for name in sorted(names, key=keys.parse_balance):
        identity, window = keys.parse_balance(name)
        if command.contains not in identity:
            continue
        end, file_limit = yield PlainCall(("HMGET", name, "end", "limit"))
        row = c.BudgetRow(identity, window, 0, int(end or 0), Unit.USD, int(file_limit or 0))
        readings = yield from _read(c.Read((row,)), keys, now)
        if command.past or not row.end_ms or row.end_ms > readings.now_ms:
            known.append(c.KnownBalance(identity, window, row.end_ms, readings.balances[0]))
    return tuple(known)


def _list_holds(_: c.ListHolds, keys: Keys, __: str) -> Dialogue:
    reply = yield PlainCall(("ZRANGE", keys.expiry, "0", "-1"))
    holds: list[c.OpenHold] = []
    for member in reply:
        hold = _due_hold(member)
        state, expires = yield PlainCall(("HMGET", keys.hold(hold.id), "state", "expires"))
        if state == lifecycle.OPEN:
            holds.append(c.OpenHold(hold.id, int(expires), hold.balances))
    return tuple(sorted(holds, key=lambda hold: (hold.expires_ms, hold.id)))


def _read_journal(command: c.ReadJournal, keys: Keys, _: str) -> Dialogue:
    entries: list[c.JournalEntry] = []
    last = "+"
    while len(entries) < command.limit:
        page = yield PlainCall(("XREVRANGE", keys.journal, last, "-", "COUNT", "1000"))
        found = [_journal_entry(seq, fields) for seq, fields in page]
        entries += [entry for entry in found if command.id in (None, entry.id)]
        if len(page) < 1000:
            break
        last = f"({page[-1][0]}"
    return tuple(reversed(entries[: command.limit]))


def _journal_entry(seq: str, fields: Mapping[str, str]) -> c.JournalEntry:
    kind, identifier, at, outcome, text, record = (
        fields[name] for name in ("kind", "id", "at", "outcome", "detail", "record")
    )
    return c.JournalEntry(seq, kind, identifier, int(at), outcome, text, record)


def _inspect(_: c.Inspect, keys: Keys, now: str) -> Dialogue:
    seconds, micros = yield PlainCall(("TIME",))
    now_ms = int(now) if now else int(seconds) * 1000 + int(micros) // 1000
    schema, epoch = yield PlainCall(("HMGET", keys.meta, "schema", "epoch"))
    facts = yield from server_facts()
    server = f"{facts.get('server_name', 'redis').capitalize()} {facts.get('redis_version', '?')}"
    return c.Status(schema is not None, int(schema) if schema else None, epoch, server, now_ms)


def _create(command: c.Create, keys: Keys, now: str) -> Dialogue:
    yield ScriptCall(script("create"), (keys.meta, keys.journal), (now, str(SCHEMA), command.epoch))
    return (yield from _inspect(c.Inspect(), keys, now))


_DIALOGUES: dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {
    c.Reserve: _reserve,
    c.Settle: _close,
    c.Release: _close,
    c.Extend: _extend,
    c.Expire: _expire,
    c.Grant: _administer("grant", lambda g: (g.identity, g.window, str(g.amount))),
    c.SetLimit: _administer(
        "set", lambda s: (s.identity, "" if s.limit is None else str(s.limit), str(s.until_ms))
    ),
    c.Freeze: _administer("freeze", lambda f: (f.identity, f.why, str(f.until_ms))),
    c.Unfreeze: _administer("unfreeze", lambda u: (u.identity,)),
    c.Read: _read,
    c.ListBalances: _list_balances,
    c.ListHolds: _list_holds,
    c.ReadJournal: _read_journal,
    c.Inspect: _inspect,
    c.Create: _create,
}


def server_facts() -> Generator[Call, Any, dict[str, str]]:
    """What `INFO` says, as text by name."""
    info = yield PlainCall(("INFO",))
    return {str(name): str(value) for name, value in info.items()}


def _check(reply: Sequence[str], keys: Keys, *expected: str) -> None:
    """Refuse a store that is not a ledger of this layout."""
    if reply[0] == "no_ledger":
        raise LedgerUnavailable(
            f"Redis holds no ledger for organization {keys.organization!r}: it was emptied or never "
            "created; run `governor ledger create URL`, or restore what was lost with "
            "`governor ledger rebuild ARCHIVE URL`"
        )
    if reply[0] == "other_schema" and reply[1] == "0":
        raise LedgerUnavailable(
            f"the ledger of organization {keys.organization!r} in Redis is being rebuilt: wait until "
            "`governor ledger rebuild` has ended, or run it again"
        )
    if reply[0] == "other_schema":
        raise LedgerUnavailable(
            f"the ledger of organization {keys.organization!r} in Redis has schema {reply[1]}, "
            f"this release knows {SCHEMA}: use the release that wrote it"
        )
    if reply[0] not in expected:
        raise LedgerUnavailable(f"the ledger gave an answer this release does not know: {reply[0]!r}")


def _balances_and_due(rest: Sequence[str]) -> tuple[tuple[c.Balance, ...], tuple[c.DueHold, ...]]:
    count = int(rest[0])
    rows = [rest[1 + 4 * i : 5 + 4 * i] for i in range(count)]
    balances = tuple(c.Balance(int(p), int(h), int(limit), frozen or None) for p, h, limit, frozen in rows)
    return balances, tuple(_due_hold(member) for member in rest[1 + 4 * count :])


def _due_hold(member: str) -> c.DueHold:
    identifier, *parts = member.split(" ")
    return c.DueHold(identifier, tuple(zip(parts[::2], parts[1::2], strict=True)))


def _member(identifier: str, budgets: Iterable[c.BudgetRow]) -> str:
    return " ".join([identifier, *(part for b in budgets for part in (b.identity, b.window))])


def _balance_keys(keys: Keys, budgets: Iterable[c.BudgetRow]) -> list[str]:
    return [keys.balance(b.identity, b.window) for b in budgets]


def _steps(budget: c.BudgetRow) -> str:
    return ",".join(str(step) for step in budget.steps)
