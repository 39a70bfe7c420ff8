"""The organization's usage and cost figures, as the fake API's own bill has them.

`/v1/organizations/analytics/cost` and `/usage` of the beta `analytics-usage-cost-2026-08-24`, by day, as the
SDK's types describe them: rows by dimension, pages, amounts as text in fractions of a cent.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from governor.testing.fake_api.catalogue import counts_of
from governor.testing.fake_api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.testing.fake_api.bill import Bill, BillLine
    from governor.testing.fake_api.catalogue import Catalogue
    from governor.testing.fake_api.connection import Incoming
    from governor.testing.fake_api.faults import Fault

COST_PATH = "/v1/organizations/analytics/cost"
USAGE_PATH = "/v1/organizations/analytics/usage"
PATHS = frozenset({COST_PATH, USAGE_PATH})
BETA = "analytics-usage-cost-2026-08-24"
_DAY_MS = 86_400_000
_MOST_DAYS, _MOST_ROWS, _USUAL_ROWS = 31, 1000, 20
_NANOS_PER_CENT = 10_000_000
_DIMENSIONS = ("model", "api_key_id", "workspace_id", "product")


@dataclass(frozen=True, slots=True)
class Spent:
    """Spend of the organization.

    Attributes:
        at_ms: When, Unix milliseconds.
        model: As the figures name it; `None`: they name none.
        nanos: At list price, in nano-dollars.
        usage: As the API spells it in an answer.
        api_key_id: `apikey_…`; `None`: no key.
        workspace_id: `wrkspc_…`; `None`: the default workspace.
        product: `messages_api`, …
    """

    at_ms: int
    model: str | None
    nanos: int
    usage: Mapping[str, Any]
    api_key_id: str | None = "apikey_fake"
    workspace_id: str | None = None
    product: str | None = "messages_api"


class _Asked(NamedTuple):
    """A request's parameters: bounds in Unix milliseconds, and the rest as the API names it."""

    starting_ms: int
    ending_ms: int
    group_by: tuple[str, ...]
    workspace_ids: tuple[str, ...]
    limit: int
    page: int


class Organization:
    """What the admin endpoints know, and how a test changes it.

    Attributes:
        admin_key: The only key that they accept.
        refreshed_ms: When the figures were last refreshed, Unix milliseconds; `None`: just now.
        discount_bp: The organization's discount on list prices, basis points.
    """

    def __init__(
        self, bill: Bill, catalogue: Catalogue, admin_key: str, api_key: str, now_ms: Callable[[], int]
    ) -> None:
        self.admin_key = admin_key
        self._api_key = api_key
        self._bill, self._catalogue, self._now_ms = bill, catalogue, now_ms
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget spend, faults, the discount and when the figures were refreshed."""
        with self._lock:
            self._further: list[Spent] = []
            self._faults: dict[int, Fault] = {}
        self.refreshed_ms: int | None = None
        self.discount_bp = 0

    def spend(
        self,
        model: str,
        usage: Mapping[str, Any],
        *,
        at_ms: int | None = None,
        api_key_id: str | None = "apikey_other",
        workspace_id: str | None = None,
        product: str | None = "messages_api",
    ) -> Spent:
        """Add spend that was never a request to this server: of another key, product or host.

        Args:
            model: As the figures name it.
            usage: As the API spells it; it is priced as the bill is.
            at_ms: When, Unix milliseconds; default: now.
            api_key_id: As in `Spent`.
            workspace_id: Likewise.
            product: Likewise.

        Raises:
            Unpriced: The model or the usage has no price.
        """
        at_ms = self._now_ms() if at_ms is None else at_ms
        nanos = math.ceil(self._catalogue.charge(model, usage, at_ms))
        spent = Spent(at_ms, model, nanos, usage, api_key_id, workspace_id, product)
        self.add(spent)
        return spent

    def add(self, spent: Spent) -> None:
        """Add spend as it is, without a model too, as sessions and code execution are told."""
        with self._lock:
            self._further.append(spent)

    def break_page(self, number: int, fault: Fault | None) -> None:
        """Answer every request for the page *number* (from 1) with an error status; `None`: no longer."""
        with self._lock:
            if fault is None:
                self._faults.pop(number, None)
            else:
                self._faults[number] = fault

    def fault(self, request: Incoming) -> Fault | None:
        """The error that a request for a page was set to be answered with."""
        page = parse_qs(request.query).get("page", ["1"])[0]
        with self._lock:
            return self._faults.get(int(page)) if page.isdecimal() else None

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Refuse a request without the admin key.

        Raises:
            ApiError: 401 for no key or an unknown one, 403 for one that is for messages.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if given == self._api_key != self.admin_key:
            raise ApiError(403, "This API key may not read the organization's figures")
        if given != self.admin_key:
            raise ApiError(401, "invalid x-api-key" if given else "x-api-key header is required")

    def answer(self, request: Incoming) -> dict[str, Any]:
        """A page of figures.

        Raises:
            ApiError: 400 for parameters that the API would refuse, or that this fake does not know.
        """
        if BETA not in request.headers.get("anthropic-beta", ""):
            raise ApiError(400, f"anthropic-beta: {BETA} is required")
        asked = _asked(request.query)
        rows = self._rows(asked, _cost if request.path == COST_PATH else _usage)
        begin = (asked.page - 1) * asked.limit
        more = len(rows) > begin + asked.limit
        refreshed_ms = self._now_ms() if self.refreshed_ms is None else self.refreshed_ms
        return {
            "data": rows[begin : begin + asked.limit],
            "has_more": more,
            "next_page": str(asked.page + 1) if more else None,
            "data_refreshed_at": _instant(refreshed_ms),
        }

    def _rows(self, asked: _Asked, measure: Callable[[list[Spent], int], dict[str, Any]]) -> list[Any]:
        groups: dict[tuple[int, tuple[str | None, ...]], list[Spent]] = {}
        for spent in self._spent():
            if not asked.starting_ms <= spent.at_ms < asked.ending_ms:
                continue
            if asked.workspace_ids and spent.workspace_id not in asked.workspace_ids:
                continue
            values = tuple(getattr(spent, name) if name in asked.group_by else None for name in _DIMENSIONS)
            groups.setdefault((spent.at_ms // _DAY_MS, values), []).append(spent)
        return [
            {
                "starting_at": _instant(day * _DAY_MS),
                "ending_at": _instant((day + 1) * _DAY_MS),
                "group": dict(zip(_DIMENSIONS, values, strict=True)),
                **measure(groups[day, values], self.discount_bp),
            }
            for day, values in sorted(groups, key=str)
        ]

    def _spent(self) -> list[Spent]:
        with self._lock:
            further = list(self._further)
        lines = (line for line in self._bill.lines() if self._catalogue.endpoint(line.model) is None)
        return [*map(self._billed, lines), *further]

    def _billed(self, line: BillLine) -> Spent:
        model = self._catalogue.find(line.model)
        return Spent(line.at_ms, line.model if model is None else model.id, line.nanos, line.usage)


def _cost(spent: list[Spent], discount_bp: int) -> dict[str, Any]:
    nanos = sum(one.nanos for one in spent)
    paid = Fraction(nanos * (10_000 - discount_bp), 10_000)
    cost = {"currency": "USD", "amount": _cents(paid), "list_amount": _cents(Fraction(nanos))}
    return {"cost": {**cost, "requests": len(spent)}}


def _usage(spent: list[Spent], _: int) -> dict[str, Any]:
    counts = [counts_of(one.usage) for one in spent]
    total = {kind: sum(one[kind] for one in counts) for kind in counts[0]}
    searches = sum((one.usage.get("server_tool_use") or {}).get("web_search_requests") or 0 for one in spent)
    usage = {
        "uncached_input_tokens": total["input"],
        "output_tokens": total["output"],
        "cache_read_input_tokens": total["cache_read"],
        "cache_creation": {
            "ephemeral_5m_input_tokens": total["cache_write_5m"],
            "ephemeral_1h_input_tokens": total["cache_write_1h"],
        },
        "server_tool_use": {"web_search_requests": searches},
        "total_tokens": sum(total.values()),
        "requests": len(spent),
    }
    return {"usage": usage}


def _cents(nanos: Fraction) -> str:
    """Cents with ten decimals at most: a thousandth of a nano-dollar."""
    whole, rest = divmod(round(nanos * 1000), _NANOS_PER_CENT * 1000)
    return f"{whole}.{rest:010d}".rstrip("0").rstrip(".")


def _asked(query: str) -> _Asked:
    given = parse_qs(query, keep_blank_values=True)
    known = {"beta", "starting_at", "ending_at", "time_bucket_width", "limit", "page", "order", "order_by"}
    unknown = sorted(set(given) - known - {"group_by[]", "workspace_ids[]"})
    if unknown:
        raise ApiError(400, f"{unknown[0]}: the fake API does not know this parameter")
    if given.get("time_bucket_width") != ["1d"]:
        raise ApiError(400, "time_bucket_width: the fake API knows 1d alone")
    starting_ms, ending_ms = (_unix_ms(given, name) for name in ("starting_at", "ending_at"))
    if not 0 < ending_ms - starting_ms <= _MOST_DAYS * _DAY_MS:
        raise ApiError(400, f"ending_at: the range may span at most {_MOST_DAYS} days")
    group_by = tuple(given.get("group_by[]", ()))
    if set(group_by) - set(_DIMENSIONS):
        raise ApiError(400, f"group_by: the fake API knows {', '.join(_DIMENSIONS)}")
    limit, page = given.get("limit", [str(_USUAL_ROWS)])[0], given.get("page", ["1"])[0]
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_ROWS:
        raise ApiError(400, f"limit: must be from 1 to {_MOST_ROWS}")
    if not page.isdecimal():
        raise ApiError(400, "page: invalid cursor")
    workspaces = tuple(given.get("workspace_ids[]", ()))
    return _Asked(starting_ms, ending_ms, group_by, workspaces, int(limit), int(page))


def _unix_ms(given: Mapping[str, list[str]], name: str) -> int:
    try:
        moment = datetime.fromisoformat(given[name][0])
    except (KeyError, ValueError):
        raise ApiError(400, f"{name}: an RFC 3339 instant is required") from None
    if moment.tzinfo is None:
        raise ApiError(400, f"{name}: must have a time zone")
    return round(moment.timestamp() * 1000)


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
