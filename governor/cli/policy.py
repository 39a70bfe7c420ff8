"""`governor policy check`: are the files right, and what of them is in force?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from governor.budgets import Period, Rolling
from governor.cli.completion import policy_files
from governor.cli.context import JSON, POLICIES, PRICES, load_policies, load_prices
from governor.cli.output import console, print_json, problem_json, usage
from governor.errors import PolicyError
from governor.policy.terms import FULL_BP, LINES
from governor.story.decision import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from governor.policy import BudgetRow, Notice, Policies
    from governor.pricing import PriceTable

PATH: Any = typer.Argument(
    None,
    metavar="[PATH]",
    help="The folder, or one file; else --policies.",
    show_default=False,
    autocompletion=policy_files,
)


def check(
    path: str | None = PATH,
    policies: str = POLICIES,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Check policy files, and print what is in force.

    Problems are printed as file:line:column: message (hint), and the exit code is 3.
    """
    from governor.policy.remarks import remarks  # noqa: PLC0415 - `--help` need not pay for it

    refuse_ledger(path or policies)
    loaded = load_policies(path or policies)
    refuse_unpriced(loaded, load_prices(prices))
    notices = [*loaded.not_in_force, *remarks(loaded)]
    if as_json:
        print_json(_as_json(loaded, notices))
        return
    _print(loaded, notices)


def refuse_ledger(source: str) -> None:
    """Refuse what names no files.

    Raises:
        Failure: It is `ledger:NAME`.
    """
    from governor.policy.pushed import pushed_only  # noqa: PLC0415 - as above

    if pushed_only(source):
        raise usage(
            f"{source} names no files: name their folder; `governor policy pull` writes what was pushed"
        )


def refuse_unpriced(loaded: Policies, prices: PriceTable, day: date | None = None) -> None:
    """Check what needs the price table, as of a day in UTC, or of today.

    Raises:
        PolicyError: A file names a model without a price.
    """
    from governor.policy.check import check as check_models  # noqa: PLC0415 - as above

    problems = check_models(loaded, prices, day)
    if problems:
        raise PolicyError(problems)


def amount_and_window(row: BudgetRow) -> str:
    """A budget's limit as people say it: `$15,000.00 a month`, `$50.00 in rolling 7d`, `8 calls`."""
    amount = show(row.unit, row.limit)
    if row.period is Period.LIFE:
        return amount
    return f"{amount} in {row.period}" if isinstance(row.period, Rolling) else f"{amount} a {row.period}"


def whose(row: BudgetRow) -> str:
    """What a budget counts per: `department`, `user (premium)`, `user and model claude-opus-5-5`."""
    named = " and ".join(" ".join(filter(None, (scope, row.names.get(scope)))) for scope in row.scopes)
    return f"{named} ({row.user_tier})" if row.user_tier else named


def _print(loaded: Policies, notices: Iterable[Notice]) -> None:
    from rich.table import Table  # noqa: PLC0415 - JSON does not need it

    out = console()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("in force", "budget", "limit", "at which share"):
        table.add_column(title)
    for file in loaded.files:
        department = getattr(file.policy, "department", None)
        rows = [row for row in loaded.all_terms() if row.department == department]
        names = [department or f"org {loaded.organization}", *_auto(loaded, department)]
        told = ""
        for index in range(max(len(rows), len(names))):
            row = rows[index] if index < len(rows) else None
            happens = what_happens(row) if row else ""
            shown, told = ("the same" if happens and happens == told else happens), happens or told
            table.add_row(
                names[index] if index < len(names) else "",
                whose(row) if row else "",
                amount_and_window(row) if row else "",
                shown,
            )
        table.add_row()
    out.print(table)
    count = len(loaded.files)
    out.print(
        f"{count} {'file is' if count == 1 else 'files are'} right; policy {loaded.hash}", style="green"
    )
    for notice in notices:
        out.print(str(notice), style="yellow", soft_wrap=True)


def _auto(loaded: Policies, department: str | None) -> list[str]:
    """What `model="auto"` stands for in a department."""
    for file in loaded.files:
        policy: Any = file.policy
        if department is not None and getattr(policy, "department", None) == department:
            standard = policy.routing.tiers.standard
            default = policy.routing.default
            preferred = standard.prefer if default == "auto" and standard else default
            return [f"auto: {preferred}"] if preferred != "auto" else []
    return []


def what_happens(row: BudgetRow) -> str:
    """What happens at which share of a budget: `80%: warn, to sonnet; 100%: block; even pace`."""
    steps = {step: ", ".join(_at(row, step)) for step in row.steps}
    said = [f"{step // 100}%: {text}" for step, text in steps.items() if text]  # '' above a stricter one
    said += ["even pace"] if row.paced else []
    said += [f"last {row.keep_bp // 100}% for {', '.join(row.kept_for)}"] if row.keep_bp else []
    return "; ".join(said + (["shadow"] if row.shadow else []))


def _at(row: BudgetRow, step: int) -> Iterator[str]:
    if step in row.warn_steps:
        yield "warn"
    capped = [LINES.index(line) for line, mark in row.caps.items() if mark == step]
    if step in (row.block_bp, FULL_BP):
        yield "block"
    elif capped:
        yield f"to {LINES[min(capped) - 1]}"


def _as_json(loaded: Policies, notices: Iterable[Notice]) -> dict[str, Any]:
    return {
        "organization": loaded.organization,
        "policy": loaded.hash,
        "files": list(loaded.sources),
        "departments": list(loaded.departments),
        "budgets": [_row_json(row) for row in loaded.all_terms()],
        "notices": [problem_json(notice) for notice in notices],
    }


def _row_json(row: BudgetRow) -> dict[str, Any]:
    together = len(row.scopes) > 1  # as a file writes them
    return {
        "department": row.department,
        "per": list(row.scopes) if together else row.scopes[0],
        "name": (dict(row.names) if together else row.names.get(row.scopes[0])) or None,
        "user_tier": row.user_tier,
        "unit": row.unit.value,
        "window": str(row.period),
        "timezone": row.timezone,
        "limit": row.limit,
        "steps_bp": list(row.steps),
        "warn_steps_bp": list(row.warn_steps),
        "caps_bp": dict(row.caps),
        "block_bp": row.block_bp,
        "pace": "even" if row.paced else None,
        "keep_bp": row.keep_bp,
        "for": list(row.kept_for),
        "mode": "shadow" if row.shadow else "enforce",
        "source": row.source,
    }
