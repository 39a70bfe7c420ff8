"""`governor doctor`: is everything in place, and if not, what to do?"""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, date, datetime
from pathlib import Path  # noqa: TC003 - typer reads the command's annotations
from typing import TYPE_CHECKING, Any

import typer

from governor.cli import doctor_alerts, doctor_usage, journal_check, pushed
from governor.cli.context import JSON, LEDGER, POLICIES, PRICES, load_policies, load_prices
from governor.cli.findings import NOTE, OK, WRONG, Finding
from governor.cli.output import FAILURE, console, print_json, print_rows
from governor.errors import GovernorError
from governor.ledger import commands as c
from governor.ledger.opening import open_ledger, redact
from governor.ledger.recovery import REBUILDING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.ledger import Ledger
    from governor.policy import Policies
    from governor.pricing import PriceTable

_SIGNS = {OK: ("✓", "green"), NOTE: ("!", "yellow"), WRONG: ("✗", "red")}

CLOCK_OFFSET_MS = 1000
"""A larger difference to the ledger's clock is worth a note; the ledger's is the one that counts."""


ARCHIVE: Any = typer.Option(
    None,
    "--archive",
    envvar="GOVERNOR_ARCHIVE",
    metavar="ARCHIVE",
    help="The journal's archive: a path, or a database's URL.",
    show_default=False,
)


def doctor(
    policies: str = POLICIES,
    ledger: str = LEDGER,
    prices: str | None = PRICES,
    archive: str | None = ARCHIVE,
    days: int = doctor_usage.DAYS,
    admin_key_file: Path | None = doctor_usage.ADMIN_KEY_FILE,
    admin_url: str = doctor_usage.ADMIN_URL,
    workspaces: list[str] = doctor_usage.WORKSPACES,
    as_json: bool = JSON,
) -> None:
    """Check versions, key, policies, prices and the ledger. Exit code 1 if anything is wrong.

    With an admin key in ANTHROPIC_ADMIN_KEY or --admin-key-file, also whether Anthropic's figures of the last
    days show spend that the ledger does not have.
    """
    found = list(_examine(policies, ledger, prices, archive))
    books = doctor_usage.Place(policies, ledger, prices, archive)
    spend = doctor_usage.look(books, days, admin_key_file, admin_url, workspaces)
    found += spend.findings
    wrong = any(finding.state == WRONG for finding in found)
    if as_json:
        names = ("state", "about", "text", "advice")
        findings = [{name: getattr(finding, name) for name in names} for finding in found]
        print_json({"ok": not wrong, "findings": findings, "usage": spend.data})
    else:
        out = console()
        for finding in found:
            sign, colour = _SIGNS[finding.state]
            out.print(f"{sign} {finding.about:<9} {finding.text}", style=colour, soft_wrap=True)
            if finding.advice:
                out.print(f"            → {finding.advice}", soft_wrap=True)
        for titles, rows, left in spend.tables:
            out.print()
            print_rows(titles, rows, left=left)
    if wrong:
        raise typer.Exit(FAILURE)


def _examine(policies: str, ledger: str, price_file: str | None, archive: str | None) -> Iterator[Finding]:
    yield from _versions()
    yield _key()
    prices: PriceTable | None = None
    loaded: Policies | None = None
    try:
        prices = load_prices(price_file)
        yield Finding(OK, "prices", f"{len(prices.models())} models, table {prices.version}")
    except GovernorError as error:
        yield Finding(WRONG, "prices", str(error), "correct the file, or --prices (GOVERNOR_PRICES)")
    try:
        loaded = load_policies(policies)
    except GovernorError as error:
        yield Finding(WRONG, "policies", str(error), "correct the files, or --policies (GOVERNOR_POLICIES)")
    if loaded is not None:
        yield from _policies(loaded)
    if loaded is not None and prices is not None:
        yield from _models(loaded, prices, datetime.now(UTC).date())
    if loaded is None:
        yield Finding(NOTE, "ledger", "not looked at: its organization is in the policies")
        return
    yield from _spool(loaded)
    yield from doctor_alerts.alerts(archive, ledger, loaded.organization)
    try:
        yield from _ledger(ledger, loaded, archive)
    except GovernorError as error:
        yield Finding(WRONG, "ledger", str(error))


def _versions() -> Iterator[Finding]:
    from importlib.metadata import version  # noqa: PLC0415 - only needed here

    yield Finding(OK, "python", platform.python_version())
    packages = [f"{name} {version(name)}" for name in ("claude-governor", "anthropic", "redis")]
    yield Finding(OK, "packages", ", ".join(packages))


def _key() -> Finding:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        if os.environ.get(name):
            return Finding(OK, "key", f"{name} is set")
    import anthropic  # noqa: PLC0415 - half a second, and only needed without a key

    try:
        with anthropic.Anthropic() as client:
            if client.credentials is not None:
                return Finding(OK, "key", "the SDK finds credentials of its own")
    except (anthropic.AnthropicError, OSError, ValueError) as error:
        text = f"the SDK cannot read its credentials: {error}"
        return Finding(WRONG, "key", text, "correct them, or set ANTHROPIC_API_KEY")
    advice = "set ANTHROPIC_API_KEY; or your application gives Governor.load a client that has a key"
    return Finding(WRONG, "key", "there is no API key in this environment", advice)


def _policies(loaded: Policies) -> Iterator[Finding]:
    names = ", ".join(loaded.departments) or "no department"
    yield Finding(OK, "policies", f"{loaded.organization}: {names}; policy {loaded.hash}")
    count = len(loaded.not_in_force)
    if count:
        text = f"{count} {'setting is' if count == 1 else 'settings are'} not in force yet"
        yield Finding(NOTE, "policies", text, "`governor policy check` names them")


def _spool(loaded: Policies) -> Iterator[Finding]:
    """What processes have written down that a ledger has still to be told."""
    from governor.journal.spool import spool_folder, survey  # noqa: PLC0415 - only needed here

    try:
        folder = spool_folder(None)
        files = survey(folder, loaded.organization)
    except (OSError, RuntimeError) as error:
        yield Finding(WRONG, "spool", f"it cannot be read: {error}", "correct GOVERNOR_SPOOL, or its folder")
        return
    if any(getattr(file.policy, "if_ledger_is_down", "refuse") != "refuse" for file in loaded.files):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        if not place.is_dir() or not os.access(place, os.W_OK):
            text = f"{folder} cannot be written: no call can go without its ledger"
            yield Finding(WRONG, "spool", text, "let this user write it, or name another in GOVERNOR_SPOOL")
    for file in files:
        if file.torn:
            advice = "compare its lines with the API's bill, and remove it"
            yield Finding(WRONG, "spool", f"{file.path} has {file.torn} lines that cannot be read", advice)
        if file.owed:
            whose = "a process that runs" if file.alive else "a process that ended"
            text = f"{file.path}: {whose} has {file.owed} ends of calls or leases to tell to {file.ledger}"
            again = "the next process of this host that loads these policies with that ledger tells it"
            yield Finding(NOTE, "spool", text, "" if file.alive else again)


def _models(loaded: Policies, prices: PriceTable, today: date) -> Iterator[Finding]:
    known = prices.knows
    named: dict[str, str] = {}
    for file in loaded.files:
        policy: Any = file.policy
        if hasattr(policy, "routing"):
            named.update(dict.fromkeys(policy.routing.lines.values(), file.name))
    fine = True
    for model, file_name in sorted(named.items()):
        finding = _model(model, file_name, prices, today) if known(model) else _unpriced(model, file_name)
        if finding is not None:
            fine = False
            yield finding
    if fine:
        yield Finding(OK, "models", f"{', '.join(sorted(named))}: priced")


def _unpriced(model: str, file_name: str) -> Finding:
    advice = f"correct it in {file_name}, or add it to the price table"
    return Finding(WRONG, "models", f"{model} has no price: every request for it is refused", advice)


def _model(model: str, file_name: str, prices: PriceTable, today: date) -> Finding | None:
    found = prices.model(model)
    advice = f"name its successor in {file_name}"
    if found.retired_on(today):
        when = f" on {found.retires}" if found.retires else ""
        return Finding(WRONG, "models", f"{model} retired{when}", advice)
    retires = found.retires_soon(today)
    return Finding(NOTE, "models", f"{model} retires on {retires}", advice) if retires else None


def _ledger(url: str, loaded: Policies, archive: str | None) -> Iterator[Finding]:
    organization = loaded.organization
    store = open_ledger(url, organization)
    try:
        asked_ms = time.time_ns() // 1_000_000
        status = store.execute(c.Inspect())
        here_ms = (asked_ms + time.time_ns() // 1_000_000) // 2
        if not status.created:
            yield from journal_check.no_ledger(redact(url), status, organization, archive)
            return
        if status.schema == REBUILDING:
            advice = "wait until `governor ledger rebuild` has ended; if it was interrupted, run it again"
            yield Finding(WRONG, "ledger", f"{redact(url)} is being rebuilt", advice)
            return
        # The first command that is no look at the store refuses a server that evicts, or is too old.
        overdue = sum(hold.expires_ms <= status.now_ms for hold in store.execute(c.ListHolds()))
        yield Finding(OK, "ledger", f"{redact(url)}: {status.server}, schema {status.schema}")
        yield _clock(status.now_ms - here_ms)
        yield _holds(overdue, store)
        yield from pushed.findings(store, loaded)
        yield from journal_check.journal(store, status.now_ms, organization, archive)
    finally:
        store.close()


def _clock(offset_ms: int) -> Finding:
    text = f"the ledger's is {offset_ms:+,} ms from this host's"
    if abs(offset_ms) <= CLOCK_OFFSET_MS:
        return Finding(OK, "clock", text)
    return Finding(NOTE, "clock", text, "windows follow the ledger's; run NTP on both hosts")


def _holds(overdue: int, store: Ledger) -> Finding:
    count = len(store.execute(c.ListHolds()))
    if not overdue:
        return Finding(OK, "holds", f"{count} open, none overdue")
    return Finding(NOTE, "holds", f"{overdue} of {count} open holds are overdue", "`governor holds reap`")
