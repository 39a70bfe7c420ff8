"""What both governors are made of: policies, prices, clock; read from files, nothing from the network."""

from __future__ import annotations

import datetime as dt
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor.clients.in_force import InForce
from governor.clients.people import People
from governor.clients.sources import PolicyFiles
from governor.clock import LedgerClock
from governor.errors import PolicyError
from governor.journal.spool import Spool, spool_folder
from governor.ledger.forks import renew_in_children
from governor.ledger.opening import DEFAULT_URL, named, redact
from governor.policy.pushed import nothing_pushed, pushed_only
from governor.pricing import PriceTable
from governor.routing import Traffic
from governor.story.breaker import Breaker
from governor.story.effects import Adopt
from governor.story.leases import Leases
from governor.story.request import House
from governor.story.told import Tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.clients.people import Ask
    from governor.ledger import Ledger
    from governor.ledger.commands import Release, Settle
    from governor.policy import Policies
    from governor.policy.department import Directory
    from governor.story.decision import Event
    from governor.story.effects import Heard, Notify, Owe
    from governor.telemetry.teller import Teller

log = logging.getLogger("governor")

POLICIES_VARIABLE = "GOVERNOR_POLICIES"
LEDGER_VARIABLE = "GOVERNOR_LEDGER"
PRICES_VARIABLE = "GOVERNOR_PRICES"
DEFAULT_POLICIES = "policies"


def load_house(
    policies: str | Path | None,
    prices: str | Path | None,
    clock: Callable[[], int] | None,
    ledger: str,
    spool: str | Path | None,
) -> House:
    """Read policies and prices; what earlier processes left to be told to *ledger*, a URL, waits for a call.

    See `Governor.load` for the other arguments and the errors.
    """
    return load_in_force(policies, prices, clock, ledger, spool, reload=False).house


def load_in_force(
    policies: str | Path | None,
    prices: str | Path | None,
    clock: Callable[[], int] | None,
    ledger: str,
    spool: str | Path | None,
    *,
    reload: bool,
    users: Ask | None = None,
    scored: bool = False,
    inspected: bool = False,
    hashed: bool = False,
    tells: bool = False,
) -> InForce:
    """As `load_house`: the house, and what gives it newer policies if *reload* says so."""
    file = prices or os.environ.get(PRICES_VARIABLE) or None
    source = policies or os.environ.get(POLICIES_VARIABLE) or DEFAULT_POLICIES
    table = PriceTable.load(None if file is None else Path(file))
    now = LedgerClock(clock)
    monotonic = time.monotonic if clock is None else lambda: clock() / 1000
    people = None if users is None else People(users)
    files: PolicyFiles | None = None
    if pushed_only(source):
        loaded = nothing_pushed(source)
        loaded.directory = people
    else:
        files = PolicyFiles(source, lambda found: _accept(found, table, now, people))
        loaded = files.policies
    house = House(
        loaded,
        table,
        now,
        breaker=Breaker(monotonic),
        leases=Leases(threading.Lock),
        traffic=Traffic(secrets.token_hex(8), now.now_ms, lock=threading.Lock),
        spool=_open_spool(spool, loaded.organization, ledger),
        scored=scored,
        inspected=inspected,
        hashed=hashed,
        tells=tells,
    )
    renew_in_children(house.forget)
    return InForce(house, files, reload=reload, monotonic=monotonic)


def ask_ledger(in_force: InForce, ledger: Ledger, *, own: bool) -> None:
    """Let the policies that were pushed to *ledger* go before the files; *own*: it is closed with them."""
    house, people = in_force.house, in_force.house.policies.directory
    in_force.ask(ledger, lambda found: _accept(found, house.prices, house.clock, people), own=own)


def _accept(policies: Policies, prices: PriceTable, clock: LedgerClock, people: Directory | None) -> None:
    """Let policies ask the application for users; raises `PolicyError` as `refuse_unpriced`."""
    refuse_unpriced(policies, prices, clock)
    policies.directory = people


def refuse_unpriced(policies: Policies, prices: PriceTable, clock: LedgerClock) -> None:
    """Check what needs the price table, as of this day in UTC.

    Raises:
        PolicyError: A file names a model without a price.
    """
    from governor.policy.check import check  # noqa: PLC0415 - it needs the file's models, as `load` does

    today = dt.datetime.fromtimestamp(clock.now_ms() / 1000, dt.UTC).date()
    problems = check(policies, prices, today)
    if problems:
        raise PolicyError(problems)


def _open_spool(spool: str | Path | None, organization: str, ledger: str) -> Spool | None:
    """The spool for a ledger, not looked into yet; without a place for it, none."""
    try:
        return Spool(spool_folder(spool), organization, identity(ledger))
    except RuntimeError:
        log.warning(
            "this user has no home for a spool, so no call goes without its ledger: set GOVERNOR_SPOOL"
        )
    return None


def ledger_url(url: str | None) -> str:
    """The ledger's URL: as given, else `GOVERNOR_LEDGER`, else a SQLite file in the working directory.

    Raises:
        LedgerUnavailable: The URL names no known store.
    """
    return named(url or os.environ.get(LEDGER_VARIABLE) or DEFAULT_URL)


def identity(url: str) -> str:
    """What tells one ledger from another on this host: its URL without password, a file's path whole."""
    scheme, slashes, path = redact(url).partition("://")
    if scheme.lower() != "sqlite" or not path.startswith("/") or path.startswith("//"):
        return redact(url)
    return f"{scheme}{slashes}/{Path(path.removeprefix('/')).absolute()}"


def keep(house: House, effect: Owe | Heard | Adopt) -> list[Settle | Release] | None:
    """Write down what the ledger has still to be told, or strike it out; or take over what others left."""
    if house.spool is None:
        return None
    if isinstance(effect, Adopt):
        return house.spool.adopt()
    house.spool.carry_out(effect)
    return None


def let_go(house: House) -> None:
    """Leave the spool to whoever comes next."""
    if house.spool is not None:
        house.spool.close()


def pass_on(effect: Notify | Tell, listener: Callable[[Any], None] | None, teller: Teller) -> None:
    """Tell an event, or how a call ended, to whoever listens."""
    if isinstance(effect, Tell):
        teller.tell(effect)
    else:
        tell(effect.event, listener)


def tell(event: Event, listener: Callable[[Any], None] | None) -> None:
    """Log an event and hand it to the listener, whose errors are logged and never reach a caller."""
    log.log(logging.WARNING if event.warns else logging.INFO, "%s", event)
    if listener is None:
        return
    try:
        listener(event)
    except Exception:
        log.exception("the on_event listener failed on %s", event.key)
