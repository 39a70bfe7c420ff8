"""`governor prices check`: is the price file right, and what of it will soon be wrong?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import typer

from governor.cli.context import JSON, PRICES, flag, load_policies, load_prices
from governor.cli.output import FAILURE, console, print_json
from governor.cli.policy import refuse_unpriced
from governor.cli.prices import AT, day_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy import Policies
    from governor.pricing import Model, PriceTable

POLICIES: Any = typer.Option(
    None,
    "--policies",
    envvar="GOVERNOR_POLICIES",
    metavar="PATH",
    help="Also say which lines and budgets of these policies name a model that goes.",
)
STRICT: Any = flag("--strict", help="Exit code 1 if there is a warning.")
WARNING, REMARK = "warning", "remark"
SOON = timedelta(days=60)
"""A retirement this near is warned of, and a price last checked longer ago than this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know about the prices.

    Attributes:
        state: `warning`, or `remark`, which `--strict` lets pass.
        about: A model's id, `fees`, `accepts`, `sdk`, or a place in a policy file.
        text: What to know.
    """

    state: str
    about: str
    text: str


def check(
    at: datetime | None = AT,
    policies: str | None = POLICIES,
    strict: bool = STRICT,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Check the price file, and warn of models that go and of prices not checked for 60 days.

    Problems are printed as file:line:column: message (hint), and the exit code is 3.
    """
    table, day = load_prices(prices), day_of(at)
    found = [*_lifecycles(table, day), *_stale(table, day), *_sdk(table)]
    if policies is not None:
        loaded = load_policies(policies)
        refuse_unpriced(loaded, table, day)
        found += _named(loaded, table, day)
    warned = any(finding.state == WARNING for finding in found)
    if as_json:
        findings = [{"state": f.state, "about": f.about, "text": f.text} for f in found]
        names = {"table": table.version, "source": table.source, "at": day}
        print_json({**names, "models": len(table.models()), "ok": not warned, "findings": findings})
    else:
        _print(table, found)
    if warned and strict:
        raise typer.Exit(FAILURE)


def _print(table: PriceTable, found: list[Finding]) -> None:
    out = console()
    out.print(
        f"{table.source} is right: {len(table.models())} models, table {table.version}",
        style="green",
        soft_wrap=True,
    )
    for finding in found:
        style = "yellow" if finding.state == WARNING else None
        out.print(f"{finding.state:<7}  {finding.about}: {finding.text}", style=style, soft_wrap=True)


def _lifecycles(table: PriceTable, day: date) -> Iterator[Finding]:
    for model in table.models():
        text = going(model, day)
        if text:
            yield Finding(REMARK if model.retired_on(day) else WARNING, model.id, text)
        elif model.retires_not_before is not None and model.retires_not_before - day <= SOON:
            ends = "ends" if model.retires_not_before > day else "ended"
            text = f"the promise not to retire it {ends} on {model.retires_not_before}"
            yield Finding(REMARK, model.id, text)


def going(model: Model, day: date) -> str:
    """Why a model should not be named any more, as of a day; empty where it may be."""
    if model.retired_on(day):
        past = model.retires is not None and model.retires <= day
        return f"it was retired on {model.retires}" if past else "it is retired"
    if model.retires_soon(day, SOON.days) is None and model.lifecycle != "deprecated":
        return ""
    ends = f"retires on {model.retires}" if model.retires else "has no day of retirement yet"
    return f"it is deprecated and {ends}" if model.lifecycle == "deprecated" else f"it {ends}"


def _stale(table: PriceTable, day: date) -> Iterator[Finding]:
    """One warning for all that were last checked on the same day, too long ago."""
    from governor.pricing.compare import at_ms  # noqa: PLC0415 - `--help` need not pay for it

    checked: dict[date, list[str]] = {}
    for model in table.models():
        in_force = [price for price in table.prices(model.id) if price.since <= day]
        if in_force:
            checked.setdefault(in_force[-1].checked, []).append(model.id)
    checked.setdefault(table.fee_at(at_ms(day)).checked, []).append("fees")
    for last, names in sorted(checked.items()):
        if day - last > SOON:
            text = f"last checked on {last}, {(day - last).days} days ago; "
            yield Finding(WARNING, ", ".join(names), text + "`governor prices diff` compares them")
    accepts = {model.accepts_checked for model in table.models() if not model.retired_on(day)}
    for last in sorted(filter(None, accepts)):
        if day - last > SOON:
            text = f"last checked on {last}, {(day - last).days} days ago; "
            yield Finding(WARNING, "accepts", text + "compare it with Anthropic's documentation")


def _sdk(table: PriceTable) -> Iterator[Finding]:
    """What the installed SDK says of models, and the table does not."""
    from importlib.metadata import version  # noqa: PLC0415 - as above

    from anthropic.types import model as listed  # noqa: PLC0415 - half a second

    sdk = f"anthropic {version('anthropic')}"
    for option in get_args(listed.Model):
        for name in get_args(option):
            if not table.knows(name):
                text = f"{sdk} lists it, and it has no price: every request for it is refused"
                yield Finding(WARNING, name, text)
    from governor.clients.private import deprecated_models  # noqa: PLC0415 - needs the SDK

    deprecated = deprecated_models()
    if deprecated is None:
        yield Finding(REMARK, "sdk", f"{sdk} has no list of deprecated models where it is looked for")
        return
    for name, told in deprecated.items():
        if table.knows(name):
            yield from _retirement(table.model(name), name, str(told), sdk)
        else:
            yield Finding(REMARK, name, f"{sdk} has it as deprecated; it has no price")


def _retirement(model: Model, name: str, told: str, sdk: str) -> Iterator[Finding]:
    retires = sdk_day(told)
    if retires is None:
        yield Finding(REMARK, name, f"{sdk} says that it retires on {told!r}, which is no date")
    elif retires != model.retires:
        text = f"{sdk} says that it retires on {retires}; the table says {model.retires or 'nothing'}"
        yield Finding(WARNING, name, text)


def sdk_day(told: str) -> date | None:
    """A day as the SDK writes it, `November 30th, 2026`; `None` for anything else."""
    plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", told)
    try:
        return datetime.strptime(plain, "%B %d, %Y").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _named(loaded: Policies, table: PriceTable, day: date) -> Iterator[Finding]:
    """Lines and budgets of policies that name a model that goes."""
    for file in loaded.files:
        policy: Any = file.policy
        places: list[tuple[tuple[Any, ...], str, str]] = [
            (("budgets", index, *budget.name_path("model")), f"budgets[{index}]", budget.names["model"])
            for index, budget in enumerate(policy.budgets)
            if "model" in budget.names
        ]
        lines = policy.routing.lines if hasattr(policy, "routing") else {}
        places += [
            (("routing", "lines", line), f"routing.lines.{line}", name) for line, name in lines.items()
        ]
        for path, where, name in places:
            text = going(table.model(name), day)
            if text:
                line, column = file.document.place(path)
                yield Finding(WARNING, f"{file.name}:{line}:{column}", f"{where}: {name}: {text}")
