"""`governor archive status`, `prune` and `forget`: how an archive stands, and how long it keeps what."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.archive_run import ARCHIVE, DRY_RUN, database, open_database, up_to_date
from governor.cli.context import JSON, LEDGER, POLICIES, load_policies, open_desk
from governor.cli.output import console, print_json, print_rows, stamp, usage
from governor.cli.progress import progress
from governor.ledger.opening import redact
from governor.story.decision import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.journal.retention import Cuts, Keep, Pruned
    from governor.journal.standing import Standing
    from governor.ledger.following import Follower

KEEP: Any = typer.Option(
    "",
    "--keep",
    envvar="GOVERNOR_RETENTION",
    metavar="CLASS=AGE,…",
    help="How long, where it is not as usual: audit=7y,attribution=3y,performance=2y,content=90d.",
    show_default=False,
)
NAME: Any = typer.Argument(..., metavar="NAME", help="As `governor archive status` and `doctor` name it.")


def status(
    archive: str | None = ARCHIVE, policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON
) -> None:
    """Show how an archive stands: how far it is behind the ledger, who works on it, what was pruned."""
    from governor.journal.standing import look  # noqa: PLC0415 - needs an extra
    from governor.ledger.following import ListFollowers  # noqa: PLC0415 - `--help` need not pay for it

    where = database(archive, ledger)
    with (
        open_desk(policies, ledger) as desk,
        closing(open_database(where, desk.policies.organization)) as kept,
    ):
        stands = look(kept)
        followers = desk.ledger.execute(ListFollowers())
        if as_json:
            print_json(_status_json(redact(where), desk.now_ms, stands, followers))
            return
        out = console()
        for line in _status_lines(redact(where), stands):
            out.print(line, soft_wrap=True)
        if followers:
            rows = [_follower_row(one, stands, desk.now_ms) for one in followers]
            out.print()
            print_rows(("Follows", "Behind", "Oldest of these", "Age"), rows)


def prune(
    archive: str | None = ARCHIVE,
    keep: str = KEEP,
    dry_run: bool = DRY_RUN,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Let go of what is older than it is to be kept; the chain of what stays still holds.

    Records go whole after `audit`; before that, of calls: who (`attribution`), how they went (`performance`);
    of records and calls, what was found in the content (`content`).
    """
    from governor.journal import retention  # noqa: PLC0415 - needs an extra
    from governor.journal.lease import database_now_ms  # noqa: PLC0415 - as above

    try:
        kept_for = retention.Keep.read(keep)
    except retention.RetentionError as error:
        raise usage(str(error)) from None
    where, organization = database(archive, ledger), load_policies(policies).organization
    with closing(open_database(where, organization)) as kept:
        if not dry_run:
            up_to_date(kept)
        with kept.reading() as connection:
            now_ms = 0 if connection is None else database_now_ms(connection)
        cuts = kept_for.at(now_ms)
        if dry_run:
            gone = retention.count(kept, cuts)
        else:
            with progress("records pruned", "what went is gone; run it again, and it goes on") as tell:
                gone = retention.prune(kept, cuts, tell)
    if as_json:
        told = {name: instant(ms) for name, ms in asdict(cuts).items()} if now_ms else None
        print_json({"archive": redact(where), "dry_run": dry_run, "before": told, **asdict(gone)})
    else:
        _say_pruned(kept_for, cuts, gone, dry_run=dry_run)


def forget(name: str = NAME, policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON) -> None:
    """Keep nothing in the ledger any more for an archive that is out of use."""
    from governor.ledger.following import ListFollowers, Unfollow  # noqa: PLC0415 - as in `status`

    with open_desk(policies, ledger) as desk:
        if not desk.ledger.execute(Unfollow(name)):
            known = ", ".join(one.name for one in desk.ledger.execute(ListFollowers())) or "none"
            raise usage(f"no archive {name!r} follows this ledger; those that do: {known}")
    if as_json:
        print_json({"forgotten": name})
    else:
        console().print(f"nothing is kept for {name} any more", soft_wrap=True)


def behind(one: Follower, now_ms: int) -> tuple[str, timedelta | None]:
    """How many records an archive lacks, in words, and how long the oldest of them has waited."""
    age = None if one.oldest_ms is None else timedelta(seconds=max(0, now_ms - one.oldest_ms) // 1000)
    return ("some" if one.lag is None else f"{one.lag:,}"), age


def _status_lines(where: str, stands: Standing) -> Sequence[str]:
    lines = [f"{where}: schema {stands.schema}"]
    if stands.last is None:
        return [f"{lines[0]}; no record yet"]
    lines.append(f"  {stands.records:,} records of {stands.calls:,} calls, to {stamp(stands.last.at_ms)} UTC")
    if stands.lease_ms:
        lines.append(f"  {stands.worker} works on it, as {stands.name!r}")
    elif stands.name:
        lines.append(f"  nobody works on it now; {stands.worker} did last, as {stands.name!r}")
    else:
        lines.append("  nobody follows with it: `governor archive run`, or it is brought up to date by hand")
    gone = [f"{one.name} {stamp(cut)[:10]}" for one in fields(stands.cuts) if (cut := _cut(stands, one.name))]
    if gone:
        lines.append(f"  pruned before: {', '.join(gone)}")
    if stands.dead:
        lines.append(f"  {stands.dead:,} alerts could not be delivered and are not tried any more")
    return lines


def _cut(stands: Standing, name: str) -> int:
    cut: int = getattr(stands.cuts, name)
    return cut


def _follower_row(one: Follower, stands: Standing, now_ms: int) -> tuple[str, ...]:
    count, age = behind(one, now_ms)
    name = f"{one.name} (this one)" if one.name == stands.name else one.name
    return name, count, "" if one.oldest_ms is None else f"{stamp(one.oldest_ms)} UTC", str(age or "")


def _status_json(where: str, now_ms: int, stands: Standing, followers: Sequence[Follower]) -> dict[str, Any]:
    last = stands.last
    return {
        "archive": where,
        "schema": stands.schema,
        "records": stands.records,
        "calls": stands.calls,
        "last": None if last is None else {"epoch": last.epoch, "seq": last.seq, "at": instant(last.at_ms)},
        "name": stands.name or None,
        "worker": stands.worker or None,
        "acts": stands.lease_ms > 0,
        "undelivered_alerts": stands.dead,
        "pruned_before": {name: instant(ms) for name, ms in asdict(stands.cuts).items() if ms},
        "followers": [{**asdict(one), "age_ms": _age_ms(one, now_ms)} for one in followers],
    }


def _age_ms(one: Follower, now_ms: int) -> int | None:
    return None if one.oldest_ms is None else max(0, now_ms - one.oldest_ms)


def _say_pruned(kept_for: Keep, cuts: Cuts, gone: Pruned, *, dry_run: bool) -> None:
    verb = "would go" if dry_run else "gone"
    days = {one.name: getattr(kept_for, one.name) // 86_400_000 for one in fields(kept_for)}
    rows = [
        (name, f"{days[name]:,} days", stamp(max(0, getattr(cuts, name)))[:10], what)
        for name, what in (
            ("audit", f"{gone.records:,} records, {gone.calls:,} calls"),
            (
                "attribution",
                f"who, of {gone.attribution:,} calls; {gone.results:,} results, {gone.alerts:,} alerts",
            ),
            ("performance", f"how it went, of {gone.performance:,} calls"),
            ("content", f"findings, of {gone.content:,} calls"),
        )
    ]
    print_rows(("Class", "Kept", "Before", verb.capitalize()), rows, left=4)
