"""What choosing costs: planning a turn of a long conversation against the SDK's own work for that call.

The yardstick is the CPU time of this process for `messages.create` that streams the same conversation's turn
from the fake API, which is a process of its own. Planning (`prepare`, without the network and the ledger) is
measured under a policy that chooses by budget, load, complexity and conversation, and under one that has the
same budgets and lines and chooses nothing; the difference is what choosing adds. All take turns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import anthropic

from benchmarks.api_process import API_KEY, fake_api
from benchmarks.scene import house
from benchmarks.timing import Options, Result, Series, Step, micros
from governor.clients.request import make_request
from governor.ledger import commands as c
from governor.ledger.commands import Balance
from governor.story.planning import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.story.request import House, Plan, Request

TURNS, BLOCK = 40, 10
CONVERSATION_TURNS = 20
PROMPT_TOKENS = 9_000
MODEL = "claude-opus-5-5"
SDK = "messages.create, streamed"
SENTENCE = "Review this diff and say what could go wrong with it. "
_COLUMNS = ("", "CPU p50", "added", "of the SDK's")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, and what it is compared with: its name, or ''."""

    name: str
    work: Callable[[], Any]
    without: str = ""
    measured: Series = field(default_factory=Series)


def steps(options: Options) -> int:
    """How many steps `choosing` will tell."""
    return options.times(TURNS)


def conversation() -> list[dict[str, Any]]:
    """Twenty questions and the answers to all but the last."""
    messages: list[dict[str, Any]] = []
    for number in range(CONVERSATION_TURNS):
        messages.append({"role": "user", "content": f"{number}. {SENTENCE * 20}"})
        messages.append({"role": "assistant", "content": f"{number}. {SENTENCE * 10}"})
    return messages[:-1]


def choosing(options: Options, step: Step) -> Result:
    """Every side in turns; a CPU figure is the median of blocks."""
    with fake_api() as url:
        transport = anthropic.DefaultHttpxClient(trust_env=False)
        client = anthropic.Anthropic(base_url=url, api_key=API_KEY, max_retries=0, http_client=transport)
        cases = _cases(client)
        for number in range(steps(options) + 1):
            for case in cases:
                for _ in range(BLOCK):
                    if number:
                        case.measured.timed(case.work)
                    else:
                        case.work()
            if number:
                step()
        client.close()
    return _result(cases)


def _cases(client: anthropic.Anthropic) -> list[Case]:
    messages, at_home = conversation(), house()

    create: Any = client.messages.create

    def sent() -> None:
        with create(model=MODEL, max_tokens=1024, messages=messages, stream=True) as events:
            for _ in events:
                pass

    cases = [Case(SDK, sent)]
    for how, run in (("with a run", "pr-1"), ("without a run", None)):
        bare = f"planning {how}, nothing chosen"
        cases.append(Case(bare, _planning(at_home, _request("unrouted", run, messages))))
        planning = _planning(at_home, _request("routed", run, messages))
        cases.append(Case(f"planning {how}, all chosen", planning, bare))
    return cases


def _request(department: str, run: str | None, messages: list[dict[str, Any]]) -> Request:
    return make_request(
        user="ada@example.com",
        department=department,
        feature=None,
        run=run,
        tags=None,
        priority=None,
        model="auto",
        max_tokens=1024,
        pin=False,
        request_id=None,
        params={"messages": messages},
    )


def _planning(at_home: House, request: Request) -> Callable[[], Plan]:
    """Planning *request*, which goes on a conversation that the governor knows."""
    plan = _planned(at_home, request)
    now_ms, asked = at_home.clock.now_ms(), (request.asked, request.tier)
    usage = {"cache_read_input_tokens": PROMPT_TOKENS - 500, "output_tokens": 300}
    at_home.conversations.note(request.who, request.body, asked, plan.offers[0].candidate, usage, now_ms)
    return lambda: _planned(at_home, request)


def _planned(at_home: House, request: Request) -> Plan:
    story = prepare(at_home, request)
    try:
        effect = next(story)
        while True:
            effect = story.send(_answer(at_home, effect))
    except StopIteration as done:
        plan: Plan = done.value
        return plan


def _answer(at_home: House, effect: Any) -> Any:
    """What the ledger or the API says: every budget is spent by a fifth."""
    if isinstance(effect, c.Read):
        balances = tuple(Balance(row.limit // 5, 0, row.limit, None) for row in effect.budgets)
        return c.Readings(balances, at_home.clock.now_ms())
    return PROMPT_TOKENS


def _result(cases: list[Case]) -> Result:
    blocks = {case.name: _blocks(case.measured) for case in cases}
    count = len(cases[0].measured.cpu_s)
    title = f"Choosing a model for turn {CONVERSATION_TURNS} of a conversation, n = {count}"
    result = Result(title, _COLUMNS)
    for case in cases:
        mine = blocks[case.name]
        result.figures[f"{case.name}.cpu_s"] = median(mine)
        if not case.without:
            share = "" if case.name == SDK else f"{median(mine) / median(blocks[SDK]):.1%}"
            result.rows.append((case.name, micros(median(mine)), "", share))
            continue
        turns = zip(mine, blocks[case.without], blocks[SDK], strict=True)
        added = [(one - bare, (one - bare) / sdk) for one, bare, sdk in turns]
        added_s, ratio = median(each for each, _ in added), median(share for _, share in added)
        result.rows.append((case.name, micros(median(mine)), micros(added_s), f"{ratio:.1%}"))
        result.figures |= {f"{case.name}.added_s": added_s, f"{case.name}.added_ratio": ratio}
    return result


def _blocks(series: Series) -> list[float]:
    return [series.cpu_of_block_s(number, BLOCK) for number in range(len(series.cpu_s) // BLOCK)]
