"""Which model a conversation is on, where several of its calls run side by side."""

from __future__ import annotations

from support.governed import OPUS, SONNET

from governor.policy import Attribution
from governor.routing import Candidate
from governor.story.conversations import Conversations

WHO, AUTO = Attribution("team", "u", None, "run-1"), ("auto", None)
DEARER, CHEAPER = Candidate("opus", OPUS, "", OPUS), Candidate("sonnet", SONNET, "", SONNET)


def standing_after(*answers):
    """Where the run stands after answers, each by whom, when planned and when it came (milliseconds)."""
    known = Conversations()
    for served, planned_ms, now_ms in answers:
        known.note(WHO, {}, AUTO, served, {}, now_ms, planned_ms=planned_ms)
    found = known.find(WHO, {}, AUTO, 10_000)
    assert found is not None
    return found.line, found.moves


def test_a_late_answer_on_a_dearer_model_brings_nothing_back_up():
    """It was planned before the run went down in a call beside it, which is what holds."""
    assert standing_after((DEARER, 0, 100), (CHEAPER, 200, 300), (DEARER, 150, 400)) == ("sonnet", 1)


def test_a_later_answer_on_another_model_is_a_move():
    """Planned after the last answer, it is where the run stands; so is a late one on a cheaper model."""
    assert standing_after((CHEAPER, 0, 100), (DEARER, 200, 300)) == ("opus", 1)
    assert standing_after((DEARER, 100, 300), (CHEAPER, 200, 400)) == ("sonnet", 1)
