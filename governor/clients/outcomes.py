"""What calls were good for, as the application says it: `governor.outcome`."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from governor.clients.attribution import current
from governor.clients.request import checked_id
from governor.errors import PolicyViolation
from governor.ids import new_id
from governor.ledger.commands import Enter
from governor.money import Money
from governor.story import telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.clients.in_force import InForce
    from governor.story.books import Story
    from governor.telemetry.teller import Teller

USD = "usd"
VERSION = 1
LONGEST = 256
"""The most characters of a name, a run, a user …"""

_MOST_DIGITS = 40
_UNIT = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAKEN = ("run", "user", "department", "feature")
"""What an outcome takes from the `attribute` around it, where it is not said."""


class Outcomes:
    """The method of a `Governor` that says what calls were good for."""

    _drive: Callable[[Story], Any]
    _in_force: InForce
    _teller: Teller

    def outcome(
        self,
        name: str,
        *,
        value: Decimal | str | float | None = None,
        unit: str = USD,
        run: str | None = None,
        call: str | None = None,
        user: str | None = None,
        department: str | None = None,
        feature: str | None = None,
        id: str | None = None,  # noqa: A002 - as users say it
    ) -> str:
        """Say what a run or a call was good for, so that reports tell what a result costs.

        Args:
            name: What was reached: `ticket_resolved`, `lead_won`, `quality`.
            value: What it was worth; in US dollars a whole number, a `Decimal` or text such as `"12.50"`,
                never a float. It may be below 0.
            unit: `usd`; `score` for a mark of quality; or any word of your own. A value that is no money may
                be a float.
            run: The run that it is the result of.
            call: The call that it is the result of: `message.receipt.request_id`.
            user: Whose it is; this, *department*, *feature* and *run* are else those of the
                `governor.attribute` around the code.
            department: As *user*.
            feature: As *user*.
            id: What to know it by: said again under one id within 7 days, it counts once. Else a new one.

        Returns:
            The id, by which `governor why` tells it.

        Raises:
            PolicyViolation: A value is of the wrong type or malformed; the text says what to give.
            ReservationConflict: The id was used within 7 days for something else.
            LedgerUnavailable: The ledger cannot be reached; say it again later, with an id.
        """
        command = outcome_of(name, value, unit, call, id, _who(run, user, department, feature))
        self._drive(telling.enter(self._in_force.house, command))
        self._teller.outcome(command)
        return command.id


class AsyncOutcomes:
    """The method of an `AsyncGovernor` that says what calls were good for."""

    _drive: Callable[[Story], Any]
    _in_force: InForce
    _teller: Teller

    async def outcome(
        self,
        name: str,
        *,
        value: Decimal | str | float | None = None,
        unit: str = USD,
        run: str | None = None,
        call: str | None = None,
        user: str | None = None,
        department: str | None = None,
        feature: str | None = None,
        id: str | None = None,  # noqa: A002 - as users say it
    ) -> str:
        """As `Governor.outcome`."""
        command = outcome_of(name, value, unit, call, id, _who(run, user, department, feature))
        await self._drive(telling.enter(self._in_force.house, command))
        self._teller.outcome(command)
        return command.id


def outcome_of(
    name: str,
    value: Decimal | float | str | None,
    unit: str,
    call: str | None,
    identifier: str | None,
    who: dict[str, str | None],
) -> Enter:
    """The record of an outcome; raises `PolicyViolation` where it is malformed.

    Args:
        name: What was reached.
        value: As text it is kept, digit by digit.
        unit: What the value is counted in.
        call: The id of a call.
        identifier: Of the record; `None`: a new one.
        who: Run, user, department and feature, where they are known.
    """
    said = {"name": name, "call": call, **who}
    for part, given in said.items():
        if given is not None and not _is_text(given):
            raise PolicyViolation(
                f"outcome: {part} is {given!r:.60}: give 1 to {LONGEST} printable characters"
            )
    if name is None:
        raise PolicyViolation("outcome: name is None: say what was reached, such as 'ticket_resolved'")
    if not isinstance(unit, str) or not _UNIT.fullmatch(unit):
        raise PolicyViolation(f"outcome: unit is {unit!r:.60}: give `usd`, `score` or a word of a-z 0-9 _")
    more = {} if value is None else {"value": _number(value, unit), "unit": unit}
    record = {
        "v": VERSION,
        **more,
        **{part: given for part, given in said.items() if part != "name" and given},
    }
    chosen = new_id() if identifier is None else checked_id(identifier)
    return Enter(chosen, "outcome", name, json.dumps(record, separators=(",", ":")))


def _who(
    run: str | None, user: str | None, department: str | None, feature: str | None
) -> dict[str, str | None]:
    """What is said, else what the `attribute` around the code says."""
    around, given = current(), (run, user, department, feature)
    return {
        name: said if said is not None or around is None else around.part(name)
        for name, said in zip(_TAKEN, given, strict=True)
    }


def _is_text(value: object) -> bool:
    return (
        isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable() and bool(value.strip())
    )


def _number(value: object, unit: str) -> str:
    """A value as text; money is exact to the nano-dollar."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str | float):
        raise PolicyViolation(f"outcome: value is {value!r:.60}: give a number, or none")
    if isinstance(value, float) and unit == USD:
        raise PolicyViolation(
            f"outcome: value is the float {value!r}, and money is never one: give a whole number of dollars, "
            "a decimal.Decimal or text such as '12.50' (a score is no money: give `unit='score'`)"
        )
    try:
        return f"{_checked(str(value).strip(), unit):f}"
    except ArithmeticError:
        raise PolicyViolation(f"outcome: value is {value!r:.60}, which is no number") from None
    except ValueError as error:
        raise PolicyViolation(f"outcome: value: {error}") from None


def _checked(text: str, unit: str) -> Decimal:
    """A number that can be kept; raises `ValueError` or `ArithmeticError` where it cannot."""
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:20]}… has more than {_MOST_DIGITS} characters")
    number = Decimal(text)
    if unit == USD:
        Money.from_dollars(number)
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{text} is no finite number of a sane size")
    return number
