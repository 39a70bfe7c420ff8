"""`governor alerts channels` and `deliveries`: where alerts are told, and what is still to be told."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.alerts import rules_in_force
from governor.cli.alerts_run import RULES, database
from governor.cli.books import ARCHIVE
from governor.cli.context import JSON, LEDGER, POLICIES, flag, load_policies
from governor.cli.output import FAILURE, Failure, console, print_json, print_rows, stamp, usage
from governor.cli.typed import harmless
from governor.ledger.opening import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.journal.alerts.outbox import Delivery
    from governor.journal.alerts.rule import Channel, Rules
    from governor.journal.archive_sql import SqlArchive

TEST: Any = typer.Option(
    None, "--test", metavar="NAME", help="Send a test message to this channel now.", show_default=False
)
DEAD_ONLY: Any = flag("--dead", help="Only those that were given up.")
EVERY: Any = flag("--all", help="Those that were sent too.")
RETRY: Any = typer.Option(
    None,
    "--retry",
    metavar="KEY",
    help="Send what was given up of this alert again; `all`: of every one.",
    show_default=False,
)


def channels(
    test: str | None = TEST, rules: str | None = RULES, policies: str = POLICIES, as_json: bool = JSON
) -> None:
    """List the channels of the rules, and whether their secrets are set here; or send one a test message."""
    in_force = rules_in_force(rules, policies)
    if test is not None:
        _test(in_force, test, load_policies(policies).organization, as_json=as_json)
        return
    found = [_channel(one, in_force) for one in in_force.channels.values()]
    if as_json:
        print_json({"rules": in_force.source, "channels": found})
        return
    if not found:
        source = in_force.source
        console().print(f"no channels ({source}): docs/alert-channels.md says how to add one", soft_wrap=True)
        return
    titles = ("channel", "kind", "variables", "rules")
    rows = [
        (
            one["name"],
            one["kind"],
            ", ".join(f"{name}{'' if is_set else ' (not set)'}" for name, is_set in one["variables"].items()),
            str(len(one["rules"])),
        )
        for one in found
    ]
    print_rows(titles, rows, left=3)


def deliveries(
    dead: bool = DEAD_ONLY,
    every: bool = EVERY,
    retry: str | None = RETRY,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    as_json: bool = JSON,
) -> None:
    """Show which alerts have still to be told to whom, and which were given up; let those be sent again."""
    from governor.journal.alerts.outbox import DEAD, STATES, WAITING, Outbox  # noqa: PLC0415 - an extra
    from governor.journal.archive import open_archive  # noqa: PLC0415 - `--help` need not pay for it

    where, organization = database(archive, ledger), load_policies(policies).organization
    box = Outbox(organization)
    states = (DEAD,) if dead else STATES if every else (WAITING, DEAD)
    with closing(open_archive(where, organization)) as books:
        if retry is not None:
            count = _retry(books, box, retry)
            if as_json:
                print_json({"archive": redact(where), "waiting_again": count})
            else:
                console().print(f"{count} wait again: the worker sends them", style="green", soft_wrap=True)
            return
        rows = list(_listed(books, box, states))
    if as_json:
        print_json({"archive": redact(where), "deliveries": [_json(one) for one in rows]})
        return
    if not rows:
        console().print("nothing waits" if not dead else "nothing was given up", soft_wrap=True)
        return
    titles = ("alert", "event", "channel", "state", "error", "tries", "next or done (UTC)")
    cells = [
        (
            harmless(one.key),
            one.event,
            harmless(one.channel),
            one.state,
            harmless(one.error),
            str(one.tries),
            stamp(one.next_ms)[:19],
        )
        for one in rows
    ]
    print_rows(titles, cells, left=5)


def _listed(books: Any, box: Any, states: tuple[str, ...]) -> Iterator[Delivery]:
    """The deliveries, or none where there is no database yet."""
    if books.last() is None:
        return
    with books.engine.begin() as connection:
        yield from box.listed(connection, *states)


def _retry(books: SqlArchive | Any, box: Any, key: str) -> int:
    count = 0
    if books.last() is not None:
        with books.engine.begin() as connection:
            now_ms = time.time_ns() // 1_000_000
            count = box.retry(connection, now_ms, None if key == "all" else key)
    if not count:
        raise Failure(
            f"nothing that was given up has the key {key!r}: see `governor alerts deliveries --dead`"
        )
    return count


def _test(rules: Rules, name: str, organization: str, *, as_json: bool) -> None:
    from governor.journal.alerts.channels import open_channel  # noqa: PLC0415 - an extra
    from governor.journal.alerts.message import trial  # noqa: PLC0415 - as above

    spec = rules.channels.get(name)
    if spec is None:
        names = ", ".join(rules.channels) or "none"
        raise usage(f"{rules.source} has no channel {name!r}: it has {names}")
    told = open_channel(spec).send(trial(organization, name, time.time_ns() // 1_000_000))
    if as_json:
        print_json({"channel": name, "ok": not told.error, "error": told.error or None})
    elif told.error:
        raise Failure(f"{name}: {told.error}")
    else:
        console().print(f"{name}: the test message was taken", style="green", soft_wrap=True)
    if told.error:
        raise typer.Exit(FAILURE)


def _channel(one: Channel, rules: Rules) -> dict[str, Any]:
    from governor.journal.alerts.channels import unset, variables  # noqa: PLC0415 - as above

    missing = unset(one)
    return {
        "name": one.name,
        "kind": "apprise" if one.apprise_env else "webhook",
        "variables": {name: name not in missing for name in variables(one)},
        "rules": [rule.name for rule in rules.rules if one.name in rule.channels],
    }


def _json(one: Delivery) -> dict[str, Any]:
    names = ("key", "event", "channel", "state", "tries", "next_ms", "error")
    return {**{name: getattr(one, name) for name in names}, "alert": json.loads(one.body)["data"]}
