"""What the ledger itself writes into a journal record, as text that both stores write alike.

Lua may not turn an amount into JSON (it loses digits above 2**46), so a detail is words and integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.budgets import unit_of
from governor.ledger import commands as c
from governor.ledger.commands import Balance, BudgetRow, Crossing
from governor.ledger.requests import fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VERBS: Mapping[type[c.Change], str] = {
    c.Grant: "grant",
    c.SetLimit: "set",
    c.Freeze: "freeze",
    c.Unfreeze: "unfreeze",
}
"""The kind under which the journal keeps each change by an administrator."""


def operation(command: c.Change) -> str:
    """What makes an administrator's command the same again: its verb, its budget and what it says."""
    return f"{VERBS[type(command)]} {command.identity} {write_change(command)}"


def write_change(command: c.Change) -> str:
    """Of a grant, set, freeze or unfreeze: what it says; the reason of a freeze comes last, as free text."""
    match command:
        case c.Grant():
            return (
                f"amount={command.amount} window={command.window} from={command.from_ms} "
                f"until={command.until_ms}"
            )
        case c.SetLimit():
            limit = "" if command.limit is None else command.limit
            return f"limit={limit} from={command.from_ms} until={command.until_ms}"
        case c.Freeze():
            return f"until={command.until_ms} reason={command.why}"
        case _:
            return ""


def read_change(detail: str) -> dict[str, str]:
    """The fields of `write_change` by name; layout 1 wrote an amount alone."""
    return {"amount": detail} if detail.isdigit() else fields(detail)


def write_approval(command: c.Approve) -> str:
    """Of a grant that was asked for: what it says, then the request and how that was answered."""
    return f"{write_change(command.grant)} request={command.request.id} {command.answer.said}"


def read_operation(kind: str, identity: str, detail: str) -> str:
    """`operation` from a journal record of the change; a grant's request is no part of it."""
    said = detail.partition(" request=")[0] if kind == VERBS[c.Grant] else detail
    return f"{kind} {identity} {said}"


def read_grant(identifier: str, operation: str | None) -> c.Grant | None:
    """The grant whose `operation` a ledger keeps under *identifier*, without its record; `None`: none."""
    verb, _, rest = (operation or "").partition(" ")
    if verb != VERBS[c.Grant]:
        return None
    identity, _, said = rest.partition(" ")
    if "=" not in said:  # made before it was migrated from layout 1
        window, _, digits = said.partition(" ")
        return c.Grant(identifier, identity, window, int(digits))
    found = read_change(said)
    amount, from_ms, until_ms = (int(found[name]) for name in ("amount", "from", "until"))
    return c.Grant(identifier, identity, found["window"], amount, from_ms=from_ms, until_ms=until_ms)


def write_balances(candidate: int | None, balances: Iterable[Balance]) -> str:
    """Of a reserve: the chosen candidate (`-`: none), then posted, held, limit and frozen of each budget."""
    rows = (f"{b.posted}:{b.held}:{b.limit}:{0 if b.frozen is None else 1}" for b in balances)
    return ("-" if candidate is None else str(candidate)) + " " + ",".join(rows)


def read_balances(detail: str) -> tuple[int | None, tuple[Balance, ...]]:
    """The inverse of `write_balances`; the reason of a freeze is not kept in it."""
    chosen, _, rows = detail.partition(" ")
    parts = [row.split(":") for row in rows.split(",") if row]
    balances = tuple(
        Balance(int(p), int(h), int(limit), "frozen" if f == "1" else None) for p, h, limit, f in parts
    )
    return (None if chosen == "-" else int(chosen)), balances


def write_closing(
    *, overrun: bool, amounts: Sequence[int], crossed: str, unknown: Sequence[BudgetRow] | None = None
) -> str:
    """Of a settle, release or expire: flags, what was posted to each budget, and the thresholds crossed.

    Where the hold was *unknown* the budgets themselves follow: no reserve's record names them.
    """
    posted = ",".join(str(amount) for amount in amounts)
    text = f"overrun={int(overrun)} unknown={int(unknown is not None)} posted={posted} crossed={crossed}"
    if unknown is None:
        return text
    refs = (f"{b.identity};{b.window};{b.end_ms};{b.limit};{b.bucket_ms}" for b in unknown)
    return f"{text} refs=" + ",".join(refs)


def read_closing(detail: str) -> dict[str, str]:
    """The fields of `write_closing` by name."""
    return dict(field.split("=", 1) for field in detail.split(" ") if "=" in field)


def read_refs(text: str) -> tuple[BudgetRow, ...]:
    """The budgets that `write_closing` names of an unknown hold; without start and steps."""
    rows = [row.split(";") for row in text.split(",") if row]
    return tuple(
        BudgetRow(i, window, 0, int(end_ms), unit_of(i), int(limit), bucket_ms=int(bucket_ms))
        for i, window, end_ms, limit, bucket_ms in rows
    )


def write_crossings(rows: Iterable[tuple[int, int, int, int]]) -> str:
    """Crossings as `budget:step:posted:limit` joined by commas; *budget* is the index of the posting."""
    return ",".join(":".join(str(part) for part in row) for row in rows)


def read_crossings(text: str, refs: Sequence[tuple[str, str]]) -> tuple[Crossing, ...]:
    """The inverse of `write_crossings`; *refs* are the postings' (identity, window)."""
    rows = [[int(part) for part in row.split(":")] for row in text.split(",") if row]
    return tuple(Crossing(*refs[index], step, posted, limit) for index, step, posted, limit in rows)
