"""`governor policy diff`: are new policies tighter than the old ones, looser, or neither?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, PRICES, flag, load_policies, load_prices
from governor.cli.output import FAILURE, console, print_json
from governor.cli.progress import progress
from governor.story.decision import show

if TYPE_CHECKING:
    from governor.policy import Policies
    from governor.rehearsal.compare import Compared
    from governor.rehearsal.differences import Difference, Way
    from governor.rehearsal.examples import Example, Probe

OLD: Any = typer.Argument(..., metavar="OLD", help="The policies before: a folder, or one file.")
NEW: Any = typer.Argument(..., metavar="NEW", help="The policies after.")
EXIT_CODE: Any = flag("--exit-code", help="End with 1 if anything is looser, or cannot be compared.")
AGAIN = "nothing was changed; run it again"

_Found = list[tuple["Compared", list[tuple["Difference", "tuple[Example, ...]"]]]]


def diff(
    old: str = OLD,
    new: str = NEW,
    exit_code: bool = EXIT_CODE,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Say of each department whether new policies are tighter, looser, or neither, with example requests.

    Tighter: no request, at the same balances, is served by a dearer line, or served where it was refused.
    """
    from governor.cli.policy import refuse_ledger, refuse_unpriced  # noqa: PLC0415 - `--help` need not pay for it
    from governor.rehearsal.compare import compare  # noqa: PLC0415 - as above
    from governor.rehearsal.differences import Way, together  # noqa: PLC0415 - as above
    from governor.rehearsal.examples import Examples  # noqa: PLC0415 - as above

    table, now_ms = load_prices(prices), time.time_ns() // 1_000_000
    for path in (old, new):
        refuse_ledger(path)
    before, after = load_policies(old), load_policies(new)
    for policies in (before, after):
        refuse_unpriced(policies, table)
    examples = Examples(before, after, table, now_ms)
    found: _Found = []
    with progress("changes looked at", AGAIN) as tell:
        compared = compare(before, after, table, now_ms)
        total = sum(len(one.differences) for one in compared)
        for one in compared:
            found.append((one, []))
            for difference in one.differences:
                found[-1][1].append((difference, examples.find(one, difference)))
                tell(sum(len(told) for _, told in found), total)
    way = together(one.way for one in compared)
    if as_json:
        print_json(_json(before, after, way, found))
    else:
        _say(before, after, way, found)
    if exit_code and way in (Way.LOOSER, Way.NEITHER):
        raise typer.Exit(FAILURE)


def _say(before: Policies, after: Policies, way: Way, found: _Found) -> None:
    out, styles = console(), {"tighter": "green", "same": "green", "looser": "red", "neither": "yellow"}
    out.print(
        f"{_headline(way)}: policy {before.hash} → {after.hash}", style=styles[way.value], soft_wrap=True
    )
    for compared, told in found:
        out.print(f"{compared.department}: {compared.way}", style=styles[compared.way.value], soft_wrap=True)
        for difference, examples in told:
            out.print(f"  {difference.way}: {difference.what}", soft_wrap=True)
            for example in examples:
                out.print(f"    for example {_request(example.probe)}", soft_wrap=True)
                out.print(f"      before: {example.old.told}", soft_wrap=True)
                out.print(f"      after:  {example.new.told}", soft_wrap=True)
            if not examples:
                out.print("    no request was found that it changes", style="dim", soft_wrap=True)


def _headline(way: Way) -> str:
    return {
        "same": "the same: every request is treated as before",
        "tighter": "tighter: no request is treated more loosely than before",
        "looser": "looser: no request is treated more tightly than before",
        "neither": "neither tighter nor looser: it goes both ways, or cannot be compared",
    }[way.value]


def _request(probe: Probe) -> str:
    who = probe.who
    parts = [who.user, *([f"feature {who.feature}"] if who.feature else [])]
    parts += [f"{name}={value}" for name, value in who.tags]
    parts += [f"pinned {probe.asked}" if probe.pin else probe.asked]
    parts += [f"{probe.input_tokens:,} + {probe.max_tokens:,} tokens"]
    parts += [] if probe.tier is None else [f"tier {probe.tier}"]
    parts += [] if probe.complexity is None else [f"complexity {probe.complexity:g}"]
    parts += [f"load {probe.load_bp / 100:g} %"] if probe.load_bp else []
    parts += ["deferrable"] if probe.deferrable else []
    for identity, (spent, held) in probe.spent.items():
        parts.append(f"{identity} at {_amount(identity, spent)} spent, {_amount(identity, held)} held")
    return ", ".join(parts)


def _amount(identity: str, amount: int) -> str:
    from governor.budgets import unit_of  # noqa: PLC0415 - as above

    return show(unit_of(identity), amount)


def _json(before: Policies, after: Policies, way: Way, found: _Found) -> dict[str, Any]:
    return {
        "old": before.hash,
        "new": after.hash,
        "way": way.value,
        "departments": {
            compared.department: {
                "way": compared.way.value,
                "differences": [
                    {
                        "what": difference.what,
                        "way": difference.way.value,
                        "examples": [_example_json(example) for example in examples],
                    }
                    for difference, examples in told
                ],
            }
            for compared, told in found
        },
    }


def _example_json(example: Example) -> dict[str, Any]:
    probe = example.probe
    return {
        "way": example.way.value,
        "user": probe.who.user,
        "feature": probe.who.feature,
        "run": probe.who.run,
        "tags": dict(probe.who.tags),
        "model": probe.asked,
        "pin": probe.pin,
        "input_tokens": probe.input_tokens,
        "max_tokens": probe.max_tokens,
        "tier": probe.tier,
        "complexity": probe.complexity,
        "load": probe.load_bp / 10_000,
        "deferrable": probe.deferrable,
        "balances": [
            {"identity": identity, "posted": spent, "held": held}
            for identity, (spent, held) in probe.spent.items()
        ],
        "before": example.old.told,
        "after": example.new.told,
    }
