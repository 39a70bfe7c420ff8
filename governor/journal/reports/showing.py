"""A report's values as people read them: the same in the terminal and on a page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.journal.reports.spans import local_time
from governor.money import NANOS_PER_DOLLAR, Money

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.journal.reports.page import Unit, Value

NOTHING = "-"
"""Where there is nothing to say."""

NAMELESS = "(none)"
"""How an empty name is shown."""

_SECOND_MS, _MINUTE_MS = 1000, 60_000


def show(value: Value, unit: Unit, zone: str = "UTC") -> str:
    """A value for people, rounded; `-` for `None`.

    Args:
        value: The value, as its unit has it.
        unit: What it is.
        zone: The time zone that instants are shown in.
    """
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value or NAMELESS
    if unit == "time":
        return f"{local_time(int(value), zone):%Y-%m-%d %H:%M}"
    if unit in _SHOWN:
        return _SHOWN[unit](value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def dollars(nanos: int) -> str:
    """An amount to the cent; below a dollar to four places; below a hundredth of a cent exactly."""
    size = abs(nanos)
    if size and size < NANOS_PER_DOLLAR // 10_000:
        return str(Money(nanos))
    places = 2 if size >= NANOS_PER_DOLLAR or not size else 4
    unit = NANOS_PER_DOLLAR // 10**places
    rounded = (size + unit // 2) // unit
    whole, rest = divmod(rounded, 10**places)
    return f"{'-' if nanos < 0 else ''}${whole:,}.{rest:0{places}d}"


def growth(percent: float | None) -> str:
    """A change for people: `+12 %`, `-3 %`, `as before`; `-` where there was nothing before."""
    if percent is None:
        return NOTHING
    rounded = round(percent)
    return "as before" if not rounded else f"{rounded:+,} %"


def _duration(ms: int) -> str:
    """For example `640 ms`, `2.4 s`, `1 m 30 s`."""
    if ms < _SECOND_MS:
        return f"{ms} ms"
    if ms < _MINUTE_MS:
        return f"{ms / _SECOND_MS:.1f} s"
    minutes, rest = divmod(ms // _SECOND_MS, 60)
    return f"{minutes:,} m {rest:02d} s"


_SHOWN: dict[str, Callable[[Any], str]] = {
    "usd": dollars,
    "ms": _duration,
    "percent": lambda value: f"{value:.1f} %",
    "change": growth,
    "ratio": lambda value: f"{value:,.2f}",
}
