"""`governor prices diff` and `update`: the prices in use against those of the installed `genai-prices`."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, PRICES, flag, load_prices
from governor.cli.output import FAILURE, Failure, console, note, print_json, print_rows, usage
from governor.cli.prices import AT, day_of
from governor.data import data_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from governor.pricing.compare import Comparison, Difference
    from governor.pricing.update import Plan

FROM: Any = typer.Option(
    None,
    "--from",
    formats=["%Y-%m-%d"],
    metavar="DATE",
    help="The day from which the new entries hold, UTC; else today.",
)
DRY_RUN: Any = flag("--dry-run", help="Print what would be appended, and write nothing.")
_SHIPPED = "pricing/anthropic.yaml"
_ASK = "give --prices PATH (or GOVERNOR_PRICES): your own file, which is made if it does not exist"


def diff(at: datetime | None = AT, prices: str | None = PRICES, as_json: bool = JSON) -> None:
    """Compare prices with the installed genai-prices, before any discount.

    Known disagreements and prices agreed in your own file are shown with their reasons and are not counted.
    Exit code 1 if there is another.
    """
    from governor.pricing.compare import compare  # noqa: PLC0415 - `--help` need not pay for it

    found = compare(load_prices(prices), _their_models(), day_of(at))
    if as_json:
        print_json(_comparison_json(found))
    else:
        _print_comparison(found)
    if found.unknown or found.unread:
        raise typer.Exit(FAILURE)


def update(
    since: datetime | None = FROM,
    dry_run: bool = DRY_RUN,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Append dated entries to a price file for every difference that `diff` counts.

    What stands in the file stays. Exit code 1 if a difference cannot be appended; the others are.
    """
    from governor.pricing import PriceTable  # noqa: PLC0415 - as above
    from governor.pricing.append import EMPTY  # noqa: PLC0415 - as above
    from governor.pricing.update import Update  # noqa: PLC0415 - as above

    path, today = _target(prices), datetime.now(UTC).date()
    models = _their_models()
    exists = path.exists()
    table = PriceTable.load(path if exists else None)
    text = path.read_bytes().decode("utf-8") if exists else EMPTY
    start = today if since is None else since.date()
    plan = Update(table, models, start, _their_name(), today, own=_extends(text)).plan()
    if plan.additions and not dry_run:
        with _writing(path):
            _append(path, text if exists else None, text, plan)
    if as_json:
        print_json(_plan_json(path, plan, dry_run=dry_run))
    else:
        _print_plan(path, plan, dry_run=dry_run)
    if plan.refused:
        raise typer.Exit(FAILURE)


def _target(prices: str | None) -> Path:
    """The file to append to; never one that an installed package carries, which the next install replaces."""
    shipped = data_file(_SHIPPED)
    path = Path(prices) if prices is not None else Path(str(shipped))
    installed = Path(str(shipped)).parent.parent.name == "_data"
    if installed and path.resolve() == Path(str(shipped)).resolve():
        raise usage(f"{path} belongs to the installed package, and its next release replaces it: {_ASK}")
    return path


def _append(path: Path, before: str | None, text: str, plan: Plan) -> None:
    from governor.pricing.append import NotAppended, appended, write_whole  # noqa: PLC0415 - as above

    try:
        write_whole(path, before, appended(text, plan.additions))
    except NotAppended as error:
        raise Failure(f"{path}: nothing was appended: {error}") from None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(f"{path}: cannot be written: {error.strerror or error}") from None


def _extends(text: str) -> bool:
    from ruamel.yaml import YAML  # noqa: PLC0415 - as above

    return "extends" in YAML(typ="safe").load(text)


def _their_models() -> Sequence[Any]:
    from governor.pricing.compare import their_models  # noqa: PLC0415 - as above

    try:
        return their_models()
    except ImportError:
        raise Failure(
            "this compares with genai-prices, which is not installed: pip install 'claude-governor[prices]'"
        ) from None


def _their_name() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - as above

    return f"genai-prices {version('genai-prices')}"


def _print_comparison(found: Comparison) -> None:
    out = console()
    count, known = len(found.unknown), len(found.differences) - len(found.unknown)
    if found.unknown:
        print_rows(("model", "price", "ours", "theirs"), [_cells(one) for one in found.unknown], left=2)
    for model_id, form in found.unread:
        out.print(f"{model_id}: not comparable: {form}", style="yellow", soft_wrap=True)
    if known:
        out.print(f"known disagreements ({known}), not counted:")
        for text in _known(found):
            out.print(f"  {text}", soft_wrap=True)
    for names, whose in ((found.only_ours, "only here"), (found.only_theirs, "only in genai-prices")):
        if names:
            out.print(f"{whose}: {', '.join(names)}", soft_wrap=True)
    differ = f"{count} {'difference' if count == 1 else 'differences'}"
    summary = f"{found.compared} prices of {found.day} compared with {_their_name()}: {differ}"
    out.print(summary, style="yellow" if count else "green", soft_wrap=True)


def _known(found: Comparison) -> Iterator[str]:
    """Known disagreements, one line for each model and way."""
    said: dict[tuple[str, str, str], list[Difference]] = {}
    for one in found.differences:
        if one.reason:
            said.setdefault((one.model, one.unit.way, one.reason), []).append(one)
    for (model_id, way, reason), those in said.items():
        if any(one.ours is not None and one.theirs is not None for one in those):
            prices = (f"{one.unit} {_dollars(one.ours)} (theirs {_dollars(one.theirs)})" for one in those)
            yield f"{model_id}: {', '.join(prices)}: {reason}"
        else:
            lacking = "not here" if those[0].ours is None else "not in genai-prices"
            yield f"{model_id}: {way or 'some prices'} {lacking}: {reason}"


def _cells(one: Difference) -> tuple[str, str, str, str]:
    return one.model, str(one.unit), _dollars(one.ours), _dollars(one.theirs)


def _dollars(value: Fraction | None) -> str:
    from governor.pricing.compare import decimal_text  # noqa: PLC0415 - as above

    return "-" if value is None else decimal_text(value)


def _comparison_json(found: Comparison) -> dict[str, Any]:
    return {
        "at": found.day,
        "with": _their_name(),
        "compared": found.compared,
        "differences": [_difference_json(one) for one in found.unknown],
        "known": [{**_difference_json(one), "reason": one.reason} for one in found.differences if one.reason],
        "not_comparable": [{"model": model_id, "reason": form} for model_id, form in found.unread],
        "only_ours": list(found.only_ours),
        "only_theirs": list(found.only_theirs),
    }


def _difference_json(one: Difference) -> dict[str, Any]:
    values = {"ours": one.ours, "theirs": one.theirs}
    told = {name: None if value is None else _dollars(value) for name, value in values.items()}
    return {"model": one.model, "price": str(one.unit), **told}


def _print_plan(path: Path, plan: Plan, *, dry_run: bool) -> None:
    from governor.pricing.append import block  # noqa: PLC0415 - as above

    out = console()
    for model_id, entries in {**plan.additions.prices, "fees": plan.additions.fees}.items():
        if entries:
            out.print(f"{model_id}:", style="bold", soft_wrap=True)
            out.print(block(entries, 2), end="", soft_wrap=True)
    for name, reason in plan.refused:
        note(f"{name}: not appended: {reason}")
    if plan.comparison.only_theirs:
        names = ", ".join(plan.comparison.only_theirs)
        note(
            f"only in genai-prices, which does not say all that a model needs: {names}\n"
            "to price one, write it under `models` with its line, names, context, max_output, tokenizer, "
            "lifecycle and prices"
        )
    if not plan.additions:
        alike = f"nothing to do: no price differs from {_their_name()}"
        out.print("nothing was appended" if plan.refused else alike, soft_wrap=True)
        return
    count = sum(map(len, plan.additions.prices.values())) + len(plan.additions.fees)
    done = "would be appended" if dry_run else "appended"
    out.print(
        f"{count} {'entry' if count == 1 else 'entries'} {done} to {path}", style="green", soft_wrap=True
    )


def _plan_json(path: Path, plan: Plan, *, dry_run: bool) -> dict[str, Any]:
    return {
        "file": str(path),
        "written": bool(plan.additions) and not dry_run,
        "prices": plan.additions.prices,
        "fees": plan.additions.fees,
        "refused": [{"name": name, "reason": reason} for name, reason in plan.refused],
        "only_theirs": list(plan.comparison.only_theirs),
    }
