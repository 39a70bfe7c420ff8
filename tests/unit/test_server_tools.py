"""Tools that run at the API: their bounds; and no answer costs more than the ceiling, however it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from anthropic import BaseModel
from hypothesis import event, given
from hypothesis import strategies as st
from support.fixed_api import CODE, FETCH, FIND, SEARCH

from governor.pricing import (
    Bounds,
    PriceTable,
    Unbounded,
    bounded,
    ceiling,
    cost_nanos,
    read_usage,
)

TABLE = PriceTable.load()
NOW_MS = 1_795_219_200_000  # 2026-11-21
HELLO = [{"role": "user", "content": "hello"}]
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5-5"}
MINE = {"name": "mine", "input_schema": {}}


def ceiling_of(*tools: Any, model: str = "claude-opus-5-5", tokens: int = 10_000, **more: Any):
    """The ceiling of a request with these tools, as the policy's *bounds* leave it."""
    bounds = more.pop("bounds", Bounds())
    body = bounded({"max_tokens": 1_000, "messages": HELLO, "tools": list(tools), **more}, bounds)
    return ceiling(TABLE, model, input_tokens=tokens, counted=False, body=body, at_ms=NOW_MS, bounds=bounds)


class Definition(BaseModel):
    """A tool as an object of the SDK."""


# The policy's bound in the request.


@pytest.mark.parametrize(
    ("tool", "policy", "sent"),
    [
        (SEARCH, 5, {**SEARCH, "max_uses": 5}),
        ({**SEARCH, "max_uses": None}, 5, {**SEARCH, "max_uses": 5}),
        ({**FETCH, "max_uses": 2}, 5, {**FETCH, "max_uses": 2}),
        ({**ADVISOR, "max_uses": 9}, 5, {**ADVISOR, "max_uses": 5}),
        ({**SEARCH, "max_uses": 9}, None, {**SEARCH, "max_uses": 9}),
        (FIND, 5, FIND),
        (MINE, 5, MINE),
        ({"type": "bash_20250124", "name": "bash"}, 5, {"type": "bash_20250124", "name": "bash"}),
        (Definition.model_construct(None, **SEARCH), 5, {**SEARCH, "max_uses": 5}),
    ],
)
def test_the_policys_number_is_put_into_tools_that_take_one(tool, policy, sent):
    """The smaller number is sent, and other tools are left alone."""
    body = {"messages": HELLO, "tools": [tool]}
    assert bounded(body, Bounds(tool_uses=policy))["tools"] == [sent]
    assert body["tools"] == [tool]


def test_what_stays_without_a_bound_is_refused_before_anything_is_asked():
    """A `max_uses` that is no number, and code execution alone, are refused before a prompt is counted."""
    for tool in ({**SEARCH, "max_uses": "many"}, CODE):
        with pytest.raises(Unbounded):
            bounded({"messages": HELLO, "tools": [tool]}, Bounds(tool_uses=5))
    beside = {"messages": HELLO, "tools": [{**SEARCH, "max_uses": 5}, CODE]}
    assert bounded(beside, Bounds(tool_uses=5)) == beside


def test_a_request_without_server_tools_is_left_as_it_is():
    """Nothing is added where nothing runs at the API."""
    body = {"messages": HELLO, "tools": []}
    assert bounded(body, Bounds(tool_uses=5)) == body


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        (SEARCH, "no `max_uses`.*tool_uses: 5"),
        ({**FETCH, "max_uses": 0}, "a `max_uses` of 0"),
        ({**FETCH, "max_uses": True}, "a `max_uses` of True"),
        (ADVISOR, "no `max_uses`"),
        (FIND, "as often as the model likes.*tool_uses: 5"),
        ({"type": "mcp_toolset", "mcp_server_name": "m"}, "as often as the model likes"),
        ({"type": "teleport_20270101", "name": "t"}, "what it costs is not known"),
        ({**ADVISOR, "model": None, "max_uses": 1}, "name a model"),
        ({**ADVISOR, "max_tokens": -1, "max_uses": 1}, "give a whole number"),
    ],
)
def test_a_tool_without_a_bound_is_refused_with_what_to_do(tool, told):
    """Whatever may run as often as it likes is named, and so is the place for a number."""
    with pytest.raises(Unbounded, match=told):
        ceiling_of(tool)


def test_code_execution_alone_is_refused():
    """Alone its container is billed by the hour, which no usage reports; beside new web tools it is free."""
    bounds = Bounds(tool_uses=2)
    for beside in ((), ({**SEARCH, "type": "web_search_20250305"},)):
        with pytest.raises(Unbounded, match="alone is billed by the hour"):
            ceiling_of(CODE, *beside, bounds=bounds)
    assert ceiling_of(CODE, FETCH, bounds=bounds).nanos == ceiling_of(FIND, FETCH, bounds=bounds).nanos


# The ceiling by hand.


def test_each_pass_reads_the_results_before_it():
    """Two uses: the prompt, then with the output, one error and one and two results, and once more."""
    got = ceiling_of({**FETCH, "max_uses": 2})
    grown = 10_000 + 1_000 + 256
    prompts = [10_000, grown + 25_000, grown + 50_000, grown + 50_000]
    assert (got.tokens, got.input_tokens) == (sum(prompts) + 1_000, 10_000)
    assert got.nanos == sum(prompts) * 4_000 + 1_000 * 20_000


def test_a_search_has_a_fee_and_a_fetch_has_none():
    """A search's fee is $0.01 each, on top of what it brings."""
    searching, fetching = ceiling_of({**SEARCH, "max_uses": 3}), ceiling_of({**FETCH, "max_uses": 3})
    assert searching.nanos - fetching.nanos == 3 * 10_000_000
    assert searching.tokens == fetching.tokens


def test_results_are_as_large_as_the_policy_says():
    """A smaller `tool_result_tokens` makes a smaller hold: three of four passes, with 1 + 2 + 2 results."""
    small = ceiling_of({**FETCH, "max_uses": 2}, bounds=Bounds(tool_result_tokens=1_000))
    assert ceiling_of({**FETCH, "max_uses": 2}).tokens - small.tokens == 5 * 24_000


def test_no_pass_exceeds_the_context_window():
    """However much the results bring, a pass is at most the window; strict takes it for every one."""
    tool = {**FETCH, "max_uses": 3}
    huge = ceiling_of(tool, model="claude-haiku-4-5", bounds=Bounds(tool_result_tokens=10**6))
    assert huge.tokens == 10_000 + 4 * 200_000 + 1_000
    strict = ceiling_of(tool, model="claude-haiku-4-5", bounds=Bounds(strict=True))
    assert strict.tokens == 5 * 200_000 + 5 * 1_000


def test_the_prices_above_a_step_count_once_all_passes_may_exceed_it():
    """Totals do not tell the passes apart, so their sum decides; a single pass is below the step."""
    below = ceiling_of(model="claude-haiku-5-5", tokens=60_000)
    assert below.nanos == 60_000 * 100 + 1_000 * 500
    above = ceiling_of({**FETCH, "max_uses": 1}, model="claude-haiku-5-5", tokens=60_000)
    assert above.nanos == (above.tokens - 1_000) * 500 + 1_000 * 2_500


def test_an_advisor_is_priced_at_its_own_model():
    """Each use reads half as much again and 4,096, and answers with up to its own `max_tokens`."""
    bounds = Bounds(tool_result_tokens=1)
    tool = {**ADVISOR, "max_uses": 2, "max_tokens": 3_000}
    got = ceiling_of(tool, model="claude-haiku-4-5", bounds=bounds)
    prompts = [10_000, *(10_000 + 1_000 + 2 * 3_000 + 256 + results for results in (1, 2, 2))]
    advice = 2 * (max(prompts) * 3 // 2 + 4_096)
    assert got.tokens == sum(prompts) + 1_000 + advice + 2 * 3_000
    own = sum(prompts) * 1_000 + 1_000 * 5_000
    assert got.nanos == own + advice * 4_000 + 2 * 3_000 * 20_000


def test_an_advisor_beside_a_clouds_model_is_priced_at_its_endpoint():
    """What a regional endpoint adds is added to the advisor's tokens too, as in the cost."""
    tool = {**ADVISOR, "max_uses": 1, "max_tokens": 3_000}
    own, regional = (
        ceiling_of(tool, model=f"{region}.anthropic.claude-opus-5-5") for region in ("global", "us")
    )
    assert regional.nanos * 10 == own.nanos * 11


# No answer costs more.

MODELS = TABLE.models()
BEDROCK = [
    f"{prefix}{name}"
    for model in MODELS
    if TABLE.price_at(model.id, NOW_MS).us_gov_percent is not None
    for name in model.bedrock
    for prefix in ("", "global.", "us.", "us-gov.")
]
NAMES = [[model.id for model in MODELS], BEDROCK, [name for model in MODELS for name in model.vertex]]
ADVISORS = ("claude-opus-5-5", "claude-haiku-5-5", "claude-fable-5-1")
"""Models with and without a long-prompt step, served in every region."""
COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass
class Tool:
    """A server tool of a drawn request, and how often it may run by the request and the policy."""

    definition: dict[str, Any]
    limit: int


@st.composite
def server_tools(draw: Any, policy: int | None) -> list[Tool]:
    """Server tools with a bound: of their own, or else of the policy."""
    kinds: list[dict[str, Any]] = draw(st.lists(st.sampled_from([SEARCH, FETCH, ADVISOR]), max_size=3))
    if policy is not None:
        beside = [CODE] if SEARCH in kinds or FETCH in kinds else []
        kinds += draw(st.lists(st.sampled_from([FIND, {"type": "mcp_toolset"}, *beside]), max_size=2))
    found = []
    for kind in kinds:
        definition, limits = dict(kind), [] if policy is None else [policy]
        if kind in (SEARCH, FETCH, ADVISOR) and (policy is None or draw(st.booleans())):
            definition["max_uses"] = draw(st.integers(1, 4))
            limits.append(definition["max_uses"])
        if kind is ADVISOR:
            definition["model"] = draw(st.sampled_from(ADVISORS))
            definition |= draw(st.sampled_from([{}, {"max_tokens": 5_000}]))
            definition |= draw(st.sampled_from([{}, {"caching": {"type": "ephemeral", "ttl": "1h"}}]))
        found.append(Tool(definition, min(limits)))
    return found


@dataclass
class Asked:
    """A drawn request: the model, what the policy adds, the body, its tools and its cache lifetimes."""

    name: str
    bounds: Bounds
    body: dict[str, Any]
    tools: list[Tool]
    lifetimes: tuple[str, ...]


@st.composite
def requests(draw: Any) -> Asked:
    """Requests with everything that has a price."""
    name = draw(st.one_of(*map(st.sampled_from, NAMES)))
    model, price, where = TABLE.model(name), TABLE.price_at(name, NOW_MS), TABLE.endpoint(name)
    bounds = Bounds(
        geo=draw(st.sampled_from([None, "us", "global"])),
        endpoint=draw(st.sampled_from(["global", "regional"])) if where == "vertex" else "",
        tool_result_tokens=draw(st.integers(1, 60_000)),
        tool_uses=draw(st.sampled_from([None, 1, 3])),
        strict=draw(st.booleans()),
    )
    lifetimes = draw(st.sampled_from([(), ("5m",), ("1h",), ("1h", "5m")]))
    body: dict[str, Any] = {
        "messages": HELLO,
        "max_tokens": draw(st.integers(0, model.max_output_tokens)),
        "system": [{"type": "text", "text": "x", "cache_control": {"ttl": one}} for one in lifetimes],
        **draw(st.sampled_from([{}, {"compaction": {"type": "summarize"}}])),
    }
    pauses = draw(st.lists(st.booleans(), max_size=2))
    edits = [{"type": "compact_20260112", "pause_after_compaction": pause} for pause in pauses]
    body["context_management"] = {"edits": edits}
    if not where and price.fast and draw(st.booleans()):
        body["speed"] = "fast"
    if not where and price.us_percent and draw(st.booleans()):
        body["inference_geo"] = draw(st.sampled_from(["us", "global"]))
    tools = draw(server_tools(bounds.tool_uses))
    body["tools"] = [tool.definition for tool in tools]
    return Asked(name, bounds, body, tools, lifetimes)


class Served:
    """What the API may do with a request: every pass, as the docstring of `ceiling` bounds it.

    Args:
        draw: Hypothesis's.
        asked: The request.
        full: Take the most of everything; else anything up to it.
    """

    def __init__(self, draw: Any, asked: Asked, *, full: bool) -> None:
        self.draw, self.asked, self.full = draw, asked, full
        self.model = TABLE.model(asked.name)
        self.left = asked.body["max_tokens"]
        self.passes: list[dict[str, Any]] = []
        self.searches = 0

    def up_to(self, most: int) -> int:
        """A whole number from 0."""
        return most if self.full else int(self.draw(st.integers(0, most)))

    def run(self, prompt: int) -> None:
        """The loop: a pass, what it asked for, and so on to the pass that answers."""
        edits = self.asked.body["context_management"]["edits"]
        pauses = [edit["pause_after_compaction"] for edit in edits]
        self.summarise(prompt, ("compaction" in self.asked.body) + sum(pauses))
        for tool, failed in [*self.uses(), (None, False)]:
            self.summarise(prompt, self.up_to(len(pauses) - sum(pauses)))
            said = self.up_to(self.left)
            self.left -= 0 if self.asked.bounds.strict else said
            self.add("message", prompt, said, self.asked.lifetimes)
            prompt = min(prompt + said, self.model.context_tokens)
            grown = 0 if tool is None else self.result(tool, prompt, failed=failed)
            prompt = min(prompt + grown, self.model.context_tokens)

    def uses(self) -> list[tuple[Tool, bool]]:
        """Uses and attempts beyond the limit, in any order; the attempts last where the most is taken."""
        found, failing = [], []
        for tool in self.asked.tools:
            ran = self.up_to(tool.limit)
            found += [(tool, False)] * ran
            failing += [(tool, True)] * (self.up_to(1) if ran == tool.limit else 0)
        return [*found, *failing] if self.full else self.draw(st.permutations([*found, *failing]))

    def result(self, tool: Tool, prompt: int, *, failed: bool) -> int:
        """Tokens that a use brings into the prompt."""
        if failed:
            return self.up_to(256)
        if tool.definition["type"].startswith("advisor_"):
            return self.advise(tool.definition, prompt)
        self.searches += tool.definition["type"].startswith("web_search_")
        bounds = self.asked.bounds
        return self.up_to(self.model.context_tokens if bounds.strict else bounds.tool_result_tokens)

    def advise(self, definition: dict[str, Any], prompt: int) -> int:
        """An advisor reads the request so far, in 30 % more tokens and after its own system prompt."""
        model = TABLE.model(definition["model"])
        said = self.up_to(definition.get("max_tokens") or model.max_output_tokens)
        read = self.up_to(min(prompt * 13 // 10 + 4_096, model.context_tokens))
        self.add("advisor_message", read, said, ("1h",) if "caching" in definition else ())
        self.passes[-1]["model"] = definition["model"]
        return said

    def summarise(self, prompt: int, times: int) -> None:
        """Compactions before a pass."""
        for _ in range(times):
            read, said = self.up_to(prompt), self.up_to(self.model.max_output_tokens)
            self.add("compaction", read, said, self.asked.lifetimes)

    def add(self, kind: str, prompt: int, output: int, lifetimes: tuple[str, ...]) -> None:
        """A pass as the usage lists it, with cache writes only where they were asked for."""
        split, left = {"5m": 0, "1h": 0}, prompt
        for lifetime in lifetimes:
            split[lifetime] = self.up_to(left)
            left -= split[lifetime]
        read = 0 if self.full else self.up_to(left)
        counts = (left - read, output, read, sum(split.values()))
        self.passes.append(
            {
                "type": kind,
                "model": self.draw(st.sampled_from([None, self.asked.name, self.model.id])),
                **dict(zip(COUNTS, counts, strict=True)),
                "cache_creation": {f"ephemeral_{lifetime}_input_tokens": n for lifetime, n in split.items()},
            }
        )

    def usage(self, *, listed: bool) -> dict[str, Any]:
        """The usage of it all: totals over the messages, the passes or not, and how it was served."""
        told = [one for one in self.passes if one["type"] == "message"]
        splits = [one["cache_creation"] for one in told]
        body, price = self.asked.body, TABLE.price_at(self.model.id, NOW_MS)
        fast = "speed" in body and (self.full or self.draw(st.booleans()))
        batch = not self.full and not fast and price.batch_percent and self.draw(st.booleans())
        geo = body.get("inference_geo") or (self.asked.bounds.geo if price.us_percent else None)
        return {
            **{key: sum(one[key] for one in told) for key in COUNTS},
            "cache_creation": {key: sum(split[key] for split in splits) for key in splits[0]},
            "server_tool_use": {"web_search_requests": self.searches, "web_fetch_requests": 3},
            "speed": "fast" if fast else "standard",
            "service_tier": "batch" if batch else "standard",
            "inference_geo": geo or "not_available",
            "iterations": self.passes if listed else None,
        }


@given(
    data=st.data(),
    asked=requests(),
    known=st.one_of(st.integers(0, 100_000), st.integers(0, 10**6)),
    counted=st.booleans(),
    full=st.booleans(),
    listed=st.booleans(),
)
def test_no_answer_costs_more_than_its_ceiling(data, asked, known, counted, full, listed):
    """Whatever the API may report of a request, one pass or many, listed or in totals, is below its ceiling.

    Every pass reads at most what was sent (a count and its margin, or a bound), and the results, errors,
    advice and output before it; the output is within `max_tokens`, of each pass where the policy is strict;
    tools run at most as often as they may, and fail once each; the cache is written only where it was asked.
    """
    body, window = bounded(asked.body, asked.bounds), TABLE.model(asked.name).context_tokens
    most = ceiling(
        TABLE,
        asked.name,
        input_tokens=known,
        counted=counted,
        body=body,
        at_ms=NOW_MS,
        bounds=asked.bounds,
    )
    margin = max(-(-known * 2 // 100), 64) if counted else 0
    served = Served(data.draw, asked, full=full)
    served.run(served.up_to(min(known + margin, window)))
    used = read_usage(served.usage(listed=listed))
    assert not used.unknown
    event(f"passes: {min(len(served.passes), 8)}")
    assert cost_nanos(TABLE, asked.name, used, NOW_MS, endpoint=asked.bounds.endpoint) <= most.nanos
    assert used.total_tokens <= most.tokens
