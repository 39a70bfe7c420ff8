"""`governor ledger create`, `governor holds list` and `holds reap`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, LEDGER, POLICIES, Desk, load_policies, open_desk
from governor.cli.output import console, note, print_json, print_rows, when
from governor.ids import new_id
from governor.ledger import commands as c
from governor.ledger.opening import open_ledger, redact
from governor.story.decision import instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

URL: Any = typer.Argument(None, metavar="[URL]", help="Where; else --ledger.", show_default=False)


def create(
    url: str | None = URL, policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON
) -> None:
    """Make a ledger for the organisation of the policies; does nothing to one that is there."""
    organization = load_policies(policies).organization
    where = url or ledger
    store = open_ledger(where, organization)
    try:
        before = store.execute(c.Inspect())
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
