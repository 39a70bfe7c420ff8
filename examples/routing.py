"""See where `auto` goes: by how hard a request is, by tier, on an overload, and as a conversation goes on.

python examples/routing.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import governor
from governor.testing import FakeClaude, overloaded

POLICY = """
version: 1
department: research
budgets:
  - {per: user, usd: 400, window: month}
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}
  complexity: {haiku: "<3", sonnet: "3-7", opus: ">7"}
  floors: {sonnet: 50, opus: 200}
  tiers:
    standard: {prefer: sonnet, context: 100000, timeout: 30, retries: 2}
    economy:  {prefer: haiku,  context: 50000,  timeout: 15, retries: 1}
  choose:
    - {when: "budget > 90% or load > 85%", tier: economy}
    - {tier: standard}
  defer: {when: "budget >= 0%"}
"""
QUESTION = "Say hello in one word."
WORK = "Explain to a new colleague what this function does, and fix its handling of an empty list."
PROOF = "Prove, step by step, that this queue cannot deadlock, and compare the trade-offs of two designs."


def main() -> None:
    """Ask six times, and print which model served and why."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "research.yaml")
        policy.write_text(POLICY, encoding="utf-8")
        ledger = f"sqlite:///{folder}/governor.db"
        with governor.Governor.load(policy, ledger=ledger, client=api.client()) as gov:
            ask(gov, QUESTION)
            ask(gov, WORK)
            ask(gov, PROOF)
            ask(gov, PROOF, tier="economy")
            api.inject(overloaded())
            ask(gov, PROOF, run="review-7")  # Opus is overloaded: the call goes on with Sonnet
            ask(gov, PROOF, run="review-7")  # and its conversation stays there
            ask(gov, WORK, deferrable=True)


def ask(gov: governor.Governor, text: str, **how: str | bool) -> None:
    """Make one call, and say where it went."""
    try:
        message = gov.call(
            user="ada@example.com",
            department="research",
            max_tokens=500,
            messages=[{"role": "user", "content": text}],
            **how,
        )
    except governor.Deferred as offer:
        print(f"for the Batches API: up to {offer.ceiling}, and {offer.ceiling_now} if it were sent now")
        return
    receipt = message.receipt
    print(f"{receipt.model}, {receipt.cost}: {receipt.decision.reason}")


if __name__ == "__main__":
    main()
