"""Many calls at once from four processes: the limit holds, and all of it can be used.

Two hundred of them; a thousand in the deep profile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

from support.governed import SONNET, department, usd
from support.stages import blocking

from governor.testing import Reply

WORKER = Path(__file__).with_name("load_worker.py")
DEEP = os.environ.get("GOVERNOR_TEST_PROFILE") == "deep"
PROCESSES, TASKS = 4, 250 if DEEP else 50
CEILING = 10_166_000
"""Of the workers' request on Sonnet, in nano-dollars."""
LIMIT = 5 * TASKS * CEILING
"""So that one ceiling is at most 0.4 % of the limit, and four fifths of the limit can be held at once."""


def some_tokens(body):
    """An answer of 600 to 1000 tokens, the same for the same body."""
    return Reply(output_tokens=600 + zlib.crc32(repr(body).encode()) % 401)


@blocking
def test_a_limit_holds_under_load_and_is_used_to_its_end(stage):
    """The bill never passes the limit; when the first call is told `exceeded`, 99 % of it is spent.

    And whoever is refused earlier is told `contended`, with numbers that say so; nothing is left open.
    """
    stage.clock = None
    budget = {"per": "department", "usd": usd(LIMIT), "window": "life"}
    stage.write(department(budget, timeout=60, routing={"lines": {"sonnet": SONNET}, **WAIT}))
    stage.api.replies(some_tokens)
    command = [sys.executable, str(WORKER), str(stage.policies), stage.url, stage.api.url, str(TASKS)]
    environment = {**os.environ, "NO_PROXY": "*"}
    workers = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    told = [json.loads(worker.communicate(timeout=600)[0]) for worker in workers]
    served, contended, exceeded = (
        [row for one in told for row in one[kind]] for kind in ("served", "contended", "exceeded")
    )
    bill = stage.api.billed_nanos
    first = min(posted for posted, *_ in exceeded)
    sys.stdout.write(  # shown by `pytest -rP`
        f"{len(served)} served, {len(contended)} contended; {first / LIMIT:.2%} spent at the first refusal, "
        f"{bill / LIMIT:.2%} in the end\n"
    )
    assert bill <= LIMIT
    assert first >= LIMIT * 99 // 100
    assert len(exceeded) == PROCESSES * TASKS
    assert len(stage.api.bill) == len(served)
    assert {limit for _, _, limit, _ in [*exceeded, *contended]} == {LIMIT}
    for posted, _, limit, needed in exceeded:
        assert posted + needed > limit
    for posted, held, limit, needed in contended:
        assert posted + needed <= limit < posted + held + needed
    assert [row for row in served if row[0] > row[1] or not row[2]] == []
    assert stage.posted() == bill == sum(cost for cost, *_ in served)
    assert stage.balances()["department=team/usd/life"].held == 0
    assert stage.holds() == ()


WAIT = {"when_contended": {"max_wait": 0.5}}
