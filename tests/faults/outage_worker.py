"""One process that calls when it is told to.

Run as `outage_worker.py POLICIES LEDGER API_URL SPOOL CALLS sync|async`. For each line read it makes CALLS
calls, one after the other, and prints what was decided of each: its outcome, or `refused`. It never closes
its governor: the end of the input ends it as a crash would.
"""

from __future__ import annotations

import asyncio
import os
import sys

import anthropic

from governor import AsyncGovernor, Governor, LedgerUnavailable

REQUEST = {
    "user": "u",
    "department": "team",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello, Claude"}],
}


def main() -> None:
    """Serve lines until there are none."""
    policies, ledger, url, spool, calls, way = sys.argv[1:]
    options = {"ledger": ledger, "spool": spool}
    loop = asyncio.new_event_loop()
    if way == "async":
        client = anthropic.AsyncAnthropic(base_url=url, api_key="fake-key")
        governor = AsyncGovernor.load(policies, client=client, **options)

        def call():
            return loop.run_until_complete(governor.call(**REQUEST))
    else:
        governor = Governor.load(
            policies, client=anthropic.Anthropic(base_url=url, api_key="fake-key"), **options
        )

        def call():
            return governor.call(**REQUEST)

    for _ in sys.stdin:
        told = []
        for _number in range(int(calls)):
            try:
                told.append(call().receipt.decision.outcome)
            except LedgerUnavailable:
                told.append("refused")
        sys.stdout.write(" ".join(told) + "\n")
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
