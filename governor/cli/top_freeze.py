"""Freezing and unfreezing from the live screen: what will happen, said first, and then done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from governor.cli import balances
from governor.cli.budget_changes import freeze_term, unfreeze_term
from governor.cli.output import Failure
from governor.cli.top_cells import title
from governor.cli.typed import required, span_text
from governor.ids import new_id
from governor.journal.alerts.responses import as_json
from governor.ledger import orders
from governor.story.decision import show

if TYPE_CHECKING:
    from governor.cli.context import Desk
    from governor.cli.top_picture import Picture
    from governor.cli.top_watch import Watch
    from governor.policy import BudgetTerm
    from governor.story.decision import BudgetView

RUN_HOURS = 24
"""How long a run is frozen that has no budget of its own: an order ends by itself."""


class Run(NamedTuple):
    """A run that has no budget of its own, and its department; '' where it has none."""

    department: str
    run: str

    @property
    def subject(self) -> tuple[tuple[str, str], ...]:
        """As an order names it."""
        return tuple(pair for pair in (("department", self.department), ("run", self.run)) if pair[1])


Target = tuple[str, ...] | Run
"""Identities of budgets, or a run without any."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A change that was not made yet.

    Attributes:
        verb: `Freeze` or `Unfreeze`.
        lines: What will happen, for people.
        desk: What it is carried out on.
        term: The budget.
    """

    verb: str
    lines: tuple[str, ...]
    desk: Desk
    term: BudgetTerm

    def carry_out(self, actor: str, reason: str) -> str:
        """Do it; what was done. It is journalled with who and why, as by `governor budget freeze`.

        Raises:
            Failure: There is no reason, or it is no plain line.
            LedgerUnavailable: The ledger is away, or this user may not change limits.
        """
        said = required("the reason", reason)
        if self.verb == "Freeze":
            freeze_term(self.desk, self.term, actor, said)
            return f"{self.term.identity} is frozen; u unfreezes it"
        done = unfreeze_term(self.desk, self.term, actor, said)
        return f"{self.term.identity} {'was not frozen' if done is None else 'is unfrozen'}"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A change to a run without a budget that was not made yet: a standing order, or its end.

    Attributes:
        verb: `Freeze` or `Unfreeze`.
        lines: What will happen, for people.
        desk: What it is carried out on.
        run: Which run.
        lifted: The order that is ended; '': one is given.
    """

    verb: str
    lines: tuple[str, ...]
    desk: Desk
    run: Run
    lifted: str = ""

    def carry_out(self, actor: str, reason: str) -> str:
        """Do it; what was done. It is journalled with who and why.

        Raises:
            Failure: There is no reason, it is no plain line, or too many orders are in force.
            LedgerUnavailable: The ledger is away, or this user may not change it.
        """
        said = required("the reason", reason)
        record = {"v": 1, "actor": actor, "reason": said}
        if self.lifted:
            done = self.desk.ledger.execute(orders.LiftOrder(self.lifted, json.dumps(record)))
            return f"{self.run.run} {'was not frozen' if done is None else 'is unfrozen'}"
        until_ms = self.desk.now_ms + RUN_HOURS * 3_600_000
        order = orders.Order(
            f"top-{new_id()}", orders.FREEZE_RUN, self.run.subject, "", until_ms, said, actor
        )
        record |= {**as_json(order), "policy": self.desk.policies.hash}
        reply = self.desk.ledger.execute(orders.PlaceOrder(order, json.dumps(record)))
        if isinstance(reply, orders.TooManyOrders):
            raise Failure(f"{reply.open} orders are in force: undo some with `governor responses undo`")
        return f"{self.run.run} is frozen for {RUN_HOURS} hours; u unfreezes it"


def _order_of(desk: Desk, run: Run) -> orders.Order | None:
    """The order that freezes a run, given here or by an alert."""
    found = desk.ledger.execute(orders.ListOrders()).orders
    mine = (one for one in found if one.kind == orders.FREEZE_RUN)
    return next((one for one in mine if set(one.subject) <= set(run.subject)), None)


def _run_of(identity: str) -> Run | None:
    """The run whose own budget this is."""
    said = dict(part.split("=", 1) for part in identity.split("/") if "=" in part)
    return Run(unquote(said.get("department", "")), unquote(said["run"])) if "run" in said else None


def _freeze_run(desk: Desk, picture: Picture, run: Run) -> RunPlan:
    order = _order_of(desk, run)
    if order is not None:
        raise Failure(f"{run.run} is frozen already ({order.reason}): u unfreezes it")
    flying = sum((one.department, one.run) == run for one in picture.flights)
    lines = (
        f"Freeze the run {run.run}?",
        f"{run.department or 'no department'}; it has no budget of its own.",
        f"Every request of it will be refused, at once and in every process, for {RUN_HOURS} hours at most.",
        *([f"{flying} call{'s' if flying != 1 else ''} in flight will go on to their end."] * bool(flying)),
    )
    return RunPlan("Freeze", lines, desk, run)


def _unfreeze_run(desk: Desk, run: Run) -> RunPlan:
    order = _order_of(desk, run)
    if order is None:
        raise Failure(f"{run.run} is not frozen")
    lines = (
        f"Unfreeze the run {run.run}?",
        f"It was frozen by {order.alert or order.actor}: {order.reason}.",
        "Its requests may spend again.",
    )
    return RunPlan("Unfreeze", lines, desk, run, order.id)


def plan_freeze(watch: Watch, picture: Picture, chosen: Target) -> Plan | RunPlan:
    """What freezing the first of these budgets, or this run, would do, by its balance of this moment.

    Raises:
        Failure: It is no budget of the policies (any more), or is frozen already.
        LedgerUnavailable: The ledger is away.
    """
    desk = watch.desk
    if isinstance(chosen, Run):
        return _freeze_run(desk, picture, chosen)
    term = balances.require_term(desk, chosen[0])
    view = balances.view_of(desk, term)
    if view.frozen is not None:
        raise Failure(f"{term.identity} is frozen already ({view.frozen}): u unfreezes it")
    return Plan("Freeze", tuple(_freeze_lines(view, picture)), desk, term)


def _freeze_lines(view: BudgetView, picture: Picture) -> list[str]:
    flying = [one for one in picture.flights if view.identity in one.identities]
    held = show(view.unit, view.held)
    lines = [
        f"Freeze {title(view.identity)}?",
        view.identity,
        "Every request that touches it will be refused, at once and in every process, until it is unfrozen.",
        f"Spent so far: {show(view.unit, view.posted)} of {show(view.unit, view.limit)}.",
    ]
    if flying or view.held:
        calls = f"{len(flying)} call{'s' if len(flying) != 1 else ''}" if flying else "Calls"
        lines.append(f"{calls} in flight will go on to their end; {held} is held for them.")
    return lines


def plan_unfreeze(watch: Watch, _: Picture, chosen: Target) -> Plan | RunPlan:
    """What ending the freeze of the first of these budgets that is frozen, or of this run, would do.

    Raises:
        Failure: None of them is frozen.
        LedgerUnavailable: The ledger is away.
    """
    desk = watch.desk
    if isinstance(chosen, Run):
        return _unfreeze_run(desk, chosen)
    for identity in chosen:
        term = balances.require_term(desk, identity)
        view = balances.view_of(desk, term)
        if view.frozen is not None:
            until = span_text(0, balances.frozen_until_ms(desk, view) or 0)
            lines = (
                f"Unfreeze {title(identity)}?",
                identity,
                f"It was frozen{until}: {view.frozen}.",
                f"Requests may spend again: {show(view.unit, view.available)} are available.",
            )
            return Plan("Unfreeze", lines, desk, term)
    run = _run_of(chosen[0])  # one with a budget may be frozen by an order all the same: an alert's
    if run is not None and _order_of(desk, run) is not None:
        return _unfreeze_run(desk, run)
    raise Failure(f"{chosen[0]} is not frozen")
