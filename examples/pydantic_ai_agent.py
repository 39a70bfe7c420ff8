"""A Pydantic AI agent behind the governor: every model request of its run is held, and the run has a budget.

python examples/pydantic_ai_agent.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

import governor
from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

POLICY = """
version: 1
department: research
budgets:
  - {per: user, usd: 400, window: month}
  - {per: run, usd: "0.002"}
routing:
  lines: {haiku: claude-haiku-5-5}
  when_contended: {max_wait: 0}
"""
LOOK_UP = {"type": "tool_use", "id": "toolu_1", "name": "stock", "input": {"item": "paper"}}


def stock(item: str) -> str:
    """How much of an item there is."""
    return f"12 boxes of {item}"


def main() -> None:
    """One run that asks a tool, one streamed, and one that its budget ends; and what they all cost."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        policy, ledger = Path(folder, "research.yaml"), f"sqlite:///{folder}/governor.db"
        policy.write_text(POLICY, encoding="utf-8")
        receipts = asyncio.run(runs(api, policy, ledger))
        print(f"all together {cost(receipts)}; the API billed {governor.Money(api.billed_nanos)}")


async def runs(api: FakeClaude, policy: Path, ledger: str) -> list[governor.Receipt]:
    """The agent as it was before, but for the middleware of its client."""
    async with (
        governor.AsyncGovernor.load(policy, ledger=ledger) as gov,
        api.async_client(middleware=[gov.middleware(department="research")]) as client,
    ):
        provider = AnthropicProvider(anthropic_client=client)
        model = AnthropicModel("claude-haiku-5-5", provider=provider, settings={"max_tokens": 500})
        agent = Agent(model, tools=[stock])
        return [*await look_up(agent, api), *await stream(agent, api), *await run_away(agent, api)]


async def look_up(agent: Agent, api: FakeClaude) -> list[governor.Receipt]:
    """Two requests: the model asks for the tool, then answers."""
    api.next(Reply(content=[LOOK_UP], stop_reason="tool_use"), Reply("There are 12 boxes."))
    with governor.attribute(user="ada@example.com", run="stock-1") as work:
        result = await agent.run("How much paper is left?")
    print(f"{result.output} {len(work.receipts)} requests, {cost(work.receipts)}")
    return list(work.receipts)


async def stream(agent: Agent, api: FakeClaude) -> list[governor.Receipt]:
    """A streamed run, one request."""
    api.next(Reply("Order ten more boxes."))
    with governor.attribute(user="ada@example.com", run="stock-2") as work:
        async with agent.run_stream("What should we order?") as answer:
            said = [text async for text in answer.stream_text(delta=True)]
    print(f"{''.join(said)} {len(work.receipts)} request, {cost(work.receipts)}")
    return list(work.receipts)


async def run_away(agent: Agent, api: FakeClaude) -> list[governor.Receipt]:
    """A model that asks for its tool again and again: the run's budget ends it."""
    api.replies(Reply(content=[LOOK_UP], stop_reason="tool_use", output_tokens=400))
    with governor.attribute(user="ada@example.com", run="stock-3") as work:
        try:
            await agent.run("How much paper is left?")
        except governor.BudgetExceeded as refusal:
            print(f"ended after {len(work.receipts)} requests, {cost(work.receipts)}: {refusal}")
    return list(work.receipts)


def cost(receipts: Iterable[governor.Receipt]) -> governor.Money:
    """What they cost together."""
    return sum((receipt.cost for receipt in receipts), governor.Money(0))


if __name__ == "__main__":
    main()
