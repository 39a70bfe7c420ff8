"""When the API bears a tenth of what its callers want: what the governor makes of it, beside the bare SDK.

200 callers for 60 s, in the deep profile; test_traffic_storms.py plays them in virtual time. Counts are
compared, and no times.
"""

from __future__ import annotations

import asyncio
import sys

import pytest
from support.governed import SONNET
from support.storm import Storm, bare, governed, write_policies

STORM = Storm()


@pytest.fixture(scope="module")
def unaided():
    """What the SDK alone achieves, with its default retries: measured once, first."""
    with STORM.api() as api:
        seen = asyncio.run(bare(STORM, api, SONNET))
    sys.stdout.write(f"bare SDK: {seen.report(STORM)}\n")  # shown by `pytest -rP`
    return seen


ARMS = [
    pytest.param({"model": "auto"}, id="auto", marks=pytest.mark.deep),
    pytest.param({"model": SONNET}, id="named", marks=pytest.mark.deep),
]


@pytest.mark.parametrize("request_for", ARMS)
def test_a_storm_is_better_weathered_together(unaided, request_for, redis_server, org, tmp_path):
    """As many answers with half the requests, no user starved, and the ledger equal to the bill."""
    seen, broken = _governed(request_for, redis_server, org, tmp_path, unaided)
    assert seen.total >= unaided.total
    assert broken == []


@pytest.mark.deep
def test_pinned_calls_wait_out_what_others_move_on_from(unaided, redis_server, org, tmp_path):
    """Pinned, each 529 is waited out for 30 to 60 s, so fewer answers come; the rest holds all the same."""
    _, broken = _governed({"model": SONNET, "pin": True}, redis_server, org, tmp_path, unaided)
    assert broken == []


def _governed(request_for, redis_server, org, folder, unaided):
    """What the governor achieves, and which promises of every call it broke."""
    policies = write_policies(folder, org)
    with STORM.api() as api:
        seen, books = asyncio.run(governed(STORM, api, policies, redis_server.url, org, **request_for))
    sys.stdout.write(f"governed: {seen.report(STORM)}\n")
    users = set(STORM.people())
    poorest = min(seen.successes[user] for user in users)
    promised = {
        "half the requests": seen.requests * 2 <= unaided.requests,
        "nobody below half of the mean": poorest * 2 * len(users) >= seen.total,
        "the ledger is the bill": (books.posted, books.open_holds) == (books.billed, 0),
    }
    return seen, [what for what, holds in promised.items() if not holds]
