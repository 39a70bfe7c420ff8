"""The fake API's usage and cost figures: whose key, which rows, which pages, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import anthropic
import pytest

from governor.testing import FakeClaude, status_error

COST, USAGE = "/v1/organizations/analytics/cost", "/v1/organizations/analytics/usage"
BETA = {"anthropic-beta": "analytics-usage-cost-2026-08-24"}
RANGE = {
    "starting_at": "2026-11-10T00:00:00Z",
    "ending_at": "2026-11-12T00:00:00Z",
    "time_bucket_width": "1d",
}
HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"


def ms(day: int) -> int:
    return int(datetime(2026, 11, day, 12, tzinfo=UTC).timestamp() * 1000)


def ask(api: FakeClaude, path: str = COST, headers: Any = None, key: str = "", **query: Any) -> Any:
    """One page, as JSON."""
    client = api.client(api_key=key or api.organization.admin_key, max_retries=0)
    asked = urlencode({**RANGE, **query}, doseq=True)
    return client.get(
        f"{path}?{asked}", cast_to=object, options={"headers": BETA if headers is None else headers}
    )


@pytest.fixture
def api():
    with FakeClaude(now_ms=lambda: ms(11)) as fake:
        fake.client().messages.create(
            model=HAIKU, max_tokens=9, messages=[{"role": "user", "content": "Hello"}]
        )
        usage = {"input_tokens": 100, "output_tokens": 7, "cache_read_input_tokens": 3}
        fake.organization.spend(OPUS, usage, at_ms=ms(10), workspace_id="wrkspc_a")
        fake.organization.spend(OPUS, usage, at_ms=ms(9))
        yield fake


def test_the_figures_are_the_bills(api):
    """Without dimensions there is one row a day: what was billed and what was added, at list price."""
    rows = ask(api)["data"]
    assert [row["starting_at"] for row in rows] == ["2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z"]
    assert rows[0]["cost"]["requests"] == 1
    assert float(rows[1]["cost"]["list_amount"]) * 10**7 == pytest.approx(api.billed_nanos)
    usage = ask(api, USAGE)["data"][0]["usage"]
    assert (usage["uncached_input_tokens"], usage["output_tokens"]) == (100, 7)
    assert (usage["cache_read_input_tokens"], usage["total_tokens"]) == (3, 110)


def test_rows_by_dimension_and_workspace(api):
    """Each dimension that is asked for splits the rows; a filter leaves the others out."""
    by = {"group_by[]": ["model", "api_key_id"]}
    assert [row["group"]["api_key_id"] for row in ask(api, **by)["data"]] == ["apikey_other", "apikey_fake"]
    (row,) = ask(api, **by, **{"workspace_ids[]": "wrkspc_a"})["data"]
    assert (row["group"]["model"], row["group"]["workspace_id"]) == (OPUS, None)


def test_a_discount_is_in_one_of_the_amounts(api):
    """The amount is what is paid, the list amount what it would have been."""
    api.organization.discount_bp = 2500
    cost = ask(api)["data"][0]["cost"]
    assert float(cost["amount"]) == pytest.approx(0.75 * float(cost["list_amount"]))


def test_pages(api):
    """As many rows as were asked for, and a cursor for the rest; each page tells when it was refreshed."""
    api.organization.refreshed_ms = ms(12)
    first = ask(api, limit=1)
    second = ask(api, limit=1, page=first["next_page"])
    assert (first["has_more"], second["has_more"], second["next_page"]) == (True, False, None)
    assert first["data"] + second["data"] == ask(api)["data"]
    assert second["data_refreshed_at"] == "2026-11-12T12:00:00Z"
    api.organization.break_page(2, status_error(503))
    ask(api, limit=1)
    with pytest.raises(anthropic.APIStatusError) as error:
        ask(api, limit=1, page=2)
    assert error.value.status_code == 503
    api.organization.break_page(2, None)
    assert ask(api, limit=1, page=2) == second


def test_keys(api):
    """An admin key is for figures alone, and the key for messages is not for them."""
    for key, refused in (
        ("fake-key", anthropic.PermissionDeniedError),
        ("none", anthropic.AuthenticationError),
    ):
        with pytest.raises(refused):
            ask(api, key=key)
    with pytest.raises(anthropic.AuthenticationError):
        api.client(api_key=api.organization.admin_key).messages.create(
            model=HAIKU, max_tokens=9, messages=[{"role": "user", "content": "Hello"}]
        )


@pytest.mark.parametrize(
    "query",
    [
        {"time_bucket_width": "1h"},
        {"ending_at": "2026-12-12T00:00:00Z"},
        {"ending_at": "2026-11-10T00:00:00Z"},
        {"starting_at": "2026-11-10T00:00:00"},
        {"starting_at": "yesterday"},
        {"group_by[]": "actor"},
        {"limit": "0"},
        {"limit": "1001"},
        {"page": "last"},
        {"group_by": "model"},
        {"headers": {}},
    ],
    ids=str,
)
def test_what_is_refused(api, query):
    """What the API refuses, and what this fake does not know, is answered 400 and names the parameter."""
    with pytest.raises(anthropic.BadRequestError) as error:
        ask(api, **query)
    name = next(iter(query)).removesuffix("[]")
    assert ("anthropic-beta" if name == "headers" else name) in str(error.value) or name == "starting_at"


def test_reset_forgets_spend_and_settings(api):
    """After a reset there are no figures, and no page is broken."""
    api.organization.break_page(1, status_error(500))
    api.organization.discount_bp = 100
    api.reset()
    assert ask(api)["data"] == []
    assert api.organization.discount_bp == 0
