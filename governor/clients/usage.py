"""Anthropic's own usage and cost figures of an organization, read with an admin key.

`/v1/organizations/analytics/cost` and `/usage`, in beta since 2026-10-29. They are asked by path and read as
JSON: a beta's methods and types may move with any release of the SDK, which makes an object of whatever came;
here a page that is not as described is an error.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode, urlsplit

import anthropic

from governor.errors import GovernorError
from governor.journal.reconcile import Charged, Figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COST_PATH = "/v1/organizations/analytics/cost"
USAGE_PATH = "/v1/organizations/analytics/usage"
BETA = "analytics-usage-cost-2026-08-24"
ANTHROPIC_URL = "https://api.anthropic.com"

MOST_DAYS = 31
"""The longest range of one question (SDK, `CostListParams.ending_at`)."""

ROWS = 1000
"""Rows of a page; the API allows no more (SDK, `CostListParams.limit`)."""

PATIENCE_MS = 300_000
"""No page is asked for after so long: figures this many pages long are no answer to wait for."""

_TIMEOUT_S = 60.0
_NANOS_PER_CENT = 10_000_000
_MOST_DIGITS = 40
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class FiguresError(GovernorError):
    """Anthropic's figures cannot be read.

    Attributes:
        advice: What to do.
    """

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def read_figures(
    admin_key: str,
    first: date,
    last: date,
    *,
    base_url: str = ANTHROPIC_URL,
    workspaces: Sequence[str] = (),
    negotiated: bool = False,
) -> Figures:
    """Ask Anthropic what an organization used and what that cost: all of it, or an error.

    Args:
        admin_key: An admin key, or one with the scope `read:analytics`. It goes to *base_url* alone.
        first: The first day, UTC.
        last: The last one; at most 31 days in all.
        base_url: Where the API is.
        workspaces: Only their spend, `wrkspc_…`; none: the whole organization's.
        negotiated: Take the amounts after the organization's discount, and not those at list price.

    Raises:
        FiguresError: The key is refused or is none, the API cannot be reached, or it answers what is no
            such figure; on whichever page.
        ValueError: The range is empty or too long.
    """
    if not 1 <= (last - first).days + 1 <= MOST_DAYS:
        raise ValueError(f"{first} to {last} is no range of 1 to {MOST_DAYS} days")
    _check_key(admin_key)
    _check_url(base_url)
    query = [
        ("starting_at", f"{first}T00:00:00Z"),
        ("ending_at", f"{last + timedelta(days=1)}T00:00:00Z"),
        ("time_bucket_width", "1d"),
        ("order_by", "time"),
        ("order", "asc"),
        ("limit", str(ROWS)),
        *(("workspace_ids[]", workspace) for workspace in workspaces),
    ]
    client = anthropic.Anthropic(api_key=admin_key, base_url=base_url, timeout=_TIMEOUT_S, max_retries=1)
    with client:
        reader = _Reader(client, admin_key)
        amount = "amount" if negotiated else "list_amount"
        by_whom = [("group_by[]", name) for name in ("model", "api_key_id", "workspace_id", "product")]
        charged = list(reader.rows(COST_PATH, [*query, *by_whom], lambda row: _charged(row, amount)))
        tokens: dict[tuple[date, str | None], int] = {}
        for key, count in reader.rows(USAGE_PATH, [*query, ("group_by[]", "model")], _tokens):
            tokens[key] = tokens.get(key, 0) + count
    return Figures(charged, tokens, reader.refreshed_ms)


class _Reader:
    """Pages, one after another; `refreshed_ms` is the oldest that any of them tells."""

    def __init__(self, client: anthropic.Anthropic, admin_key: str) -> None:
        self._client, self._admin_key = client, admin_key
        self._until_ms = time.monotonic_ns() // 1_000_000 + PATIENCE_MS
        self.refreshed_ms: int | None = None

    def rows(self, path: str, query: list[tuple[str, str]], read: Callable[[Any], Any]) -> Iterator[Any]:
        """What *read* makes of every row of every page."""
        cursor, number = None, 1
        while True:
            page = self._page(path, [*query, ("page", cursor)] if cursor else query, number)
            try:
                found = [read(row) for row in page["data"]]
                self._note(page.get("data_refreshed_at"))
                following = page.get("next_page") if page.get("has_more", True) else None
            except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
                raise _odd(path, number, f"{type(error).__name__}: {error}") from None
            yield from found
            if not following:
                return
            if following == cursor or time.monotonic_ns() // 1_000_000 > self._until_ms:
                raise _odd(path, number, "its pages do not come to an end")
            cursor, number = str(following), number + 1

    def _page(self, path: str, query: list[tuple[str, str]], number: int) -> Any:
        target = f"{path}?{urlencode(query)}"
        try:
            # The SDK returns parsed JSON where it is to cast to `object`.
            return cast(
                "Any", self._client.get(target, cast_to=object, options={"headers": {"anthropic-beta": BETA}})
            )
        except anthropic.APIStatusError as error:
            raise self._refused(error, path, number) from None
        except anthropic.APIConnectionError as error:
            text = f"{self._client.base_url} does not answer ({type(error.__cause__ or error).__name__})"
            advice = "look at the network, or at --admin-url"
            raise FiguresError(f"{text}, at page {number} of {path}", advice) from None
        except (anthropic.AnthropicError, ValueError) as error:
            raise _odd(path, number, type(error).__name__) from None

    def _refused(self, error: anthropic.APIStatusError, path: str, number: int) -> FiguresError:
        body: Any = error.body
        try:
            said = str(body["error"]["message"])
        except (KeyError, TypeError):
            said = "no reason"
        said = said.replace(self._admin_key, "…")
        text = f"{path} answered {error.status_code} at page {number}: {said}"
        match error.status_code:
            case 401 | 403:
                return FiguresError(
                    text, "give an admin key (sk-ant-admin…), or one with the scope read:analytics"
                )
            case 404:
                return FiguresError(text, "this API has no such figures: correct --admin-url")
            case 429 | 500 | 502 | 503 | 504 | 529:
                return FiguresError(text, "try again later")
            case _:
                return FiguresError(text, "correct what it names: --days, --workspace")

    def _note(self, refreshed_at: str | None) -> None:
        if refreshed_at is None:
            return
        at_ms = round(_instant(refreshed_at).timestamp() * 1000)
        self.refreshed_ms = at_ms if self.refreshed_ms is None else min(self.refreshed_ms, at_ms)


def _odd(path: str, number: int, what: str) -> FiguresError:
    text = f"{path} answered what is no page of figures, at page {number}: {what}"
    return FiguresError(text, "a newer release of the governor may know it; or correct --admin-url")


def _check_key(admin_key: str) -> None:
    if not admin_key.isascii() or not admin_key.isprintable() or " " in admin_key or not admin_key:
        text = "the admin key is empty, or has characters that no key has"
        raise FiguresError(text, "give the key alone, on one line")


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise FiguresError("the admin key goes over https:// only", "correct --admin-url (GOVERNOR_ADMIN_URL)")


def _charged(row: Any, amount: str) -> Charged:
    cost, group = row["cost"], row["group"]
    if cost["currency"] != "USD":
        raise ValueError(f"an amount in {cost['currency']!r}, which is no USD")
    cents = Decimal(cost[amount])
    if not cents.is_finite() or abs(cents.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{cost[amount]!r} is no amount")
    names = ("api_key_id", "workspace_id", "product")
    return Charged(
        _day(row), group.get("model"), Fraction(cents) * _NANOS_PER_CENT, *(group.get(name) for name in names)
    )


def _tokens(row: Any) -> tuple[tuple[date, str | None], int]:
    return (_day(row), row["group"].get("model")), int(row["usage"]["total_tokens"])


def _day(row: Any) -> date:
    return _instant(row["starting_at"]).date()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
