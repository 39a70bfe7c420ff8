"""`governor budget list` and `show`: what is left, of the ledger a running application uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from governor.budgets import Rolling
from governor.cli import balances, completion, responses
from governor.cli.asked import Asked, asked_json
from governor.cli.changes import changes_of
from governor.cli.context import JSON, LEDGER, POLICIES, Desk, flag, open_desk
from governor.cli.output import (
    console,
    note,
    percent,
    print_json,
    print_rows,
    resets,
    stamp,
    usage,
    when,
)
from governor.cli.typed import span_text
from governor.errors import nearest
from governor.ledger import commands as c
from governor.ledger.admission import mark
from governor.money import Money
from governor.policy.scopes import dimension
from governor.policy.terms import LINES
from governor.story.decision import BudgetView, instant
from governor.story.decision import show as show_amount
from governor.story.matrix import gone_bp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.cli.changes import Change
    from governor.policy import BudgetTerm

IDENTITY: Any = typer.Argument(
    ...,
    autocompletion=completion.identities,
    help="As `governor budget list` prints it, for example department=legal/usd/month, or of a user, model "
    "or tag not seen yet: department=legal/user=ada/model=claude-opus-5-5/usd/day.",
)
DEPARTMENT: Any = typer.Option(
    None,
    "--department",
    "-d",
    help="Only this department's budgets.",
    autocompletion=completion.departments,
)
USER: Any = typer.Option(
    None, "--user", "-u", help="Only this user's budgets.", autocompletion=completion.users
)
CONTAINS: Any = typer.Option("", "--contains", help="Only budgets with this text in their identity.")
PAST: Any = flag("--past", help="Windows that are over, too.")


def list_budgets(
    department: str | None = DEPARTMENT,
    user: str | None = USER,
    contains: str = CONTAINS,
    past: bool = PAST,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """List every budget: limit in force, spent, held, available, and when it resets."""
    with open_desk(policies, ledger) as desk:
        found = [
            (view, balances.frozen_until_ms(desk, view))
            for view in balances.views(desk, contains=contains, past=past)
            if _of_department(view.identity, department) and _of(view.identity, "user", user)
        ]
        if not found and department is not None and department not in desk.policies.departments:
            raise usage(f"no department {department!r}: {nearest(department, desk.policies.departments)}")
    if as_json:
        print_json({"ledger": desk.where, "budgets": [balances.as_json(*pair) for pair in found]})
    elif found:
        titles = ("budget", "limit", "spent", "held", "available", "%", "resets (UTC)")
        print_rows(titles, [_cells(*pair, past=past) for pair in found])
    else:
        note("no budget matches")


def show(
    identity: str = IDENTITY, policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON
) -> None:
    """Show one budget: its limit and where it comes from, its marks, and who changed it last."""
    with open_desk(policies, ledger) as desk:
        term = balances.find_term(desk, identity)
        view = _forgotten(desk, identity) if term is None else balances.view_of(desk, term)
        limits = _limits(desk, view, term)
        changes, asked = changes_of(desk, view.identity), _asked(desk, view.identity)
        orders = _orders(desk, view.identity)
        if as_json:
            told = {"responses": [responses.order_json(one) for one in orders]}
            print_json(_detail_json(desk, view, term, limits, changes, asked) | told)
        else:
            _print_detail(desk, view, term, limits, changes, asked)
            for one in orders:
                text = f"  response   {responses.sentence(one)} ({one.id})"
                console().print(text, soft_wrap=True, highlight=False)


def _forgotten(desk: Desk, identity: str) -> BudgetView:
    """A budget that the ledger keeps although no file has it any more; its latest window."""
    kept = [view for view in balances.views(desk, contains=identity, past=True) if view.identity == identity]
    if not kept:
        raise balances.unknown(desk, identity)
    return kept[-1]


def _limits(desk: Desk, view: BudgetView, term: BudgetTerm | None) -> balances.Limits:
    if term is not None:
        return balances.limits_of(desk, term)
    return balances.Limits(view.unit, view.limit, frozen_until_ms=balances.frozen_until_ms(desk, view))


def _asked(desk: Desk, identity: str) -> list[Asked]:
    """The open requests for more of a budget."""
    kept = (Asked(request, desk.now_ms) for request in desk.ledger.execute(c.ListRequests()))
    return [one for one in kept if one.is_open and one.request.identity == identity]


def _orders(desk: Desk, identity: str) -> list[c.Order]:
    """The standing orders that concern whoever a budget is of."""
    whose = identity.split("/")
    return [
        order
        for order in desk.ledger.execute(c.ListOrders()).orders
        if all(balances.part(dimension(name), value) in whose for name, value in order.subject)
    ]


def _of_department(identity: str, department: str | None) -> bool:
    return _of(identity, "department", department)


def _of(identity: str, name: str, value: str | None) -> bool:
    return value is None or balances.part(name, value) in identity.split("/")


def _cells(view: BudgetView, frozen_ms: int | None, *, past: bool) -> tuple[str, ...]:
    amounts = (view.limit, view.posted, view.held, view.available)
    # The unit is in the identity, so counts stand bare.
    shown = (str(Money(a)) if view.unit == "usd" else f"{a:,}" for a in amounts)
    named = f"{view.identity} {view.window}" if past else view.identity
    frozen = f" FROZEN{span_text(0, frozen_ms or 0)}" if view.frozen is not None else ""
    return (named + frozen, *shown, str(percent(view)), resets(view))


def _print_detail(
    desk: Desk,
    view: BudgetView,
    term: BudgetTerm | None,
    limits: balances.Limits,
    changes: list[Change],
    asked: list[Asked],
) -> None:
    out = console()
    out.print(view.identity, style="bold", soft_wrap=True)
    for name, text in _facts(view, term, limits):
        out.print(f"  {name:<11}{text}", soft_wrap=True)
    for name, text in _marks(desk, view, term):
        out.print(f"  {name:<11}{text}", soft_wrap=True)
    for one in asked:
        out.print(f"  requested  {one} ({one.request.id})", soft_wrap=True)
    if not changes:
        out.print("  changes    none in the journal")
    for change in changes:
        named = f" ({change.id})" if change.kind == "grant" else ""  # for `budget revoke`
        out.print(f"  {stamp(change.at_ms)[:16]} UTC  {change}{named}", soft_wrap=True)


def _facts(view: BudgetView, term: BudgetTerm | None, limits: balances.Limits) -> Iterator[tuple[str, str]]:
    unit = view.unit
    yield "limit", f"{show_amount(unit, view.limit)} in force"
    if term is None:
        yield "file", "no policy file has this budget any more"
    else:
        over = "; overridden" if limits.override is not None else ""
        yield "file", f"{show_amount(unit, term.limit)} in {term.source}{over}"
    if limits.override is not None:
        yield "override", show_amount(unit, limits.override)
    if limits.granted:
        yield "granted", f"{show_amount(unit, limits.granted)} for now"
    for change in limits.coming:
        what = "granted" if change.added else "set to"
        until = f" until {when(instant(change.until_ms))}" if change.until_ms else ""
        yield (
            "to come",
            f"{what} {show_amount(unit, change.amount)} from {when(instant(change.from_ms))}{until} UTC",
        )
    if view.frozen is not None:
        ends = span_text(0, limits.frozen_until_ms or 0)
        yield "frozen", f"{view.frozen} ({ends.strip()})" if ends else view.frozen
    yield "window", _window(view)
    yield "spent", f"{show_amount(unit, view.posted)} ({percent(view)} %)"
    yield "held", f"{show_amount(unit, view.held)} by calls in flight"
    yield "available", show_amount(unit, view.available)


def _window(view: BudgetView) -> str:
    """For example `2026-11; resets at 2026-12-01 00:00 UTC`, `life; never resets`, `rolling 7d`."""
    window = str(view.period) if isinstance(view.period, Rolling) else view.window
    if view.resets_at is not None:
        return f"{window}; {view.resets} at {when(view.resets_at)} UTC"
    return window if isinstance(view.period, Rolling) else f"{window}; never resets"


def _marks(desk: Desk, view: BudgetView, term: BudgetTerm | None) -> Iterator[tuple[str, str]]:
    if term is None:
        return
    if term.shadow:
        yield "shadow", "it counts, and refuses nothing"
    if term.steps or view.unit == "usd":
        for line, top in _tops(desk, view, term):
            yield "mark", f"{line} may fill it to {show_amount(view.unit, top)}"
    if term.paced:
        yield "pace", f"even; {_gone_bp(desk, term) / 100:.0f} % of its window is gone"
    if term.kept_for:
        top = mark(view.limit, term.share_bp)
        whom = ", ".join(term.kept_for)
        yield "kept", f"above {show_amount(view.unit, top)}, with what is held, for {whom}"
    crossed = [step for step in term.steps if view.posted >= mark(view.limit, step)]
    steps = ", ".join(f"{step // 100} %{' (crossed)' if step in crossed else ''}" for step in term.steps)
    if steps:
        yield "thresholds", steps


def _gone_bp(desk: Desk, term: BudgetTerm) -> int:
    """How much of its window is gone, in basis points, if it is paced."""
    window = balances.window_of(desk, term)
    return gone_bp(window.start_ms, window.end_ms, desk.now_ms) if term.paced else 0


def _tops(desk: Desk, view: BudgetView, term: BudgetTerm) -> Iterator[tuple[str, int]]:
    """How far each line of the budget's department may fill it; every capped line where there is none."""
    lines: list[str] = []
    for file in desk.policies.files:
        policy: Any = file.policy
        department = getattr(policy, "department", None)
        if department is not None and _of_department(view.identity, department):
            lines = [line for line in LINES if line in policy.routing.lines]
    gone = _gone_bp(desk, term)
    for line in lines or term.caps:
        top = mark(view.limit, term.mark_bp(line, gone))
        yield line, min(top, view.limit - term.floors.get(line, 0))


def _detail_json(
    desk: Desk,
    view: BudgetView,
    term: BudgetTerm | None,
    limits: balances.Limits,
    changes: list[Change],
    asked: list[Asked],
) -> dict[str, Any]:
    steps = () if term is None else term.steps
    return {
        **balances.as_json(view, limits.frozen_until_ms),
        "file_limit": None if term is None else term.limit,
        "override": limits.override,
        "granted": limits.granted,
        "coming": [
            {
                "granted" if change.added else "set": change.amount,
                "from": instant(change.from_ms),
                "until": instant(change.until_ms),
            }
            for change in limits.coming
        ],
        "mode": None if term is None else "shadow" if term.shadow else "enforce",
        "pace": "even" if term is not None and term.paced else None,
        "kept_from": mark(view.limit, term.share_bp) if term is not None and term.kept_for else None,
        "kept_for": [] if term is None else list(term.kept_for),
        "marks": {} if term is None else dict(_tops(desk, view, term)),
        "thresholds": [
            {"percent": step // 100, "crossed": view.posted >= mark(view.limit, step)} for step in steps
        ],
        "requests": [asked_json(one) for one in asked],
        "changes": [change.as_json() for change in changes],
    }
