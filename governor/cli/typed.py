"""What an administrator types, and what it means: amounts, dates, reasons."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from governor.budgets import Unit
from governor.cli.output import usage, when
from governor.money import MAX_NANOS, Money
from governor.story.decision import instant
from governor.story.decision import show as show_amount

if TYPE_CHECKING:
    from governor.cli.context import Desk
    from governor.policy import BudgetTerm

LAST_YEAR = 9000
"""Later instants cannot be shown in every time zone."""

_COUNT = re.compile(r"[0-9]{1,3}(,[0-9]{3})+|[0-9]+")
_DOLLARS = re.compile(rf"\$?({_COUNT.pattern})(\.[0-9]+)?")
_NOT_IN_A_LINE = ("Cc", "Cs", "Zl", "Zp")
"""Control characters, halves of characters, and what parts lines: as Unicode calls them."""


def parse_amount(text: str, unit: Unit) -> int:
    """An amount as it is typed: nano-dollars for usd, else a count; above 0.

    Raises:
        Failure: It is no such amount, or larger than the ledger can count.
    """
    digits = text.strip()
    pattern = _DOLLARS if unit is Unit.USD else _COUNT
    if not pattern.fullmatch(digits):
        example = "500 or '$1,500.50'" if unit is Unit.USD else f"1000 ({unit.value})"
        raise usage(f"{text!r} is not an amount of this budget: write for example {example}")
    plain = digits.removeprefix("$").replace(",", "")
    try:
        amount = Money.from_dollars(plain).nanos if unit is Unit.USD else int(plain)
    except ValueError as error:
        raise usage(str(error)) from None
    if amount == 0:
        raise usage(f"{text!r} is nothing: an amount must be above 0 (to stop a budget, freeze it)")
    refuse_above_most(amount, unit)
    return amount


def refuse_above_most(limit: int, unit: Unit) -> None:
    """Refuse a limit beyond what the ledger can count.

    Raises:
        Failure: It is.
    """
    if limit > MAX_NANOS:
        raise usage(
            f"the limit would be {show_amount(unit, limit)}: "
            f"the ledger counts to {show_amount(unit, MAX_NANOS)} at most"
        )


def required(option: str, text: str) -> str:
    """What was typed for *option*, as `plain` has it.

    Raises:
        Failure: It is empty, or as from `plain`.
    """
    if not text.strip():
        raise usage(f"{option} is empty: say why, for whoever reads the journal")
    return plain(option, text)


def plain(option: str, text: str) -> str:
    """One line of text without spaces around it, which no terminal takes for a command.

    Raises:
        Failure: It has a line break or another control character.
    """
    line = text.strip()
    odd = next((char for char in line if unicodedata.category(char) in _NOT_IN_A_LINE), None)
    if odd is not None:
        raise usage(f"{option} has the control character {odd!r} in it: write one line of plain text")
    return line


def harmless(text: str) -> str:
    """Text that others wrote, as one line, with what no terminal should get replaced by `\ufffd`."""
    return "".join("\ufffd" if unicodedata.category(char) in _NOT_IN_A_LINE else char for char in text)


def span_ms(desk: Desk, term: BudgetTerm, begin: str | None, until: str | None) -> tuple[int, int]:
    """When a change begins and ends, Unix milliseconds; 0: now, and never.

    Args:
        desk: For the ledger's clock.
        term: A date is a midnight of its time zone.
        begin: As typed for `--from`.
        until: As typed for `--until`.

    Raises:
        Failure: One is no date or too far away, or the end is over or not after the beginning.
    """
    from_ms = 0 if begin is None else _instant_ms(term, "--from", begin)
    until_ms = 0 if until is None else _instant_ms(term, "--until", until)
    if until_ms and until_ms <= desk.now_ms:
        raise usage(f"--until {until} is over already: it is {when(instant(desk.now_ms))} UTC")
    if until_ms and until_ms <= from_ms:
        raise usage(f"--until {until} is not after --from {begin}")
    return (from_ms if from_ms > desk.now_ms else 0), until_ms


def _instant_ms(term: BudgetTerm, option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise usage(f"{option} {text!r} is no ISO date: write for example 2026-12-01") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(term.timezone))
    if moment.year > LAST_YEAR:
        raise usage(f"{option} {text} is too far away: leave --until out for a change without an end")
    return int(moment.timestamp() * 1000)


def span_text(from_ms: int, until_ms: int) -> str:
    """Instants as sentences end with them: ` from 2026-12-01 00:00 UTC until …`; '' for 0 and 0."""
    begins = f" from {when(instant(from_ms))} UTC" if from_ms else ""
    return begins + (f" until {when(instant(until_ms))} UTC" if until_ms else "")
