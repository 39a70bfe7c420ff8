"""`governor alerts run`: evaluate the rules over the journal, and tell what they raise."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.alerts import rules_in_force
from governor.cli.books import ARCHIVE, archive_url, open_books
from governor.cli.context import JSON, LEDGER, POLICIES, flag, load_policies, open_desk
from governor.cli.output import FAILURE, note, print_json, usage
from governor.ledger.opening import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.cli.context import Desk
    from governor.journal.alerts.alert import Action, Alert
    from governor.journal.alerts.outbox import Backlog
    from governor.journal.alerts.rule import Rules
    from governor.journal.alerts.worker import AlertWorker
    from governor.journal.archive_sql import SqlArchive

ONCE: Any = flag("--once", help="Evaluate up to now, send what is due once, and end; for a timer.")
RULES: Any = typer.Option(
    None,
    "--rules",
    metavar="FILE",
    help="The rules. Else alerts.yaml beside the policies, else those that ship.",
    show_default=False,
)
WAIT_S = 1.0
"""How often a worker looks what is to be done."""

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def run(
    once: bool = ONCE,
    rules: str | None = RULES,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    as_json: bool = JSON,
) -> None:
    """Watch the journal, raise alerts and tell them. Run as many as you like: one acts, the others wait.

    It follows the archive, which it brings up to date itself, and says on stderr what happens. Alerts are
    stored once and told at least once, under an id that tells repetitions. SIGTERM or Ctrl-C ends it after
    what is on its way. While the ledger, the archive or a channel is away it goes on with the rest, and
    calls are not touched; with --once it fails.
    """
    where = database(archive, ledger)
    in_force = rules_in_force(rules, policies, load_policies(policies))
    with (
        open_desk(policies, ledger) as desk,
        open_books(desk, where, ledger) as books,
        _told_to_end() as stop,
    ):
        worker = make_worker(desk, books, in_force, speak(once=once))
        if once:
            _end(worker, redact(where), as_json=as_json)
            return
        note(f"watching {desk.where}, archive {redact(where)}, {len(in_force.rules)} rules")
        if not in_force.channels:
            note("no channel is named: alerts go into the journal alone (docs/alert-channels.md)")
        try:
            while not stop.is_set():
                worker.round()
                worker.woken.wait(WAIT_S)
                worker.woken.clear()
        finally:
            worker.finish()


def make_worker(desk: Desk, books: SqlArchive, rules: Rules, say: Callable[[str, str], None]) -> AlertWorker:
    """The worker of a desk's ledger.

    Raises:
        ArchiveError: The extra `alerts` is not installed.
    """
    from governor.journal.alerts.couriers import Couriers  # noqa: PLC0415 - needs an extra
    from governor.journal.alerts.watch import Watch  # noqa: PLC0415 - as above
    from governor.journal.alerts.worker import AlertWorker, Place  # noqa: PLC0415 - as above

    organization = desk.policies.organization
    place = Place(
        organization, desk.ledger, books, lambda: Watch(rules), rules.memory_ms, every_ms=rules.every_ms
    )
    return AlertWorker(place, Couriers(organization, rules.channels), _responder(desk), say)


def database(given: str | None, ledger: str) -> str:
    """The URL of the archive's database, which a worker needs to keep alerts in.

    Raises:
        Failure: It is no database, or none was named where the ledger is in Redis.
    """
    url = archive_url(given, ledger)
    example = "--archive sqlite:////var/lib/governor/archive.db or --archive postgresql://…"
    if url in ("sqlite://", "sqlite:///:memory:"):
        raise usage(
            "alerts are kept in the archive's database, and a ledger in Redis has none beside it: give "
            f"{example} (or GOVERNOR_ARCHIVE)"
        )
    if "://" not in url or url.startswith("file://"):
        raise usage(f"{url} is a file of JSON lines, and alerts are kept in a database: give {example}")
    return url


def speak(*, once: bool = False) -> Callable[[str, str], None]:
    """What the worker says its lines with: on stderr, with a level and no time, which systemd adds."""
    logger = logging.getLogger("governor.alerts")
    if not any(isinstance(one, logging.StreamHandler) for one in logger.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.WARNING if once else logging.INFO)
    return lambda level, line: logger.log(_LEVELS[level], "%s", line)


def _responder(desk: Desk) -> Callable[[Action, Alert], str]:
    """Carries out automated responses; off unless a rule asks for one."""

    def respond(action: Action, alert: Alert) -> str:
        from governor.ledger.commands import Inspect  # noqa: PLC0415 - only where a rule asks

        try:
            responses = import_module("governor.journal.alerts.responses")
        except ImportError:
            return "this release carries out no responses"
        now_ms = desk.ledger.execute(Inspect()).now_ms
        return str(responses.carry_out(desk.ledger, desk.policies, action, alert, now_ms))

    return respond


def _end(worker: AlertWorker, where: str, *, as_json: bool) -> None:
    """Say what came of one evaluation; the exit code is 1 where something failed."""
    try:
        left = worker.catch_up()
        acts = worker.acts
    finally:
        worker.finish()
    failed = worker.troubled or (acts and left is None) or bool(left and (left.waiting or left.dead))
    if as_json:
        print_json({"archive": where, "acts": acts, "ok": not failed, **_counts(left)})
    elif not acts and not worker.troubled:
        note("another worker acts: nothing was evaluated or sent here")
    elif left is not None and failed:
        note(f"{left.waiting} messages wait, {left.dead} are dead: `governor alerts deliveries`")
    if failed:
        raise typer.Exit(FAILURE)


def _counts(left: Backlog | None) -> dict[str, int | None]:
    return {"waiting": None, "dead": None} if left is None else {"waiting": left.waiting, "dead": left.dead}


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """Set when SIGTERM or SIGINT comes, which then ends nothing by itself."""
    stop = threading.Event()
    before = {}
    for one in (signal.SIGTERM, signal.SIGINT):
        before[one] = signal.signal(one, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
