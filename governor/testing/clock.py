"""A clock that stands still until the test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

FROZEN_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""Where a frozen clock starts unless told otherwise: a Friday noon, amid every calendar window."""


class FrozenClock:
    """Unix milliseconds that only the test moves; give it to `Governor.load` as its `clock`.

    Budgets reopen, holds expire and limits come into force when it is moved there. What waits, waits in real
    time: a `retry-after` of the API and the policy's `max_wait` do not move it.

        clock = FrozenClock()
        with Governor.load("policies/", ledger="memory://", clock=clock) as gov:
            clock.tick(days=1)                           # every budget per day is open again
            clock.at(datetime(2026, 12, 1, tzinfo=UTC))  # and every one per month

    Args:
        at: Where it starts, with a time zone. Prices are those of that day, so models must be on sale then.

    Raises:
        ValueError: *at* has no time zone.
    """

    def __init__(self, at: datetime = FROZEN_AT) -> None:
        self._now_ms = _unix_ms(at)

    def __call__(self) -> int:
        """Unix milliseconds."""
        return self._now_ms

    def __repr__(self) -> str:
        return f"FrozenClock({self.now.isoformat()})"

    @property
    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.fromtimestamp(self._now_ms / 1000, UTC)

    def tick(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> datetime:
        """Move it on by so much elapsed time; returns the new time, in UTC.

        A day is 24 hours: where a daylight-saving change lies between, `at` says which hour is meant.

        Raises:
            ValueError: That is no time at all, or less.
        """
        step = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds) // timedelta(
            milliseconds=1
        )
        if step <= 0:
            raise ValueError(f"the clock cannot tick by {step} ms: tick(seconds=1) goes on, at(…) goes back")
        self._now_ms += step
        return self.now

    def at(self, moment: datetime) -> datetime:
        """Set it to *moment*, forward or back; returns that time in UTC.

        Raises:
            ValueError: *moment* has no time zone.
        """
        self._now_ms = _unix_ms(moment)
        return self.now


def _unix_ms(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(
            f"{moment} has no time zone: write datetime(…, tzinfo=UTC), or ZoneInfo('Europe/Berlin')"
        )
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
