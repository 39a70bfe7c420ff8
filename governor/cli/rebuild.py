"""`governor ledger rebuild`: from the journal's archive to a ledger, after a loss."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.budget_changes import ACTOR
from governor.cli.context import JSON, LEDGER, POLICIES, flag, load_policies
from governor.cli.output import console, print_json, stamp, usage, when
from governor.cli.progress import progress
from governor.cli.who import actor_of
from governor.ids import new_id
from governor.journal import rebuild as rebuilding
from governor.journal.archive import open_archive
from governor.ledger import commands as c
from governor.ledger.opening import open_ledger, redact
from governor.story.decision import instant, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.journal.archive import Position
    from governor.journal.rebuild import Plan
    from governor.journal.replay import Hold, Row

FROM: Any = typer.Argument(
    ..., metavar="ARCHIVE", help="What `governor ledger archive` wrote: a file, or a database's URL."
)
URL: Any = typer.Argument(None, metavar="[URL]", help="The empty store; else --ledger.", show_default=False)
LOST_AT: Any = typer.Option(
    None,
    "--lost-at",
    help="When the ledger was lost: an ISO instant, UTC where it names no zone. Default: now.",
)
FREEZE: Any = flag("--freeze-unsure", help="Freeze the budgets it is unsure of, until their windows end.")
DRY_RUN: Any = flag("--dry-run", help="Say what would be restored, and change nothing.")
GOES_ON = "until it is done the ledger answers nobody: run it again, and it goes on"
SHOWN = 20


def rebuild(
    source: str = FROM,
    url: str | None = URL,
    lost_at: str | None = LOST_AT,
    freeze_unsure: bool = FREEZE,
    dry_run: bool = DRY_RUN,
    actor: str | None = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Restore what the archive knows into an empty store; calls it saw begin, and not end, are charged."""
    organization = load_policies(policies).organization
    lost_ms = None if lost_at is None else _lost_ms(lost_at)
    where = url or ledger
    with (
        closing(open_ledger(where, organization)) as store,
        closing(open_archive(source, organization)) as kept,
    ):
        now_ms = store.execute(c.Inspect()).now_ms
        with progress("records read", "nothing was changed; run it again") as tell:
            total = kept.count()
            plan = rebuilding.plan(
                kept, now_ms, now_ms if lost_ms is None else lost_ms, lambda done: tell(done, total)
            )
        if lost_ms is not None and lost_ms < plan.source.at_ms:
            raise usage(
                f"--lost-at {lost_at} is before the archive's last record, of "
                f"{stamp(plan.source.at_ms)} UTC: correct it, or leave it out"
            )
        state, epoch = "dry run", None
        if not dry_run:
            notes = {
                "v": 1,
                "actor": actor_of(actor),
                "archive": redact(source),
                "lag_ms": plan.lag_ms,
                "gaps": len(plan.gaps),
                "frozen": [one.identity for one in plan.unsure] if freeze_unsure else [],
            }
            with progress("balances and calls restored", GOES_ON) as tell:
                most = len(plan.balances()) + len(plan.holds())
                begun = rebuilding.carry_out(
                    store, plan, new_id(), notes, freeze=freeze_unsure, tell=lambda done: tell(done, most)
                )
            state, epoch = begun.state, begun.epoch
    if as_json:
        report = _json(plan, state, epoch, frozen=freeze_unsure)
        print_json(
            {"archive": redact(source), "ledger": redact(where), "organization": organization, **report}
        )
    else:
        _say(plan, redact(where), state, frozen=freeze_unsure)


def _lost_ms(text: str) -> int:
    """When the ledger was lost, Unix milliseconds."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise usage(f"--lost-at {text!r} is no ISO instant: write for example 2026-11-21T14:30:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


_DONE = {
    "begun": "is rebuilt",
    "resumed": "is rebuilt: what an earlier run had begun was finished",
    "done": "had been rebuilt from this archive already: its balances were left as they are",
    "dry run": "would be rebuilt; nothing was changed",
}


def _say(plan: Plan, where: str, state: str, *, frozen: bool) -> None:
    out, replay = console(), plan.replay
    out.print(f"{where} {_DONE[state]}", style="yellow" if state == "dry run" else "green", soft_wrap=True)
    lives = "" if replay.lives == 1 else f" of {replay.lives} lives of the ledger, added up"
    lag = timedelta(milliseconds=plan.lag_ms)
    lines = [
        f"{replay.records:,} records read{lives}",
        f"{len(plan.balances()):,} balances and {len(plan.holds()):,} ended calls restored",
        f"the archive's last record is of {stamp(plan.source.at_ms)} UTC",
        f"what was posted in the {lag} after it is missing, but for calls that still settle",
        f"{len(plan.charged)} calls were open there, and are charged what they held until they settle",
    ]
    lines += [f"  {hold.id}: {', '.join(_amounts(hold))}" for hold in plan.charged[:SHOWN]]
    lines += [f"  and {len(plan.charged) - SHOWN} more: see --json"] if len(plan.charged) > SHOWN else []
    unsure = "would be frozen" if state == "dry run" else "frozen"
    unsure = unsure if frozen else "not frozen: see --freeze-unsure"
    lines += [f"{len(plan.unsure)} budgets it is unsure of ({unsure})"] if plan.unsure else []
    lines += [f"  {one.identity}: {one.why}; until {when(instant(one.until_ms))}" for one in plan.unsure]
    if replay.policies is not None:
        version, digest = replay.policies
        lines += [f"policies were pushed (version {version}, hash {digest}): push them again"]
    for line in lines:
        out.print(f"  {line}", soft_wrap=True)
    for text in _doubts(plan):
        out.print(f"  {text}", style="red", soft_wrap=True)


def _doubts(plan: Plan) -> Iterator[str]:
    """What is wrong with the archive itself."""
    for gap in plan.gaps:
        before = "the first records" if gap.last is None else f"records after {_place(gap.last)}"
        yield (
            f"the archive has a gap: {before}, before {_place(gap.next)}, are missing. What they posted, "
            "granted or froze is not restored: put them back first, or look at each budget"
        )
    for first, second in plan.at_once:
        yield (
            f"two ledgers of the archive lived at the same time (epochs {first} and {second}), and are added "
            "up: if one was a test's, say, take its records out first"
        )
    for kind, count in sorted(plan.replay.strange.items()):
        yield f"{count:,} records of kind {kind!r} could not be replayed: check the balances they concern"


def _place(position: Position) -> str:
    return f"{position} of {stamp(position.at_ms)} UTC"


def _json(plan: Plan, state: str, epoch: str | None, *, frozen: bool) -> dict[str, Any]:
    return {
        "state": state,
        "epoch": epoch,
        "source": _place_json(plan.source),
        "records": plan.replay.records,
        "lives": plan.replay.lives,
        "balances": len(plan.balances()),
        "ended_calls": len(plan.holds()),
        "lag_ms": plan.lag_ms,
        "charged": [_hold_json(hold) for hold in plan.charged],
        "frozen": frozen,
        "unsure": [
            {"identity": u.identity, "window": u.window, "why": u.why, "until": instant(u.until_ms)}
            for u in plan.unsure
        ],
        "gaps": [
            {"after": gap.last and _place_json(gap.last), "before": _place_json(gap.next)}
            for gap in plan.gaps
        ],
        "at_once": [list(pair) for pair in plan.at_once],
        "not_replayed": dict(plan.replay.strange),
        "policies_to_push": plan.replay.policies
        and {"version": plan.replay.policies[0], "hash": plan.replay.policies[1]},
    }


def _place_json(position: Position) -> dict[str, Any]:
    return {"epoch": position.epoch, "seq": position.seq, "at": instant(position.at_ms)}


def _hold_json(hold: Hold) -> dict[str, Any]:
    rows = [
        {"identity": row.budget.identity, "window": row.budget.window, "amount": row.charge}
        for row in hold.rows
    ]
    return {"id": hold.id, "reserved_at": instant(hold.at_ms), "budgets": rows}


def _amounts(hold: Hold) -> list[str]:
    return [_amount(row) for row in hold.rows if row.charge]


def _amount(row: Row) -> str:
    return f"{show(row.budget.unit, row.charge)} of {row.budget.identity}"
