"""What both governors are made of: policies, prices, clock; read from files, nothing from the network."""

from __future__ import annotations

import datetime as dt
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from governor.clock import LedgerClock
from governor.errors import PolicyError
from governor.ledger.opening import DEFAULT_URL
from governor.policy import load
from governor.pricing import PriceTable
from governor.story.request import House

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.story.decision import ThresholdCrossed

log = logging.getLogger("governor")

POLICIES_VARIABLE = "GOVERNOR_POLICIES"
LEDGER_VARIABLE = "GOVERNOR_LEDGER"
PRICES_VARIABLE = "GOVERNOR_PRICES"
DEFAULT_POLICIES = "policies"


def load_house(
    policies: str | Path | None, prices: str | Path | None, clock: Callable[[], int] | None
) -> House:
    """Read policies and prices; see `Governor.load` for the arguments and errors."""
    from governor.policy.check import check  # noqa: PLC0415 - it needs the file's models, as `load` does

    file = prices or os.environ.get(PRICES_VARIABLE) or None
    folder = policies or os.environ.get(POLICIES_VARIABLE) or DEFAULT_POLICIES
    table = PriceTable.load(None if file is None else Path(file))
    house = House(load(folder), table, LedgerClock(clock))
    today = dt.datetime.fromtimestamp(house.clock.now_ms() / 1000, dt.UTC).date()
    problems = check(house.policies, table, today)
    if problems:
        raise PolicyError(problems)
    return house


def ledger_url(url: str | None) -> str:
    """The ledger's URL: as given, else `GOVERNOR_LEDGER`, else a SQLite file in the working directory."""
    return url or os.environ.get(LEDGER_VARIABLE) or DEFAULT_URL


def tell(event: ThresholdCrossed, listener: Callable[[ThresholdCrossed], None] | None) -> None:
    """Log a crossing and hand it to the listener, whose errors are logged and never reach a caller."""
    log.log(logging.WARNING if event.warns else logging.INFO, "%s", event)
    if listener is None:
        return
    try:
        listener(event)
    except Exception:
        log.exception("the on_event listener failed on %s", event.key)
