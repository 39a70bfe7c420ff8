"""What is said to Redis for each command, and how its replies are read: shared by both shells.

A dialogue is a generator: it yields calls, is sent their replies, and returns the command's answer. So a
command that needs several calls (a scan, say) is written once for blocking and async clients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.errors import LedgerUnavailable, ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail, lifecycle, migration
from governor.ledger.board import heading, read_line
from governor.ledger.keys import SCHEMA
from governor.ledger.orders import Reordered, read_rows
from governor.ledger.scripts import script
from governor.ledger.talk import PlainCall, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from governor.budgets import Unit
    from governor.ledger.keys import Keys
    from governor.ledger.talk import Call, Dialogue


LISTED_AT_ONCE = 200
"""How many balances one script reads for a list, so that none holds the server up for long."""


def converse(command: c.Command[Any], keys: Keys, now: str) -> Dialogue:
    """The dialogue for *command*; *now* is '' or a test's clock in milliseconds."""
    known = _DIALOGUES if type(command) in _DIALOGUES else _rarer_dialogues()
    return known[type(command)](command, keys, now)


def _rarer_dialogues() -> dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]]:
    """Those that no call needs: they are imported where one is asked for."""
    from governor.ledger import (  # noqa: PLC0415 - as said
        dialogue_entering,
        dialogue_following,
        dialogue_holds,
        dialogue_orders,
        dialogue_policies,
        dialogue_recovery,
        dialogue_requests,
    )

    return {
        **dialogue_entering.DIALOGUES,
        **dialogue_following.DIALOGUES,
        **dialogue_holds.DIALOGUES,
        **dialogue_orders.DIALOGUES,
        **dialogue_policies.DIALOGUES,
        **dialogue_recovery.DIALOGUES,
        **dialogue_requests.DIALOGUES,
    }


def _reserve(command: c.Reserve, keys: Keys, now: str) -> Dialogue:
    budgets = command.budgets
    unrecorded = "2" if command.trial else str(int(command.quiet))
    args = [now, str(SCHEMA), command.id, command.payload(), str(command.ttl_ms), command.record]
    args += [str(len(command.candidates)), str(c.DUE_PER_REPLY), unrecorded, heading(command.notice)]
    args.append("-" if command.heard is None else command.heard)
    args += [f"{b.start_ms} {terms(b)}" for b in budgets]
    units, charge = [b.unit for b in budgets], command.charge_on_expiry
    for asks in command.candidates:
        pairs = zip(units, asks, strict=True)
        args.append("".join([";" if ask is None else _ask(unit, ask, charge) for unit, ask in pairs]))
    named = _keys_of(command, keys, budgets)
    if command.notice is not None:
        args.append(command.notice.text)
    reply = yield ScriptCall(script("reserve"), tuple(named), tuple(args))
    status = reply[0]
    if status == "conflict":
        raise ReservationConflict(f"request id {command.id!r} was used before with another payload")
    if status == "window_moved":
        return c.WindowMoved(int(reply[1]))
    if status == "reordered":
        return Reordered(reply[2], read_rows(reply[3], int(reply[1])), int(reply[1]))
    if status == "held":
        _, now_ms, candidate, state, expires_ms, *rest = reply
        balances, due, board = _answered(rest, command.notice)
        return c.Held(int(candidate), balances, state, int(expires_ms), int(now_ms), due, board)
    check(reply, keys, "exhausted", "contended", "frozen")
    _, now_ms, earliest, *rest = reply
    balances, due, board = _answered(rest, command.notice)
    return c.Refused(status, balances, int(earliest) if earliest else None, int(now_ms), due, board)


def _ask(unit: Unit, ask: c.Ask, charge: bool) -> str:
    """One budget's part of a candidate's argument: more arguments would cost more than their parsing."""
    on_expiry = lifecycle.charged_on_expiry(unit, ask.amount, charge=charge)
    share = ask.share_bp if ask.enforced else "-"
    return f"{ask.amount} {ask.mark_bp} {ask.floor} {int(ask.comes_back)} {on_expiry} {share};"


def _close(command: c.Settle | c.Release, keys: Keys, now: str) -> Dialogue:
    verb = "settle" if isinstance(command, c.Settle) else "release"
    budgets = [posting.budget for posting in command.postings]
    kept_ms = str(lifecycle.remembered_ms(lifecycle.SETTLED, command.id))
    args = [now, str(SCHEMA), command.id, command.payload(), command.record]
    args += [str(c.DUE_PER_REPLY), kept_ms, heading(command.notice)]
    args += [f"{posting.amount} {terms(posting.budget)}" for posting in command.postings]
    named = _keys_of(command, keys, budgets)
    if command.notice is not None:
        args.append(command.notice.text)
    reply = yield ScriptCall(script(verb), tuple(named), tuple(args))
    if reply[0] == "conflict":
        raise ReservationConflict(f"hold {command.id!r} is {reply[1]}, and this {verb} has another payload")
    check(reply, keys, "closed")
    _, now_ms, state, text, *rest = reply
    balances, due, board = _answered(rest, command.notice)
    fields = detail.read_closing(text)
    return c.Closed(
        state=state,
        balances=balances,
        crossings=detail.read_crossings(fields["crossed"], [(b.identity, b.window) for b in budgets]),
        overrun=fields["overrun"] == "1",
        unknown=fields["unknown"] == "1",
        now_ms=int(now_ms),
        due=due,
        board=board,
    )


def _extend(command: c.Extend, keys: Keys, now: str) -> Dialogue:
    named = (keys.meta, keys.expiry, keys.hold(command.id))
    reply = yield ScriptCall(script("extend"), named, (now, str(SCHEMA), str(command.ttl_ms)))
    check(reply, keys, "extended")
    return c.Extended(reply[1], int(reply[2]))


def _expire(command: c.Expire, keys: Keys, now: str) -> Dialogue:
    named = [keys.meta, keys.admin, keys.expiry, keys.journal]
    args = [now, str(SCHEMA), str(c.EXPIRED_HOLD_KEPT_MS)]
    for hold in command.holds:
        named += [keys.hold(hold.id), *(keys.balance(*ref) for ref in hold.balances)]
        args += [hold.id, str(len(hold.balances))]
    reply = yield ScriptCall(script("expire"), tuple(named), tuple(args))
    check(reply, keys, "expired")
    refs = {hold.id: hold.balances for hold in command.holds}
    ended = list(zip(reply[2::2], reply[3::2], strict=True))
    crossed = [crossing for hold, text in ended for crossing in detail.read_crossings(text, refs[hold])]
    return c.Expired(tuple(hold for hold, _ in ended), tuple(crossed))


def _administer(words: Callable[[Any], tuple[str, ...]]) -> Callable[[c.Command[Any], Keys, str], Dialogue]:
    def dialogue(command: Any, keys: Keys, now: str) -> Dialogue:
        payload, text = detail.operation(command), detail.write_change(command)
        verb = detail.VERBS[type(command)]
        args = (
            now,
            str(SCHEMA),
            command.id,
            payload,
            command.record,
            command.identity,
            text,
            *words(command),
        )
        reply = yield ScriptCall(script(verb), (keys.meta, keys.admin, keys.journal), args)
        if reply[0] == "conflict":
            raise ReservationConflict(f"operation id {command.id!r} was used before with another payload")
        check(reply, keys, "done")
        return c.Administered(int(reply[1]), int(reply[2]))

    return dialogue


def _read(command: c.Read, keys: Keys, now: str) -> Dialogue:
    args = [now, str(SCHEMA), *(f"{b.limit} {b.bucket_ms}" for b in command.budgets)]
    named = (keys.meta, keys.admin, *_balance_keys(keys, command.budgets))
    reply = yield ScriptCall(script("read"), named, tuple(args))
    check(reply, keys, "read")
    return c.Readings(_balances_and_due(reply[2:])[0], int(reply[1]))


def _list_balances(command: c.ListBalances, keys: Keys, now: str) -> Dialogue:
    names: set[str] = set()
    cursor = 0
    while True:
        cursor, found = yield PlainCall(("SCAN", str(cursor), "MATCH", f"{keys.prefix}:b:*", "COUNT", "1000"))
        names.update(found)
        if int(cursor) == 0:
            break
    wanted = sorted((*keys.parse_balance(name), name) for name in names)
    wanted = [row for row in wanted if command.contains in row[0]]
    known: list[c.KnownBalance] = []
    for start in range(0, len(wanted), LISTED_AT_ONCE):
        batch = wanted[start : start + LISTED_AT_ONCE]
        named = (keys.meta, keys.admin, *(name for *_, name in batch))
        reply = yield ScriptCall(script("list"), named, (now, str(SCHEMA)))
        check(reply, keys, "list")
        for (identity, window, _), end, text in zip(batch, reply[2::2], reply[3::2], strict=True):
            if end and (command.past or end == "0" or int(end) > int(reply[1])):
                known.append(c.KnownBalance(identity, window, int(end), _balance(text)))
    return tuple(known)


def _read_changes(command: c.ReadChanges, keys: Keys, now: str) -> Dialogue:
    fields = (f"g:{command.identity}:{command.window}", f"l:{command.identity}", f"z:{command.identity}")
    granted, text, freeze = yield PlainCall(("HMGET", keys.admin, *fields))
    now_ms = yield from clock_ms(now)
    limits = (_limit_change(entry) for entry in (text or "").split(";")[:-1])
    kept = tuple(change for change in limits if not change.until_ms or now_ms < change.until_ms)
    until_ms = int(freeze.partition(" ")[0]) if freeze else None
    frozen = until_ms is not None and (not until_ms or now_ms < until_ms)
    return c.Changes(int(granted or 0), kept, now_ms, until_ms if frozen else None)


def _find_grant(command: c.FindGrant, keys: Keys, _: str) -> Dialogue:
    (payload,) = yield PlainCall(("HMGET", keys.admin, f"op:{command.id}"))
    return detail.read_grant(command.id, payload)


def _list_changed(_: c.ListChanged, keys: Keys, now: str) -> Dialogue:
    fields = yield PlainCall(("HGETALL", keys.admin))
    now_ms = yield from clock_ms(now)
    found: set[tuple[str, str]] = set()
    for name, value in fields.items():
        kind, _, budget = name.partition(":")
        identity, _, window = budget.partition(":")
        ends: list[int] = []
        if kind == "g" and value != "0":
            found.add((identity, window))
        elif kind == "l":
            ends = [_limit_change(entry).until_ms for entry in value.split(";")[:-1]]
        elif kind == "z":
            ends = [int(value.partition(" ")[0])]
        if any(not until_ms or now_ms < until_ms for until_ms in ends):
            found.add((identity, ""))
    return tuple(sorted(found))


def _limit_change(entry: str) -> c.LimitChange:
    amount, from_ms, until_ms = entry[1:].split(" ")
    return c.LimitChange(entry.startswith("+"), int(amount), int(from_ms), int(until_ms))


def _read_journal(command: c.ReadJournal, keys: Keys, _: str) -> Dialogue:
    entries: list[c.JournalEntry] = []
    last = "+"
    while len(entries) < command.limit:
        page = yield PlainCall(("XREVRANGE", keys.journal, last, "-", "COUNT", "1000"))
        found = [journal_entry(seq, fields) for seq, fields in page]
        entries += [entry for entry in found if command.id in (None, entry.id)]
        if len(page) < 1000:
            break
        last = f"({page[-1][0]}"
    return tuple(reversed(entries[: command.limit]))


def journal_entry(seq: str, fields: Mapping[str, str]) -> c.JournalEntry:
    """One record of the journal, from the fields of its entry in the stream."""
    kind, identifier, at, outcome, text, record = (
        fields[name] for name in ("kind", "id", "at", "outcome", "detail", "record")
    )
    return c.JournalEntry(seq, kind, identifier, int(at), outcome, text, record)


def _inspect(_: c.Inspect, keys: Keys, now: str) -> Dialogue:
    now_ms = yield from clock_ms(now)
    schema, epoch = yield PlainCall(("HMGET", keys.meta, "schema", "epoch"))
    if schema is None:
        schema, epoch = yield PlainCall(
            ("HMGET", replace(keys, schema=migration.OLDEST).meta, "schema", "epoch")
        )
    facts = yield from server_facts()
    server = f"{facts.get('server_name', 'redis').capitalize()} {facts.get('redis_version', '?')}"
    number = int(schema.partition(">")[0]) if schema else None  # `1>2`: a migration is under way
    return c.Status(schema is not None, number, epoch, server, now_ms)


def _create(command: c.Create, keys: Keys, now: str) -> Dialogue:
    yield ScriptCall(script("create"), (keys.meta, keys.journal), (now, str(SCHEMA), command.epoch))
    return (yield from _inspect(c.Inspect(), keys, now))


_DIALOGUES: dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {
    c.Reserve: _reserve,
    c.Settle: _close,
    c.Release: _close,
    c.Extend: _extend,
    c.Expire: _expire,
    c.Grant: _administer(lambda g: (g.window, str(g.amount), str(g.from_ms), str(g.until_ms))),
    c.SetLimit: _administer(
        lambda s: ("" if s.limit is None else str(s.limit), str(s.from_ms), str(s.until_ms))
    ),
    c.Freeze: _administer(lambda f: (str(f.until_ms), f.why)),
    c.Unfreeze: _administer(lambda _: ()),
    c.Read: _read,
    c.ReadChanges: _read_changes,
    c.FindGrant: _find_grant,
    c.ListChanged: _list_changed,
    c.ListBalances: _list_balances,
    c.ReadJournal: _read_journal,
    c.Inspect: _inspect,
    c.Create: _create,
    migration.FindOld: migration.find_old,
    migration.Migrate: migration.migrate,
}


def refuse_older(keys: Keys) -> Generator[Call, Any, None]:
    """Refuse a store that holds the organisation's ledger in an older layout.

    Raises:
        LedgerUnavailable: It does; the message says how to bring it to this one.
    """
    (schema,) = yield PlainCall(("HMGET", replace(keys, schema=migration.OLDEST).meta, "schema"))
    if schema is not None:
        state = "is being migrated" if schema == migration.UNDER_WAY else f"has schema {schema}"
        raise LedgerUnavailable(
            f"the ledger of {keys.organization!r} in Redis {state}, this release knows {SCHEMA}: "
            "stop what uses it, then run `governor ledger migrate URL`"
        )


def clock_ms(now: str) -> Generator[Call, Any, int]:
    """Unix milliseconds: a test's clock, or the server's."""
    if now:
        return int(now)
    seconds, micros = yield PlainCall(("TIME",))
    return int(seconds) * 1000 + int(micros) // 1000


def server_facts() -> Generator[Call, Any, dict[str, str]]:
    """What `INFO` says, as text by name."""
    info = yield PlainCall(("INFO",))
    return {str(name): str(value) for name, value in info.items()}


def check(reply: Sequence[str], keys: Keys, *expected: str) -> None:
    """Refuse a store that is not a ledger of this layout."""
    if reply[0] == "no_ledger":
        raise LedgerUnavailable(
            f"Redis holds no ledger for organization {keys.organization!r}: it was emptied or never "
            "created; restore what was lost with `governor ledger rebuild ARCHIVE URL`, or, only if it is "
            "new, run `governor ledger create URL`"
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


def _answered(
    rest: Sequence[str], notice: c.Notice | None
) -> tuple[tuple[c.Balance, ...], tuple[c.DueHold, ...], tuple[c.Posted, ...]]:
    """Balances, due holds and, to a command with a notice, the board: its lines, then their number."""
    if notice is None:
        return (*_balances_and_due(rest), ())
    ends = len(rest) - 1
    begins = ends - int(rest[ends])
    return (*_balances_and_due(rest[:begins]), tuple(read_line(line) for line in rest[begins:ends]))


def _balances_and_due(rest: Sequence[str]) -> tuple[tuple[c.Balance, ...], tuple[c.DueHold, ...]]:
    count = int(rest[0])
    balances = tuple(_balance(text) for text in rest[1 : 1 + count])
    return balances, tuple(due_hold(member) for member in rest[1 + count :])


def _balance(text: str) -> c.Balance:
    posted, held, limit, frees_ms, frozen = text.split(" ", 4)
    return c.Balance(int(posted), int(held), int(limit), frozen or None, int(frees_ms))


def due_hold(member: str) -> c.DueHold:
    """A hold as the set of open ones names it: its id, then identity and window of each balance."""
    identifier, *parts = member.split(" ")
    return c.DueHold(identifier, tuple(zip(parts[::2], parts[1::2], strict=True)))


def _keys_of(
    command: c.Reserve | c.Settle | c.Release, keys: Keys, budgets: Iterable[c.BudgetRow]
) -> list[str]:
    """The keys of a command on a hold."""
    named = [keys.meta, keys.admin, keys.expiry, keys.journal, keys.hold(command.id)]
    named += _balance_keys(keys, budgets)
    return named if command.notice is None else [*named, keys.board]


def _balance_keys(keys: Keys, budgets: Iterable[c.BudgetRow]) -> list[str]:
    return [keys.balance(b.identity, b.window) for b in budgets]


def terms(budget: c.BudgetRow) -> str:
    """A budget's terms as they travel and are kept: end_ms, limit, bucket_ms, kept_ms, steps and pace."""
    steps = ",".join(map(str, budget.steps))
    if budget.pace_bp:
        steps += f"@{budget.pace_bp}"
    return f"{budget.end_ms} {budget.limit} {budget.bucket_ms} {budget.kept_ms} {steps}"
