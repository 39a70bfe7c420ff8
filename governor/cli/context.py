"""From the shared options to what a command works on: policies, prices and the ledger."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.errors import LedgerUnavailable
from governor.ledger.opening import DEFAULT_URL, open_ledger, redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.ledger import Ledger
    from governor.policy import Policies
    from governor.pricing import PriceTable

AS_JSON = "governor.json"
"""Where the context of a command line keeps whether JSON was asked for."""


def _remember(context: typer.Context, value: bool) -> bool:
    context.meta[AS_JSON] = value
    return value


def flag(*names: str, **rest: Any) -> Any:
    """An option that is off unless it is given; *rest* goes to `typer.Option`."""
    return typer.Option(False, *names, **rest)  # noqa: FBT003 - typer takes the default first


def beyond_this_process(url: str | None) -> str | None:
    """A ledger's URL, unless it is `memory://`: a command is a process of its own, which would find nothing.

    Raises:
        LedgerUnavailable: It is.
    """
    if url is not None and url.lower().startswith("memory://"):
        raise LedgerUnavailable(
            f"{url} is in the memory of the process that uses it, which no command can look into: correct "
            "--ledger (or GOVERNOR_LEDGER); for tests that run commands, sqlite:///path/governor.db"
        )
    return url


POLICIES: Any = typer.Option(
    "policies",
    "--policies",
    envvar="GOVERNOR_POLICIES",
    metavar="PATH",
    help="The folder of policy files, or one file; or ledger:NAME: what was pushed for that organization.",
)
LEDGER: Any = typer.Option(
    DEFAULT_URL,
    "--ledger",
    envvar="GOVERNOR_LEDGER",
    callback=beyond_this_process,
    metavar="URL",
    help="The ledger: sqlite:///governor.db or redis://host:6379/0.",
)
PRICES: Any = typer.Option(
    None,
    "--prices",
    envvar="GOVERNOR_PRICES",
    metavar="PATH",
    help="The company's own price file, or a whole table; else the table that ships.",
    show_default=False,
)
JSON: Any = flag(
    "--json",
    callback=_remember,
    is_eager=True,
    help="Print one JSON document. Amounts are integers: nano-dollars (1e-9 USD) for usd, else a count.",
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works on.

    Attributes:
        policies: The policies in force.
        ledger: The organisation's ledger.
        where: Its URL, without a password.
        now_ms: The ledger's clock when the desk was set up, Unix milliseconds.
    """

    policies: Policies
    ledger: Ledger
    where: str
    now_ms: int


def load_policies(path: str) -> Policies:
    """The policies at *path*; of `ledger:NAME`, the organization's name alone.

    Raises:
        PolicyError: They are missing or malformed.
    """
    from governor.policy import load  # noqa: PLC0415 - `--help` need not pay for it
    from governor.policy.pushed import nothing_pushed, pushed_only  # noqa: PLC0415 - as above

    return nothing_pushed(path) if pushed_only(path) else load(path)


def load_prices(path: str | None = None) -> PriceTable:
    """The prices at *path*: a whole table, or a company's own file; by default those that ship.

    Raises:
        PolicyError: The file is missing or malformed.
    """
    from governor.pricing import PriceTable  # noqa: PLC0415 - as above

    return PriceTable.load(None if path is None else Path(path))


@contextmanager
def open_desk(policies: str, ledger: str) -> Iterator[Desk]:
    """Load the policies and open the ledger that a running application uses, which must exist.

    Where policies were pushed to the ledger they are those in force, which is said on stderr.

    Raises:
        PolicyError: The policies are missing or malformed.
        LedgerUnavailable: The ledger cannot be reached, or was never created.
    """
    from governor.cli.pushed import in_force  # noqa: PLC0415 - as above

    loaded = load_policies(policies)
    store, where = open_ledger(ledger, loaded.organization), redact(ledger)
    try:
        now_ms = checked_now_ms(store, where, loaded.organization)
        yield Desk(in_force(store, loaded, policies), store, where, now_ms)
    finally:
        store.close()


def checked_now_ms(store: Ledger, where: str, organization: str) -> int:
    """The ledger's clock; a missing SQLite file is an error here, lest a typo make an empty ledger.

    Raises:
        LedgerUnavailable: It cannot be reached, or was never created.
    """
    from governor.ledger.commands import Inspect  # noqa: PLC0415 - as above

    status = store.execute(Inspect())
    if not status.created:
        raise LedgerUnavailable(
            f"{where} holds no ledger of the organization {organization!r}: correct --ledger (or "
            f"GOVERNOR_LEDGER); if it was emptied, run `governor ledger rebuild ARCHIVE {where}`; "
            f"if it is new, make one with `governor ledger create {where}`"
        )
    return status.now_ms
