"""Each call is one line of the log, and says what the journal says; it costs nothing where nobody listens."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from contextlib import suppress

import anthropic
import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from support.batched import Batched, item
from support.endings import policy
from support.governed import HAIKU, OPUS, SONNET, department
from support.lines import OF_THE_HOLD, agree, of_the_journal
from support.pauses import pauses
from support.stages import blocking, on_sqlite, once
from support.streamed import read

from governor import BudgetExceeded, Deferred, GovernorError, LedgerUnavailable, PolicyViolation
from governor.story import told
from governor.telemetry import JsonLines, Telemetry, log_calls
from governor.telemetry.lines import LOGGER
from governor.testing import Reply, cut_mid_stream, overloaded, rate_limited, status_error

TEXT = Reply(text="It is what it is. " * 20)
LIFE = {"per": "department", "usd": 10, "window": "life"}
USD = "department=team/usd/life"
SECRET = "the launch code is 0000"


def test_an_answered_call_is_one_line(stage, lines):
    """It says who asked for what, what served, its tokens, cost and times, and how it ended."""
    caller = stage.governor(policy())
    message = caller.call(feature="chat", run="r-1", tags={"project": "atlas"}, model="opus", priority="high")
    (line,) = agree(stage, lines)
    assert (line["user"], line["department"], line["feature"], line["run"]) == ("u", "team", "chat", "r-1")
    assert (line["tags"], line["asked"], line["model"]) == ({"project": "atlas"}, "opus", OPUS)
    assert (line["state"], line["decision"], line["status"]) == ("answered", "served", 200)
    assert line["cost_nanos"] == message.receipt.cost.nanos
    assert line["api_request_id"] == message.receipt.api_request_id


def test_every_push_back_and_every_leg_is_told(stage, lines):
    """A call that was pushed back, and one that moved on to another model, say so as the journal does."""
    stage.api.inject(rate_limited(retry_after=0), overloaded())
    caller = stage.governor(policy())
    pauses(caller)
    caller.call(model="opus")
    first, second = agree(stage, lines)
    assert (first["pushed_429"], first["pushed_529"], first["final"]) == (1, 1, False)
    assert (second["model"], second["leg"], second["final"], second["decision"]) == (SONNET, 2, True, "moved")


@once
def test_what_is_said_of_the_data_is_in_the_line(stage, lines):
    """Classification, region, kinds of personal data and the content's hash stand in it as in the journal."""
    caller = stage.governor(policy(), hash_content=True)
    caller.call(data={"classification": "confidential", "region": "eu", "pii": ["email"]})
    (line,) = agree(stage, lines)
    assert (line["classification"], line["region"], line["pii"]) == ("confidential", "eu", "email")
    assert len(line["content_hash"]) == 64


@on_sqlite
def test_what_fails_is_told(stage, lines):
    """A call that the API refuses, and one whose answer breaks off, are lines that say how."""
    caller = stage.governor(policy())
    stage.api.inject(status_error(400))
    with pytest.raises(anthropic.BadRequestError):
        caller.call()
    stage.api.inject(cut_mid_stream())
    stage.api.replies(TEXT)
    with suppress(anthropic.APIError, GovernorError):
        caller.call()
    refused, cut = agree(stage, lines)
    assert (refused["state"], refused["error"], refused["status"]) == ("refused", "BadRequestError", 400)
    assert (cut["state"], cut["uncertain"]) == ("cut", True)


@on_sqlite
def test_streams_are_told(stage, lines):
    """A stream that is read to its end, and one that is left, are lines like any other's."""
    caller = stage.governor(policy())
    stage.api.replies(TEXT)
    read(caller)
    read(caller, leave_after=4)
    assert [one["state"] for one in agree(stage, lines)] == ["answered", "cut"]


@on_sqlite
def test_downgrades_smaller_answers_and_refusals_are_told(stage, lines):
    """What budgets make of a call is told: another model, a smaller `max_tokens`, nothing at all."""
    team = department(LIFE, thresholds={"80%": {"downgrade": "haiku"}}, routing={"shrink": {"min_tokens": 1}})
    caller = stage.governor(team)
    stage.spend(USD, 8_500_000_000, 10_000_000_000)
    caller.call(model="sonnet")
    stage.spend(USD, 10_000_000_000 - stage.posted() - 1_000_000, 10_000_000_000, name="more")
    caller.call(model="haiku", max_tokens=4000)
    stage.spend(USD, 10_000_000_000 - stage.posted(), 10_000_000_000, name="most")
    with pytest.raises(BudgetExceeded):
        caller.call(model="haiku")
    downgraded, shrunk, blocked = agree(stage, lines)
    assert (downgraded["preferred"], downgraded["model"]) == (SONNET, HAIKU)
    assert [one["decision"] for one in lines] == ["downgraded", "shrunk", "blocked"]
    assert 0 < shrunk["max_tokens"] < 4000
    assert (blocked["state"], blocked["reason"], blocked["cost_nanos"]) == ("blocked", "exhausted", 0)


@on_sqlite
@pytest.mark.parametrize(
    ("asked", "more", "error", "reason"),
    [
        ({"feature": "nosuch"}, {"features": {"chat": {}}}, PolicyViolation, "policy"),
        ({"deferrable": True}, {"routing": {"defer": {"when": "load < 50%"}}}, Deferred, "deferred"),
    ],
    ids=["policy", "deferred"],
)
def test_what_the_policy_refuses_is_told(stage, lines, asked, more, error, reason):
    """The log says who asked, and which error refused it; the journal too, if the policy forbade it."""
    caller = stage.governor(department(LIFE, **more))
    with pytest.raises(error):
        caller.call(**asked)
    (line,) = lines
    assert (line["user"], line["state"], line["reason"]) == ("u", "blocked", reason)
    assert (line["error"], line["cost_nanos"]) == (error.__name__, 0)
    assert of_the_journal(stage) == ([line] if reason == "policy" else [])


@on_sqlite
def test_looking_is_no_call(stage, lines):
    """`decide` tells nothing."""
    stage.governor(policy()).decide()
    assert lines == []


@once
def test_a_ledger_that_is_away_refuses_and_is_told(stage, lines, tmp_path):
    """Where the policy lets nothing pass, the refusal is a line."""
    stage.url = f"sqlite:///{tmp_path}/nowhere/governor.db"
    with pytest.raises(LedgerUnavailable):
        stage.governor(department(LIFE)).call()
    assert [(one["state"], one["reason"]) for one in lines] == [("blocked", "ledger")]


@once
def test_the_items_of_a_batch_are_told(stage, lines):
    """Each is a line when its result is read, with what its hold noted; a refused item is one at once."""
    caller = stage.governor(department(LIFE))
    batched = Batched(stage, caller)
    batch = batched.create([item("one"), item("two"), item("three")])
    batched.results(batch.id)
    told = agree(stage, lines, but=OF_THE_HOLD)
    assert [(one["door"], one["state"]) for one in told] == [("batch", "answered")] * 3


@blocking
def test_nothing_is_made_where_nobody_listens(stage, monkeypatch):
    """Without a handler, and without a provider, not even the row is made."""
    monkeypatch.setattr(told, "_ended", lambda *_: pytest.fail("a row was made for nobody"))
    stage.governor(policy()).call()


@once
def test_no_prompt_no_answer_and_no_key_is_ever_told(stage, lines):
    """What was said, and what it was said with, is in no line."""
    stage.api.replies(Reply(text=f"I heard: {SECRET}"))
    stage.governor(policy()).call(messages=[{"role": "user", "content": SECRET}], system=SECRET)
    told = json.dumps(lines)
    assert len(lines) == 1
    assert SECRET not in told
    assert stage.governor(policy()).governor._sdk().sender.api_key not in told


@once
def test_a_listener_that_fails_fails_no_call(stage, caplog):
    """What goes wrong in telling is logged once."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("no room")

    broken = Broken()
    LOGGER.addHandler(broken)
    LOGGER.setLevel(logging.INFO)
    try:
        caller = stage.governor(policy())
        caller.call()
        caller.call()
    finally:
        LOGGER.removeHandler(broken)
        LOGGER.setLevel(logging.NOTSET)
    assert len([one for one in caplog.records if "could not be told" in one.message]) == 1


@once
def test_metrics_that_fail_keep_nothing_from_the_log(stage, lines, caplog):
    """A provider that cannot be used is said once, and each call has its line all the same."""

    class Broken:
        __slots__ = ()  # no weak reference to it can be made

    caller = stage.governor(policy(), telemetry=Telemetry(meter_provider=Broken()))
    caller.call()
    caller.call()
    assert len(lines) == 2
    assert len([one for one in caplog.records if "said once" in one.message]) == 1


@once
@pytest.mark.parametrize("when", ["get_tracer", "on_start", "on_end"])
def test_a_tracer_that_fails_fails_no_call(stage, caplog, when):
    """No tracer, or a processor that raises as a span begins or ends: said once, and every call is made."""

    def fail(*_, **__):
        raise RuntimeError(when)

    provider, processor = TracerProvider(), SpanProcessor()
    setattr(provider if when == "get_tracer" else processor, when, fail)
    provider.add_span_processor(processor)
    caller = stage.governor(policy(), telemetry=Telemetry(tracer_provider=provider))
    assert caller.call().receipt.cost.nanos > 0
    assert caller.call().receipt.cost.nanos > 0
    stage.api.inject(status_error(400))
    with pytest.raises(anthropic.BadRequestError):
        caller.call()
    assert len([one for one in caplog.records if "said once" in one.message]) == 1


@once
def test_a_line_is_one_line_for_every_reader(stage, tmp_path):
    """What some readers take for the end of a line stands in it escaped, and comes back as it was."""
    user = 'ada\u2028{"user":"eve"}'
    handler = log_calls(tmp_path / "calls.jsonl")
    try:
        stage.governor(policy()).call(user=user)
        with pytest.raises(PolicyViolation):
            stage.governor(policy()).call(user="ada\x85eve")
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
    written = (tmp_path / "calls.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(one)["user"] for one in written] == [user, "ada\x85eve"]


@once
def test_the_formatter_makes_json_of_every_record(stage):
    """By `dictConfig`: calls with their fields, all else with its message, one JSON object a line."""
    out = io.StringIO()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": "governor.telemetry.JsonLines"}},
            "handlers": {"out": {"class": "logging.StreamHandler", "stream": out, "formatter": "json"}},
            "loggers": {"governor": {"level": "INFO", "handlers": ["out"]}},
        }
    )
    try:
        stage.governor(policy()).call()
        logging.getLogger("governor").warning("a %s", "word")
        logging.getLogger("governor").error("it failed", exc_info=ValueError("bad"))
    finally:
        logging.getLogger("governor").handlers.clear()
        logging.getLogger("governor").setLevel(logging.NOTSET)
    call, word, failed = (json.loads(line) for line in out.getvalue().splitlines())
    assert (call["logger"], call["level"], call["state"]) == ("governor.calls", "INFO", "answered")
    assert word["message"] == "a word"
    assert "ValueError: bad" in failed["exception"]


@once
def test_calls_are_logged_to_a_file_in_one_line_of_code(stage, tmp_path):
    """`log_calls(path)` appends a line for each call; any other formatter shows the same JSON."""
    handler = log_calls(tmp_path / "calls.jsonl")
    plain, out = logging.StreamHandler(io.StringIO()), tmp_path / "calls.jsonl"
    LOGGER.addHandler(plain)
    try:
        stage.governor(policy()).call()
    finally:
        for each in (handler, plain):
            LOGGER.removeHandler(each)
        LOGGER.propagate, LOGGER.level = True, logging.NOTSET
        handler.close()
    (line,) = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert isinstance(handler.formatter, JsonLines)
    assert line.items() >= json.loads(plain.stream.getvalue()).items()
