"""`governor demo`: three teams spend a month's budgets in seconds; no key, no server."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, Desk, flag
from governor.cli.output import FAILURE, console, print_json
from governor.ledger import commands as c
from governor.ledger.opening import redact
from governor.money import Money

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor import Governor
    from governor.cli.demo_story import Month
    from governor.story.decision import BudgetView
    from governor.testing import FakeClaude

LEDGER: Any = typer.Option(
    None,
    "--ledger",
    metavar="URL",
    show_default=False,
    help="Run on this ledger, under a new organization's name, and not on a file in a temporary folder.",
)
FAST: Any = flag("--fast", help="Do not spread the calls over some seconds for the eye.")
FRAME_S = 0.1


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where the demo plays: a fake API, a governor in front of it, and a folder with policies."""

    api: FakeClaude
    governor: Governor
    month: Month
    folder: Path
    url: str
    organization: str

    def desk(self) -> Desk:
        """The desk of this moment."""
        return Desk(
            self.governor.policies, self.governor.ledger, redact(self.url), time.time_ns() // 1_000_000
        )


def demo(ledger: str | None = LEDGER, fast: bool = FAST, as_json: bool = JSON) -> None:
    """Watch three teams' budgets fill: who is warned, downgraded and blocked, and why.

    Real SDK calls go over HTTP to a fake Claude API on this host; nothing leaves it and nothing is charged.
    """
    with _stage(ledger, fast=fast) as stage:
        _play(stage, quiet=as_json)
        budgets = _budgets(stage)
        posted, billed = _posted(stage), stage.api.billed_nanos
    failures = [text for tally in stage.month.tallies.values() for text in tally.failures]
    if as_json:
        print_json(_as_json(stage, budgets, posted, billed, failures))
    else:
        _print_summary(stage, budgets, posted, billed, failures)
    if failures or posted != billed:
        raise typer.Exit(FAILURE)


@contextmanager
def _stage(ledger: str | None, *, fast: bool) -> Iterator[_Stage]:
    from governor import Governor  # noqa: PLC0415 - `--help` need not pay for the SDK
    from governor.cli.demo_story import OUTPUT_TOKENS, Month, latency_ms  # noqa: PLC0415 - same
    from governor.testing import FakeClaude, Reply  # noqa: PLC0415 - same

    folder = Path(tempfile.mkdtemp(prefix="governor-demo-"))
    organization = f"demo-{secrets.token_hex(4)}"
    try:
        _write_policies(folder / "policies", organization)
        url = ledger or f"sqlite:///{folder}/governor.db"
        month = Month(fast=fast)
        with FakeClaude() as api:
            api.replies(lambda _: Reply(output_tokens=OUTPUT_TOKENS, delay_ms=latency_ms(fast=fast)))
            governor = Governor.load(
                folder / "policies",
                ledger=url,
                client=api.client(),
                create_ledger=True,
                on_event=month.crossed,
            )
            with governor:
                governor.ledger.execute(c.Create(secrets.token_hex(16)))
                yield _Stage(api, governor, month, folder, url, organization)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_policies(folder: Path, organization: str) -> None:
    folder.mkdir()
    for source in files("governor.cli").joinpath("demo_policies").iterdir():
        text = source.read_text("utf-8").replace("organization: demo\n", f"organization: {organization}\n")
        (folder / source.name).write_text(text, "utf-8")


def _play(stage: _Stage, *, quiet: bool) -> None:
    """Start the calls, and show what happens until the last has ended."""
    month, out = stage.month, console()
    month.start(stage.governor)
    try:
        if quiet:
            while month.running:
                time.sleep(FRAME_S)
        elif out.is_terminal and not out.is_dumb_terminal:
            _play_live(stage)
        else:
            _play_plain(stage)
    finally:
        month.stop()


def _play_live(stage: _Stage) -> None:
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    from governor.cli.demo_screen import frame  # noqa: PLC0415 - same

    month, out = stage.month, console()
    with Live(console=out, auto_refresh=False) as live:
        running = True
        while running:
            running = month.running
            picture = frame(month.elapsed_s, _bars(stage), list(month.events), out.width, last=not running)
            live.update(picture, refresh=True)
            if running:
                time.sleep(FRAME_S)


def _play_plain(stage: _Stage) -> None:
    from governor.cli.demo_screen import plain  # noqa: PLC0415 - `--help` need not pay for it

    month, out, shown = stage.month, console(), 0
    running = True
    while running:
        running = month.running
        events = month.events[shown:]
        plain(out, events)
        shown += len(events)
        if running:
            time.sleep(FRAME_S)


def _bars(stage: _Stage) -> list[tuple[str, str, BudgetView]]:
    from governor.cli.demo_screen import labels  # noqa: PLC0415 - as above

    lines = {name: tally.line for name, tally in stage.month.tallies.items()}
    return [(label, lines.get(label, ""), _view(stage, identity)) for label, identity in labels()]


def _budgets(stage: _Stage) -> dict[str, BudgetView]:
    """Each team's own budget."""
    return {name: _view(stage, f"department={name}/usd/month") for name in stage.month.tallies}


def _view(stage: _Stage, identity: str) -> BudgetView:
    from governor.cli import balances  # noqa: PLC0415 - as above

    desk = stage.desk()
    return balances.view_of(desk, balances.require_term(desk, identity))


def _posted(stage: _Stage) -> int:
    """What the ledger posted to the three teams, nano-dollars; in whichever month."""
    mine = {f"department={name}/usd/month" for name in stage.month.tallies}
    known = stage.governor.ledger.execute(c.ListBalances("/usd/month", past=True))
    return sum(kept.balance.posted for kept in known if kept.identity in mine)


def _next_lines(stage: _Stage) -> list[str]:
    """The two lines to type next; in the demo's folder the policies and the ledger need no option."""
    beside = Path(sys.executable).with_name("governor")
    elsewhere = str(beside) if beside.exists() else f"{sys.executable} -m governor.cli"
    command = "governor" if shutil.which("governor") else elsewhere
    inside = stage.url.startswith("sqlite:") and str(stage.folder) in stage.url
    where = "" if inside else f" --ledger {_from_anywhere(stage.url)}"
    refused = next((t.blocked_id for t in stage.month.tallies.values() if t.blocked_id), "REQUEST_ID")
    return [f"cd {stage.folder} && {command} budget list{where}", f"{command} why {refused}{where}"]


def _from_anywhere(url: str) -> str:
    """*url* as it works in another folder; a password is left for the reader to fill in."""
    path = url.removeprefix("sqlite:///")
    return redact(url) if path == url else f"sqlite:///{Path(path).resolve()}"


def _print_summary(
    stage: _Stage, budgets: dict[str, BudgetView], posted: int, billed: int, failures: list[str]
) -> None:
    from governor.cli.demo_screen import summary  # noqa: PLC0415 - as above

    out = console()
    out.print()
    out.print(summary(stage.month.tallies, budgets))
    out.print()
    for text in failures[:5]:
        out.print(f" failed: {text}", style="red", soft_wrap=True)
    if posted == billed:
        out.print(f" The ledger posted {Money(posted)}; the fake API billed the same.", style="green")
    else:
        text = f" The ledger posted {Money(posted)}, but the fake API billed {Money(billed)}."
        out.print(text, style="bold red")
    out.print()
    out.print(" Next, see what is left of every budget, and why a call was refused:")
    for line in _next_lines(stage):
        out.print(f"   {line}", style="bold", soft_wrap=True)


def _as_json(
    stage: _Stage, budgets: dict[str, BudgetView], posted: int, billed: int, failures: list[str]
) -> dict[str, Any]:
    month = stage.month
    return {
        "organization": stage.organization,
        "ledger": redact(stage.url),
        "folder": str(stage.folder),
        "seconds": round(month.elapsed_s, 1),
        "teams": [
            {
                "team": name,
                "calls": tally.calls,
                "served": dict(tally.lines),
                "warned": tally.warned,
                "downgraded": tally.downgraded,
                "blocked": tally.blocked,
                "spent": budgets[name].posted,
                "limit": budgets[name].limit,
            }
            for name, tally in month.tallies.items()
        ],
        "events": [
            {"at_s": round(event.at_s, 2), "team": event.team, "kind": event.kind, "text": event.text}
            for event in month.events
        ],
        "posted_nanos": posted,
        "billed_nanos": billed,
        "equal": posted == billed,
        "failures": failures,
        "next": _next_lines(stage),
    }
