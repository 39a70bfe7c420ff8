"""What a refusal tells, and what to do with it.

python examples/handling_refusals.py
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import governor
from governor.testing import FakeClaude, Reply

POLICY = """
version: 1
department: research
timezone: Europe/Berlin
budgets:
  - {per: user, usd: 0.10, window: day}
  - {per: user, concurrent: 1}
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}
  when_contended: {max_wait: 0}
"""
REQUEST: dict[str, Any] = {
    "user": "ada@example.com",
    "department": "research",
    "messages": [{"role": "user", "content": "Explain this stack trace."}],
}


def main() -> None:
    """Meet each refusal once."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "research.yaml")
        policy.write_text(POLICY, encoding="utf-8")
        ledger = f"sqlite:///{folder}/governor.db"
        with governor.Governor.load(policy, ledger=ledger, client=api.client()) as gov:
            violation(gov)
            contended(gov, api)
            exceeded(gov, api)


def violation(gov: governor.Governor) -> None:
    """The policy forbids it whatever the balances: a mistake to mend, never to retry."""
    try:
        gov.call(**{**REQUEST, "department": "reserach"}, max_tokens=100)
    except governor.PolicyViolation as refused:
        print(f"PolicyViolation\n  {refused}")


def contended(gov: governor.Governor, api: FakeClaude) -> None:
    """The budget is only held, here by a slow call of the same user: try again a little later."""
    api.next(Reply(delay_ms=300))
    slow = threading.Thread(target=gov.call, kwargs={**REQUEST, "max_tokens": 100})
    slow.start()
    while not any(request.path == "/v1/messages" for request in api.requests):
        time.sleep(0.01)
    try:
        gov.call(**REQUEST, max_tokens=100)
    except governor.BudgetContended as refused:
        print(f"BudgetContended\n  {refused}\n  retry_after: {refused.retry_after} s")
    slow.join()


def exceeded(gov: governor.Governor, api: FakeClaude) -> None:
    """The money is spent: ask for less, take a cheaper model, or wait for the window to end."""
    api.replies(output_tokens=2000)
    try:
        while True:
            gov.call(**REQUEST, model="sonnet", pin=True, max_tokens=2000)
    except governor.BudgetExceeded as refused:
        print(f"BudgetExceeded\n  {refused}")
        print(f"  budget: {refused.budget}")
        print(f"  resets_at: {refused.resets_at}")
        print(f"  affordable_max_tokens: {refused.affordable_max_tokens}")
        print(f"  cheapest_model: {refused.cheapest_model}")
        message = gov.call(**REQUEST, model=refused.cheapest_model or "haiku", max_tokens=2000)
        print(f"  went on with {message.receipt.model} for {message.receipt.cost}")


if __name__ == "__main__":
    main()
