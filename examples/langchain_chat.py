"""LangChain's ChatAnthropic behind the governor: blocking, streamed and async, without touching the chains.

python examples/langchain_chat.py
"""

from __future__ import annotations

import asyncio
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_anthropic import ChatAnthropic
from langchain_core.prompts import ChatPromptTemplate
from pydantic import Field

import governor
from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    import anthropic

POLICY = """
version: 1
department: support
budgets:
  - {per: department, usd: 3000, window: month}
  - {per: user, usd: "0.001", window: day}
routing:
  lines: {haiku: claude-haiku-5-5}
  when_contended: {max_wait: 0}
"""
PROMPT = ChatPromptTemplate.from_template("Urgent, normal or later? {ticket}")


if not {"_client", "_async_client"} <= vars(ChatAnthropic).keys():
    raise ImportError("this langchain-anthropic makes its clients elsewhere: nothing would govern them")


class GovernedChat(ChatAnthropic):
    """ChatAnthropic takes neither a client nor middleware, so this adds both to the clients it makes."""

    middleware: Any = Field(default=None, exclude=True)
    async_middleware: Any = Field(default=None, exclude=True)

    @cached_property
    def _client(self) -> anthropic.Anthropic:
        return super()._client.with_middleware(self.middleware)

    @cached_property
    def _async_client(self) -> anthropic.AsyncAnthropic:
        return super()._async_client.with_middleware(self.async_middleware)


def main() -> None:
    """A chain invoked and streamed, a refusal, the same on an event loop; and what it all cost."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        api.replies(Reply("urgent"))
        policy, ledger = Path(folder, "support.yaml"), f"sqlite:///{folder}/governor.db"
        policy.write_text(POLICY, encoding="utf-8")
        with governor.Governor.load(policy, ledger=ledger) as gov:
            llm = GovernedChat(
                model="claude-haiku-5-5",
                max_tokens=100,
                base_url=api.url,
                api_key=api.api_key,
                middleware=gov.middleware(department="support"),
            )
            with governor.attribute(user="grace@example.com", feature="triage") as work:
                triage(llm)
                refused(llm)
        receipts = [*work.receipts, *asyncio.run(triage_async(api, policy, ledger))]
        for receipt in receipts:
            print(f"  {receipt.model} {receipt.cost}")
        total = sum((receipt.cost for receipt in receipts), governor.Money(0))
        print(f"all together {total}; the API billed {governor.Money(api.billed_nanos)}")


def triage(llm: ChatAnthropic) -> None:
    """What was there before: a chain, invoked and streamed."""
    chain = PROMPT | llm
    print("invoke:", chain.invoke({"ticket": "Printer on fire"}).text)
    print("batch:", [answer.text for answer in chain.batch([{"ticket": "New laptop?"}, {"ticket": "Hello"}])])
    print("stream:", "".join(chunk.text for chunk in chain.stream({"ticket": "Lost my badge"})))


def refused(llm: ChatAnthropic) -> None:
    """The governor's refusals come out of the chain as they are; nothing was sent."""
    try:
        llm.invoke("Write a book about printers", max_tokens=20_000)
    except governor.BudgetExceeded as refusal:
        print("refused:", refusal)


async def triage_async(api: FakeClaude, policy: Path, ledger: str) -> list[governor.Receipt]:
    """The same model on an event loop, with the async governor of the same policy and ledger."""
    async with governor.AsyncGovernor.load(policy, ledger=ledger) as gov:
        llm = GovernedChat(
            model="claude-haiku-5-5",
            max_tokens=100,
            base_url=api.url,
            api_key=api.api_key,
            async_middleware=gov.middleware(department="support"),
        )
        with governor.attribute(user="grace@example.com", feature="triage") as work:
            answer = await (PROMPT | llm).ainvoke({"ticket": "VPN is slow"})
            streamed = [chunk.text async for chunk in llm.astream("Coffee machine is down")]
        print("ainvoke:", answer.text)
        print("astream:", "".join(streamed))
        return list(work.receipts)


if __name__ == "__main__":
    main()
