"""`governor ledger create`, `governor holds list` and `holds reap`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import (
    JSON,
    LEDGER,
    POLICIES,
    Desk,
    beyond_this_process,
    flag,
    load_policies,
    open_desk,
)
from governor.cli.output import console, note, print_json, print_rows, usage, when
from governor.cli.progress import progress
from governor.errors import LedgerUnavailable
from governor.ids import new_id
from governor.ledger import commands as c
from governor.ledger.keys import SCHEMA
from governor.ledger.migration import MOVED_AT_ONCE, OLDEST, FindOld, Migrate
from governor.ledger.opening import open_ledger, redact
from governor.ledger.recovery import REBUILDING
from governor.story.decision import instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.ledger import Ledger

DRY_RUN: Any = flag("--dry-run", help="Say what would be done, and do nothing.")
GOES_ON = "until it is done no release uses the ledger: run it again, and it goes on"
URL: Any = typer.Argument(
    None, callback=beyond_this_process, metavar="[URL]", help="Where; else --ledger.", show_default=False
)


def create(
    url: str | None = URL, policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON
) -> None:
    """Make a ledger for the organisation of the policies; does nothing to one that is there."""
    organization = load_policies(policies).organization
    where = url or ledger
    store = open_ledger(where, organization)
    try:
        before = _checked(store.execute(c.Inspect()), where)
        status = store.execute(c.Create(new_id()))
    finally:
        store.close()
    if as_json:
        print_json(
            {
                "ledger": redact(where),
                "organization": organization,
                "created": not before.created,
                "epoch": status.epoch,
                "schema": status.schema,
                "server": status.server,
            }
        )
        return
    done = "is a ledger already" if before.created else "is a ledger now"
    console().print(
        f"{redact(where)} {done}: organization {organization}, schema {status.schema}, {status.server}",
        style="green",
        soft_wrap=True,
    )


def migrate(
    url: str | None = URL,
    dry_run: bool = DRY_RUN,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Bring a ledger of the release before to this one's layout; stop what uses it first.

    Nothing is lost where it is broken off: no release uses the ledger until it was run to its end.
    """
    organization = load_policies(policies).organization
    where = url or ledger
    store = open_ledger(where, organization)
    try:
        old = store.execute(FindOld())
        if old.schema is None:
            status = _checked(store.execute(c.Inspect()), where)
            if not status.created:
                raise usage(
                    f"{redact(where)} holds no ledger of {organization!r}: there is nothing to migrate"
                )
        elif not dry_run:
            _migrate(store)
        left_alone = dry_run and old.schema is not None
        schema = old.schema if left_alone else store.execute(c.Inspect()).schema
    finally:
        store.close()
    if as_json:
        print_json(
            {
                "ledger": redact(where),
                "organization": organization,
                "from": old.schema,
                "keys": len(old.names),
                "schema": schema,
                "dry_run": dry_run,
            }
        )
        return
    if old.schema is None:
        done = f"is of schema {schema} already"
    else:
        keys = f" ({len(old.names):,} keys)" if old.names else ""
        verb = "would be" if dry_run else "was"
        done = f"{verb} migrated from schema {old.schema} to {SCHEMA}{keys}"
    console().print(f"{redact(where)} {done}", style="green", soft_wrap=True)


def _checked(status: c.Status, where: str) -> c.Status:
    """What the store is, unless a command that makes ledgers had better leave it alone."""
    if status.schema == REBUILDING:
        raise LedgerUnavailable(
            f"{redact(where)} is being rebuilt: wait until `governor ledger rebuild` has ended; if it was "
            "interrupted, run it again"
        )
    if status.schema not in (None, OLDEST, SCHEMA):
        raise LedgerUnavailable(
            f"{redact(where)} has ledger schema {status.schema}, this release knows {SCHEMA}: use the "
            "release that wrote it"
        )
    return status


def _migrate(store: Ledger) -> None:
    """Mark it first, so that nothing new comes, then move all there is, then the marker."""
    with progress("keys moved", GOES_ON) as tell:
        store.execute(Migrate())
        names = store.execute(FindOld()).names
        for start in range(0, len(names), MOVED_AT_ONCE):
            store.execute(Migrate(names[start : start + MOVED_AT_ONCE]))
            tell(min(start + MOVED_AT_ONCE, len(names)), len(names))
        store.execute(Migrate(last=True))


def holds(policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON) -> None:
    """List what is promised to calls in flight, the first to expire first."""
    with open_desk(policies, ledger) as desk:
        found = desk.ledger.execute(c.ListHolds())
    if as_json:
        print_json({"ledger": desk.where, "holds": [_hold_json(desk, hold) for hold in found]})
    elif found:
        titles = ("hold", "expires (UTC)", "state", "budgets")
        print_rows(titles, [_cells(desk, hold) for hold in found], left=4)
    else:
        note("no open holds")


def reap(policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON) -> None:
    """Expire the holds of calls whose process died: charged, unless the policy gives them back."""
    with open_desk(policies, ledger) as desk:
        due = [hold for hold in desk.ledger.execute(c.ListHolds()) if hold.expires_ms <= desk.now_ms]
        ended: list[str] = []
        for batch in _batches(due):
            reaped = desk.ledger.execute(c.Expire(tuple(c.DueHold(h.id, h.balances) for h in batch)))
            ended += reaped.ids
    if as_json:
        print_json({"ledger": desk.where, "expired": ended})
        return
    text = f"{len(ended)} {'hold' if len(ended) == 1 else 'holds'} expired"
    console().print("\n".join([text, *(f"  {identifier}" for identifier in ended)]), soft_wrap=True)


def _batches(due: Sequence[c.OpenHold]) -> Iterator[Sequence[c.OpenHold]]:
    for start in range(0, len(due), c.DUE_PER_REPLY):
        yield due[start : start + c.DUE_PER_REPLY]


def _cells(desk: Desk, hold: c.OpenHold) -> tuple[str, ...]:
    state = "overdue" if hold.expires_ms <= desk.now_ms else "open"
    return hold.id, when(instant(hold.expires_ms)), state, ", ".join(name for name, _ in hold.balances)


def _hold_json(desk: Desk, hold: c.OpenHold) -> dict[str, Any]:
    return {
        "id": hold.id,
        "expires_at": instant(hold.expires_ms),
        "overdue": hold.expires_ms <= desk.now_ms,
        "budgets": [{"identity": identity, "window": window} for identity, window in hold.balances],
    }
