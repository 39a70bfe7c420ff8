"""From an archive to a ledger: what is restored, what may be missing, and the commands that restore it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from governor.budgets import Unit, span_of, unit_of
from governor.journal import records
from governor.journal.archive import ArchiveError, Position
from governor.journal.gaps import Chain
from governor.journal.replay import Replay
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.ledger import recovery as r
from governor.ledger.values import BALANCE_KEPT_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from governor.journal.archive import Archive
    from governor.journal.gaps import Gap
    from governor.journal.replay import Hold, Ref
    from governor.ledger import Ledger

T = TypeVar("T")

BATCH = 200
"""How many balances, holds or changes one command restores."""

IN_FLIGHT = "a call was in flight at the archive's end"
LATELY = "money was posted just before the archive's end"
MISSING = "records are missing in the archive"
UNREAD = "what was granted, set or frozen of it could not be read"


@dataclass(frozen=True, slots=True)
class Unsure:
    """A budget whose balance or limit may miss something: which, why, and when its window ends (0: never).

    *window* is '' where it is the budget in every window.
    """

    identity: str
    window: str
    until_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rebuild restores.

    Attributes:
        source: The archive's last record.
        replay: The state after it, its open holds charged.
        charged: The holds that were open there.
        lag_ms: From that record to the loss: what was written in between is lost.
        gaps: What is missing before it.
        at_once: Pairs of ledgers (epochs) of the archive that lived at the same time; they are added up.
        unsure: The budgets that what is lost or missing may concern.
        now_ms: The ledger's clock.
    """

    source: Position
    replay: Replay
    charged: tuple[Hold, ...]
    lag_ms: int
    gaps: tuple[Gap, ...]
    at_once: tuple[tuple[str, str], ...]
    unsure: tuple[Unsure, ...]
    now_ms: int

    def balances(self) -> list[r.RestoredBalance]:
        """Every balance whose window is not long over."""
        return [
            r.RestoredBalance(
                identity=identity,
                window=window,
                end_ms=account.end_ms,
                limit=account.limit,
                posted=account.posted,
                crossed=tuple(sorted(account.crossed)),
                bucket_ms=account.bucket_ms,
                buckets=tuple(sorted(account.buckets.items())),
            )
            for (identity, window), account in self.replay.accounts.items()
            if not account.end_ms or account.end_ms + BALANCE_KEPT_MS > self.now_ms
        ]

    def holds(self) -> list[r.RestoredHold]:
        """Every hold whose end is still remembered, so that its settle, come late or again, counts once."""
        return [
            r.RestoredHold(
                id=hold.id,
                state=hold.state,
                rows=tuple((r.budget, r.held, r.charge, _slot(r.budget, hold.at_ms)) for r in hold.rows),
                closing=hold.closing,
                detail=hold.detail,
                closed_ms=hold.closed_ms,
                note=hold.note,
            )
            for hold in self.replay.ended.values()
            if hold.closed_ms + lifecycle.remembered_ms(hold.state, hold.id) > self.now_ms
        ]


def plan(archive: Archive, now_ms: int, lost_ms: int, tell: Callable[[int], None]) -> Plan:
    """Read the whole archive and say what a rebuild would restore.

    Args:
        archive: The journal's.
        now_ms: The ledger's clock.
        lost_ms: When the ledger was lost; *now_ms* where nobody knows.
        tell: Is told now and then how many records were read.

    Raises:
        ArchiveError: It is empty, out of order, or cannot be read.
    """
    replay, chain = Replay(), Chain()
    for one in archive.read():
        chain.link(one)
        replay.read(one.epoch, (one.entry,))
        if replay.records % r.PAGE == 0:
            tell(replay.records)
    if replay.last is None:
        raise ArchiveError("the archive has no record of this organization: there is nothing to rebuild from")
    source = Position(replay.epoch, replay.last.seq, replay.last.at_ms)
    lag_ms = max(0, lost_ms - source.at_ms)
    charged = replay.charge_open(now_ms)
    gaps = tuple(chain.gaps)
    unsure = tuple(_unsure(replay, charged, gaps, lag_ms, now_ms))
    return Plan(source, replay, charged, lag_ms, gaps, tuple(chain.at_once()), unsure, now_ms)


def carry_out(
    ledger: Ledger,
    plan: Plan,
    epoch: str,
    notes: dict[str, Any],
    *,
    freeze: bool,
    tell: Callable[[int], None],
) -> r.Begun:
    """Restore what *plan* says; an interrupted rebuild goes on, one that is done changes nothing.

    Args:
        ledger: An empty or unused store, or the one that was rebuilt so before.
        plan: What to restore.
        epoch: The new ledger's.
        notes: What the journal's record shall tell besides.
        freeze: Whether the budgets it is unsure of are frozen until their windows end.
        tell: Is told after each command how many balances and holds were restored.

    Raises:
        LedgerUnavailable: The store is in use, or another rebuild of it was begun.
    """
    begun = ledger.execute(r.BeginRestore(epoch, str(plan.source)))
    done_before = begun.state == "done"
    freezes = _freezes(plan, epoch if done_before else begun.epoch) if freeze else []
    if not done_before:
        done = 0
        for command in _commands(plan, freezes):
            ledger.execute(command)
            done += len(command.balances) + len(command.holds)
            tell(done)
        ledger.execute(r.FinishRestore(str(plan.source), _detail(plan), json.dumps(notes)))
    for one in _not_in_force(ledger, freezes) if done_before else freezes:
        ledger.execute(one)  # of a new ledger in force already; now the journal has it too
    return begun


def _not_in_force(ledger: Ledger, freezes: list[c.Freeze]) -> list[c.Freeze]:
    """Those of budgets that are not frozen now."""
    rows = tuple(c.BudgetRow(one.identity, "", 0, 0, unit_of(one.identity), 0) for one in freezes)
    balances = ledger.execute(c.Read(rows)).balances
    return [one for one, balance in zip(freezes, balances, strict=True) if balance.frozen is None]


def _commands(plan: Plan, freezes: list[c.Freeze]) -> Iterator[r.Restore]:
    """In batches; administrators' changes first, so that nothing is open before they are in force."""
    source, state = str(plan.source), plan.replay
    new = {freeze.identity: (freeze.why, freeze.until_ms) for freeze in freezes}
    for limits in _batches((name, tuple(made)) for name, made in state.limits.items()):
        yield r.Restore(source, changes=r.RestoredChanges(limits=limits))
    for grants in _batches(((*ref, amount) for ref, amount in state.grants.items())):
        yield r.Restore(source, changes=r.RestoredChanges(grants=grants))
    for rows in _batches(((name, *value) for name, value in (state.freezes | new).items())):
        yield r.Restore(source, changes=r.RestoredChanges(freezes=rows))
    for operations in _batches(state.operations.items()):
        yield r.Restore(source, changes=r.RestoredChanges(operations=operations))
    orders = tuple(order for order in state.orders.values() if order.in_force(plan.now_ms))
    yield r.Restore(source, changes=r.RestoredChanges(orders=orders))
    kept = (request for request in state.requests.values() if request.kept(plan.now_ms))
    for requests in _batches(kept):
        yield r.Restore(source, changes=r.RestoredChanges(requests=requests))
    for known in _batches(one for one in state.entered.values() if one.kept(plan.now_ms)):
        yield r.Restore(source, entered=known)
    for balances in _batches(plan.balances()):
        yield r.Restore(source, balances=balances)
    for holds in _batches(plan.holds()):
        yield r.Restore(source, holds=holds)


def _slot(budget: c.BudgetRow, at_ms: int) -> int:
    return at_ms // budget.bucket_ms if budget.bucket_ms else 0


def _batches(rows: Iterable[T]) -> Iterator[tuple[T, ...]]:
    left = iter(rows)
    while batch := tuple(islice(left, BATCH)):
        yield batch


def _freezes(plan: Plan, epoch: str) -> list[c.Freeze]:
    """One for each budget it is unsure of and that was not frozen; the same for the same rebuild."""
    frozen = {
        identity
        for identity, (_, until_ms) in plan.replay.freezes.items()
        if not until_ms or until_ms > plan.now_ms
    }
    return [
        c.Freeze(
            id=f"rebuild-{epoch}-{hashlib.blake2b(one.identity.encode(), digest_size=8).hexdigest()}",
            identity=one.identity,
            reason=f"rebuilt after a loss ({plan.source}): {one.why}",
            until_ms=one.until_ms,
            record=records.administration("governor ledger rebuild", one.why),
        )
        for one in {one.identity: one for one in plan.unsure}.values()
        if one.identity not in frozen
    ]


def _unsure(
    replay: Replay, charged: tuple[Hold, ...], gaps: tuple[Gap, ...], lag_ms: int, now_ms: int
) -> Iterator[Unsure]:
    """What a lost or unread record may concern.

    Of the lost ones no past window, and no `concurrent` budget, which posts nothing.
    """
    yield from (Unsure(identity, "", 0, UNREAD) for identity in sorted(replay.unread))
    in_flight: set[Ref] = {row.ref for hold in charged for row in hold.rows}
    end_ms = replay.last.at_ms if replay.last else 0
    missing_ms = max((gap.next.at_ms for gap in gaps), default=-1)
    for ref, account in sorted(replay.accounts.items()):
        over = account.end_ms and account.end_ms <= now_ms
        if ref[0] in replay.unread or unit_of(ref[0]) is Unit.CONCURRENT or over:
            continue
        if account.counts_since(span_of(ref[0]), now_ms) <= missing_ms:
            yield Unsure(*ref, account.end_ms, MISSING)
        elif ref in in_flight:
            yield Unsure(*ref, account.end_ms, IN_FLIGHT)
        elif account.spent_ms >= end_ms - lag_ms and account.spent_ms:
            yield Unsure(*ref, account.end_ms, LATELY)


def _detail(plan: Plan) -> str:
    counts = {
        "records": plan.replay.records,
        "balances": len(plan.balances()),
        "holds": len(plan.holds()),
        "charged": len(plan.charged),
    }
    return f"from={plan.source} " + " ".join(f"{name}={count}" for name, count in counts.items())
