"""Windows follow the policy's time zone, never overlap and never repeat; identities cannot be forged."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.budgets import LIFE, Period, Unit, balance_identity, unit_of, window_at

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
HALF_CENTURY_MS = 50 * 366 * 86_400_000
instants = st.integers(0, HALF_CENTURY_MS)
calendars = st.sampled_from([period for period in Period if period is not Period.LIFE])


def at(text):
    """Unix milliseconds of an ISO instant."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("period", "zone", "now", "name", "start", "end"),
    [
        ("minute", "UTC", "2026-11-20T12:00:30+00:00", "2026-11-20T12:00Z", "12:00:00", "12:01:00"),
        ("hour", "UTC", "2026-11-20T12:59:59+00:00", "2026-11-20T12:00Z", "12:00:00", "13:00:00"),
        ("hour", "Asia/Kolkata", "2026-11-20T12:45:00+00:00", "2026-11-20T12:30Z", "12:30:00", "13:30:00"),
    ],
)
def test_short_windows(period, zone, now, name, start, end):
    """Minutes and hours begin where the zone's own do, and are named in UTC."""
    window = window_at(Period(period), zone, at(now))
    assert window.id == name
    assert window.start_ms == at(f"2026-11-20T{start}+00:00")
    assert window.end_ms == at(f"2026-11-20T{end}+00:00")


@pytest.mark.parametrize(
    ("period", "zone", "now", "name", "hours"),
    [
        ("day", "Europe/Berlin", "2026-11-20T23:30:00+00:00", "2026-11-21", 24),
        ("day", "Europe/Berlin", "2026-03-29T12:00:00+00:00", "2026-03-29", 23),
        ("day", "Europe/Berlin", "2026-10-25T12:00:00+00:00", "2026-10-25", 25),
        ("week", "UTC", "2027-01-01T12:00:00+00:00", "2026-W53", 168),
        ("week", "America/New_York", "2026-03-08T12:00:00+00:00", "2026-W10", 167),
        ("month", "UTC", "2028-02-29T12:00:00+00:00", "2028-02", 29 * 24),
        ("month", "America/New_York", "2026-12-01T03:00:00+00:00", "2026-11", 30 * 24 + 1),
    ],
)
def test_calendar_windows(period, zone, now, name, hours):
    """Days, weeks and months are the zone's own, with the hour that a clock change takes or gives."""
    window = window_at(Period(period), zone, at(now))
    assert window.id == name
    assert window.end_ms - window.start_ms == hours * 3_600_000


@given(calendars, st.sampled_from(ZONES), instants)
def test_windows_cover_time_without_gap_or_overlap(period, zone, now_ms):
    """Every instant is in its window; the next begins where it ends, under another name."""
    window = window_at(period, zone, now_ms)
    assert window.start_ms <= now_ms < window.end_ms
    assert window_at(period, zone, window.start_ms) == window == window_at(period, zone, window.end_ms - 1)
    following = window_at(period, zone, window.end_ms)
    assert following.start_ms == window.end_ms
    assert following.id > window.id


@given(instants)
def test_a_life_never_ends(now_ms):
    """A window for life is the same at every instant, and has no end."""
    window = window_at(Period.LIFE, "UTC", now_ms)
    assert (window.id, window.end_ms) == (LIFE, 0)


def test_an_identity_names_scope_unit_and_window():
    """The file's scope first, then the dimension's value, unit and window; never a tier or a limit."""
    made = balance_identity({"department": "engineering", "user": "ada@example.com"}, Unit.USD, Period.MONTH)
    assert made == "department=engineering/user=ada@example.com/usd/month"
    assert balance_identity({"org": None}, Unit.TOKENS, Period.DAY) == "org/tokens/day"


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(Unit), st.sampled_from(Period))
def test_no_value_can_forge_an_identity(one, other, unit, period):
    """Different values have different identities, in characters no key's separator or hash tag is made of."""
    if any(0xD800 <= ord(char) <= 0xDFFF for char in one + other):
        return
    first, second = (balance_identity({"user": value}, unit, period) for value in (one, other))
    assert (first == second) == (one == other)
    assert first.count("/") == 2
    assert not set(first) & set(":{} \n")
    assert unit_of(first) is unit


def test_the_clock_is_utc_underneath():
    """An instant is Unix milliseconds, whatever the zone of the machine."""
    window = window_at(Period.DAY, "UTC", at("2026-11-20T12:00:00+00:00"))
    assert datetime.fromtimestamp(window.start_ms / 1000, UTC) == datetime(2026, 11, 20, tzinfo=UTC)
