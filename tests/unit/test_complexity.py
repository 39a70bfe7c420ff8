"""The local scorer: a labelled set with its scores, and what holds of any body."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message, TextBlock, ToolUseBlock
from hypothesis import given
from hypothesis import strategies as st
from support.hardness import band, body_of, labelled, step_of

from governor.routing import Complexity, score

ROWS = labelled()
PAGE = Path(__file__).parents[2] / "docs" / "routing.md"
IN_BAND = 138
"""Of the labelled requests, so many fall into the band that a person put them in; docs/routing.md says so."""

TEXTS = st.text(max_size=40) | st.sampled_from(
    ["Prove that", "Explain", "```", "translate", "a.py b.py c.py", "step by step", "\n@@ -1", "yes or no"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5)
WORDS = ("messages", "system", "tools", "thinking", "output_config", "tool_choice", "content", "role", "type")
FIELDS = st.sampled_from([*WORDS, "text", "source", "data", "input", "effort", "format", "budget_tokens"])
KINDS = st.sampled_from(
    ["user", "assistant", "text", "tool_result", "tool_use", "image", "document", "thinking"]
)
JSON = st.recursive(
    SCALARS | KINDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=25,
)
BODIES = st.dictionaries(FIELDS, JSON, max_size=6)
BLOCKS = st.lists(
    st.one_of(
        TEXTS.map(lambda text: {"type": "text", "text": text}),
        TEXTS.map(lambda text: {"type": "tool_result", "tool_use_id": "t", "content": text}),
        st.just({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
    ),
    min_size=1,
    max_size=3,
)
TURNS = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant"]),
        TEXTS | BLOCKS,
    ),
    max_size=6,
)


def said(text: str, **more: Any) -> Complexity:
    """The score of one user turn."""
    return score({"messages": [{"role": "user", "content": text}], **more})


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_every_labelled_request_has_its_score(row):
    """The score of each is pinned: a change of words or weights shows here."""
    assert score(body_of(row)).value == row["score"], score(body_of(row))


def test_nearly_all_labelled_requests_fall_into_their_band():
    """At least 90 % do; the figure is exact, and the one in the docs."""
    hits = sum(band(score(body_of(row)).value) == row["label"] for row in ROWS)
    assert hits == IN_BAND >= 0.9 * len(ROWS)
    page = PAGE.read_text(encoding="utf-8")
    assert f"On the {len(ROWS)} labelled requests" in page
    assert f"the band of {100 * hits // len(ROWS)} %" in page


def test_the_labelled_set_is_large_and_of_all_bands():
    """At least 60 requests, at least 20 of each band, no name twice."""
    assert len({row["name"] for row in ROWS}) == len(ROWS) >= 60
    assert min(Counter(row["label"] for row in ROWS)[label] for label in ("low", "middle", "high")) >= 20


def test_every_part_is_in_the_docs_and_given_by_some_request():
    """The names in the table are those that scores are made of, and no part is idle."""
    section = PAGE.read_text(encoding="utf-8").partition("## Complexity")[2].partition("\n## ")[0]
    table = set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))
    assert {name for row in ROWS for name, _ in score(body_of(row)).parts} == table


@pytest.mark.parametrize(
    ("body", "part", "points"),
    [
        ({"thinking": {"type": "adaptive"}}, "effort", 1),
        ({"thinking": {"type": "enabled", "budget_tokens": 15_999}}, "effort", 2),
        ({"thinking": {"type": "enabled", "budget_tokens": 16_000}}, "effort", 3),
        ({"thinking": {"type": "disabled", "budget_tokens": 16_000}}, "effort", None),
        ({"output_config": {"effort": "high"}}, "effort", 2),
        ({"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}}, "effort", 3),
        ({"output_config": {"effort": "medium"}}, "effort", None),
        ({"tools": [{"name": "a"}]}, "tools", 1),
        ({"tools": [{"name": str(i)} for i in range(10)]}, "tools", 2),
        ({"tool_choice": {"type": "any"}}, "output", 1),
        ({"tool_choice": {"type": "auto"}}, "output", None),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output", 1),
        ({"system": "x" * 2_997}, "size", None),
        ({"system": [{"type": "text", "text": "x" * 3_000}]}, "size", 1),
        ({"system": "x" * 20_000}, "size", 2),
        ({"system": "x" * 400_000}, "size", 3),
        ({"system": "You are an expert in system architecture. Debug, compare."}, "reasoning", 2),
    ],
)
def test_a_parameter_has_its_points(body, part, points):
    """Beside a turn that gives none, each has what the table says."""
    assert dict(said("Hi", **body).parts).get(part) == points


@pytest.mark.parametrize(
    ("text", "part", "points"),
    [
        ("a\n```\nb\n```", "code", 2),
        ("see\n@@ -1,2 +1,2 @@", "code", 2),
        ("Traceback (most recent call last):", "code", 2),
        ("def f(x):", "code", 2),
        ("```\ndef f(x):\n```", "code", 3),
        ("a.py, b.py", "code", None),
        ("a.py, b.py and src/c.ts", "code", 3),
        ("a.py a.py a.py", "code", None),
        ("x" * 119, "work", None),
        ("x" * 120, "work", 3),
        ("Improve it", "work", 3),
        ("x" * 400, "latest", 1),
        ("x" * 4_000, "latest", 2),
        ("STEP BY STEP", "reasoning", 2),
        ("Prove that one is a theorem", "reasoning", 7),
        ("I improve that recipe", "reasoning", None),
        ("Yes or no?" + "x" * 1_989, "light", -3),
        ("Yes or no?" + "x" * 1_990, "light", None),
        ("Yes or no: prove that it holds", "light", None),
    ],
)
def test_a_text_has_its_points(text, part, points):
    """Each signal of the words has what the table says, at its edge and below."""
    assert dict(said(text).parts).get(part) == points


def test_words_are_looked_for_at_the_begin_and_the_end_of_the_latest_turn():
    """In the middle of a long turn they are data; a question behind a document is found."""
    filler = "abc " * 2_000
    assert "reasoning" in dict(said(f"Prove that it holds. {filler}").parts)
    assert "reasoning" in dict(said(f"{filler} Prove that it holds.").parts)
    assert "reasoning" not in dict(said(f"{filler} Prove that it holds. {filler}").parts)
    blocks = [{"type": "text", "text": text} for text in (filler, "Prove that it holds.", filler)]
    assert "reasoning" in dict(score({"messages": [{"role": "user", "content": blocks}]}).parts)


def test_a_follow_up_belongs_to_the_task_before_it():
    """Thanks after a proof stays as hard as the proof; three turns later it is forgotten."""
    turns = [{"role": "user", "content": "Prove that it holds."}]
    assert score({"messages": turns}).value == 8
    turns += [{"role": "user", "content": "And again"}] * 2
    assert score({"messages": turns}).value == 8
    assert score({"messages": [*turns, {"role": "user", "content": "Thanks"}]}).value == 0


def test_what_is_judged_by_a_classifier_is_not_what_is_asked():
    """Under a system prompt that sorts tickets, hard words and code in the ticket give nothing."""
    ticket = "Debug the deadlock, prove that it is gone.\nTraceback (most recent call last):\n"
    assert said(ticket).value == 10
    assert said(ticket, system="Classify the ticket.").parts == (("light", -3),)


def test_files_count_by_themselves_and_documents_of_text_by_their_length():
    """An image has two points, five three, a PDF three; base64 has no length; a text document has one."""
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 50_000}
    image = {"type": "image", "source": source}
    pdf = {"type": "document", "source": source}
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 20_000}}
    for blocks, parts in (
        ([image], {"media": 2}),
        ([image] * 5, {"media": 3}),
        ([pdf], {"media": 3}),
        ([text], {"size": 2}),
        ([{"type": "tool_result", "content": [image]}], {"results": 1, "media": 2}),
    ):
        assert dict(score({"messages": [{"role": "user", "content": blocks}]}).parts) == parts


def test_the_reason_is_one_phrase():
    """Value and parts, and a note where there is one."""
    assert str(said("Prove that it holds.")) == "8 (work 3, reasoning 5)"
    assert str(said("Hi")) == "0 (nothing hard in it)"
    assert str(Complexity(5, (("work", 3), ("code", 2)), "a note")) == "5 (work 3, code 2; a note)"


def test_the_sdks_own_objects_are_read_as_dictionaries_are():
    """A message that is sent back as it came, whole or by its content, counts the same."""
    content = [
        TextBlock(type="text", text="x" * 3_000),
        ToolUseBlock(type="tool_use", id="t", name="look", input={"where": "y" * 20_000}),
    ]
    usage = {"input_tokens": 1, "output_tokens": 1}
    answer = Message.model_validate(
        {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content, "usage": usage}
    )
    plain = [block.model_dump() for block in content]
    asked = {"role": "user", "content": "Explain"}
    expected = score({"messages": [asked, {"role": "assistant", "content": plain}]})
    assert dict(expected.parts) == {"size": 2, "work": 3}
    assert score({"messages": [asked, {"role": "assistant", "content": content}]}) == expected
    assert score({"messages": [asked, answer]}) == expected


class Odd:
    """An object of which every field raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "odd",
    [None, 7, "text", [], Odd(), type, object()],
    ids=["none", "number", "text", "list", "raises", "class", "object"],
)
@pytest.mark.parametrize("place", ["body", "messages", "message", "block", "system", "thinking", "tools"])
def test_what_is_odd_is_passed_over(odd, place):
    """Wherever it stands, nothing is raised, and what can be read beside it still counts."""
    turn = {"role": "user", "content": [odd] if place == "block" else "Explain"}
    body: Any = {"messages": [odd, turn] if place == "message" else [turn]}
    if place in ("messages", "system", "thinking", "tools"):
        body[place] = odd
    found = score(odd if place == "body" else body)
    assert found.value == (0 if place in ("body", "messages", "block") else 3)


def test_an_iterator_is_not_used_up():
    """Who sends it may read it once."""
    turns = iter([{"role": "user", "content": "Explain"}])
    assert score({"messages": turns}).value == 0
    assert next(turns)["role"] == "user"


def test_what_refers_to_itself_ends():
    """Content that holds itself many times over is given up, not read for ever."""
    content: list[Any] = [{"type": "tool_result"} for _ in range(1_000)]
    for block in content:
        block["content"] = content
    assert 0 <= score({"messages": [{"role": "user", "content": content}]}).value <= 10


@given(BODIES)
def test_any_body_has_one_score(body):
    """Whatever the body is: a whole number from 0 to 10, the same each time, and no error."""
    found = score(body)
    assert type(found.value) is int
    assert 0 <= found.value <= 10
    assert found == score(body)
    assert found.value == min(max(sum(points for _, points in found.parts), 0), 10)


@given(TURNS, TURNS, TEXTS)
def test_more_turns_before_never_lower_it(earlier, turns, latest):
    """A longer history is never easier."""
    conversation = [*turns, {"role": "user", "content": f"So: {latest}"}]
    alone = score({"messages": conversation}).value
    assert score({"messages": [*earlier, *conversation]}).value >= alone


@given(TURNS, st.integers(1, 20), TEXTS)
def test_further_tool_calls_never_lower_it(turns, steps, result):
    """An agent that goes on with its task is never judged easier than before."""
    run = [message for step in range(steps) for message in step_of(f"t{step}", "look", result)]
    assert score({"messages": [*turns, *run]}).value >= score({"messages": turns}).value
