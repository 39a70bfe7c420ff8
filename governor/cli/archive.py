"""`governor ledger archive`: copy the journal to where it is kept, and trim it behind that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, LEDGER, POLICIES, flag, open_desk
from governor.cli.output import console, print_json, stamp, usage
from governor.cli.progress import progress
from governor.journal.archive import open_archive
from governor.journal.archiving import copy_new, trim
from governor.ledger.opening import redact
from governor.story.decision import instant

if TYPE_CHECKING:
    from governor.journal.archiving import Copied

TO: Any = typer.Argument(
    ..., metavar="ARCHIVE", help="A path or file:///path for JSON lines, or a database's URL (SQLAlchemy)."
)
TRIM: Any = flag("--trim", help="Then remove from the ledger what is in the archive and older than --keep.")
KEEP: Any = typer.Option(
    "7d", "--keep", metavar="7d", help="How much stays, so that `governor why` finds it."
)
GOES_ON = "they are safe; run it again, and it goes on from there"
_AGE = re.compile(r"([0-9]{1,6})([smhd])")
_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def archive(
    to: str = TO,
    trimmed: bool = TRIM,
    keep: str = KEEP,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Copy what is new in the journal to its archive. Run it as often as you can bear to lose."""
    keep_ms = age_ms(keep)
    with open_desk(policies, ledger) as desk:
        kept = open_archive(to, desk.policies.organization)
        try:
            with progress("records archived", GOES_ON) as tell:
                copied = copy_new(desk.ledger, kept, tell)
            gone = 0
            if trimmed:
                before_ms = desk.now_ms - keep_ms
                with progress("records trimmed", GOES_ON) as tell:
                    gone = trim(desk.ledger, kept, copied.epoch, before_ms, lambda done: tell(done, None))
        finally:
            kept.close()
        if as_json:
            print_json(_json(redact(to), desk.where, copied, gone))
        else:
            _say(redact(to), copied, gone if trimmed else None)


def _say(where: str, copied: Copied, gone: int | None) -> None:
    out = console()
    text = f"{where}: {copied.records:,} records added"
    if copied.last is not None:
        text += f", the last one of {stamp(copied.last.at_ms)} UTC"
    out.print(text, style="green", soft_wrap=True)
    if copied.gap:
        text = "the ledger had been trimmed behind another archive: what was trimmed is missing in this one"
        out.print(f"  {text}", style="yellow", soft_wrap=True)
    if gone is not None:
        out.print(f"  {gone:,} records removed from the ledger", soft_wrap=True)


def _json(where: str, ledger: str, copied: Copied, gone: int) -> dict[str, Any]:
    last = copied.last
    return {
        "archive": where,
        "ledger": ledger,
        "epoch": copied.epoch,
        "added": copied.records,
        "gap": copied.gap,
        "trimmed": gone,
        "last": None if last is None else {"seq": last.seq, "at": instant(last.at_ms)},
    }


def age_ms(text: str) -> int:
    """The milliseconds of `--keep 7d`.

    Raises:
        Failure: It is no length of time.
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise usage(f"--keep {text!r} is no length of time: write for example 7d, 12h, 30m or 0s")
    return int(found[1]) * _MS[found[2]]
