"""Existing code, governed unchanged: the middleware in the SDK's own client. No key, no server, no cost.

python examples/middleware.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import governor
from governor.testing import FakeClaude, Reply, overloaded

if TYPE_CHECKING:
    import anthropic

POLICIES = Path(__file__).resolve().parent.parent / "policies"


def review(client: anthropic.Anthropic, diff: str) -> str:
    """Somebody's code as it was before: it knows nothing of budgets."""
    with client.messages.stream(
        model="claude-opus-5-5", max_tokens=1024, messages=[{"role": "user", "content": diff}]
    ) as stream:
        return "".join(stream.text_stream)


def main() -> None:
    """Put the governor into the client's chain, and say whose requests they are."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        gov = governor.Governor.load(POLICIES, ledger=f"sqlite:///{folder}/governor.db")
        with gov, api.client(middleware=[gov.middleware()]) as client:
            api.replies(Reply("Log the exception on line 12, or let it rise."))
            with governor.attribute(
                user="ada@example.com", department="engineering", feature="code_review", run="pr-1423"
            ) as work:
                print(review(client, "The diff …"))
                api.inject(overloaded())  # the SDK tries again; each attempt is held by itself
                print(review(client, "The diff, once more …"))
            for receipt in work.receipts:
                print(f"{receipt.request_id}: {receipt.model}, {receipt.cost} of {receipt.ceiling} held")
            try:
                review(client, "Whose is this?")
            except governor.PolicyViolation as refusal:
                print(f"refused: {refusal}")


if __name__ == "__main__":
    main()
