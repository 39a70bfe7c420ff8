"""The application's scorer: heard where it says something usable, never waited for long, never trusted."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
from typing import Any

import pytest

from governor import AsyncGovernor, Governor
from governor.clients.scorer import LEFT_ALONE_S, MOST_HUNG, SAID_EVERY_S, AsyncScorer, Scorer
from governor.policy import Attribution
from governor.routing import score
from governor.story.effects import Score, Scored
from governor.story.request import Request
from governor.story.scoring import complexity_of

BODY = {"messages": [{"role": "user", "content": "Explain it."}], "system": "Be brief."}
WHO = Attribution("team", "ada")
ASKED = Score(BODY, WHO)
POLICY = """
version: 1
department: team
budgets:
  - {per: run, usd: 1}
routing:
  lines: {haiku: claude-haiku-5-5}
"""
SHORT_S = 0.01
LONG_S = 60.0
"""Nobody waits so long: it is for what comes at once."""


class Told:
    """A clock that stands still until it is set."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def ask(kind: str, judge: Any, **options: Any) -> Scored:
    """What a new scorer of a kind says: `sync`, `async` with an async callable, `mixed` with a plain one."""
    return again(made(kind, judge, **options))


def made(kind: str, judge: Any, **options: Any) -> Any:
    """A scorer of a kind."""
    options.setdefault("limit_s", LONG_S)
    if kind == "sync":
        return Scorer(judge, **options)
    if kind == "mixed":
        return AsyncScorer(judge, **options)

    @functools.wraps(judge)
    async def awaited(body: Any, who: Attribution) -> Any:
        return judge(body, who)

    return AsyncScorer(awaited, **options)


def again(scorer: Any) -> Scored:
    """What a scorer says now."""
    if isinstance(scorer, Scorer):
        return scorer.score(ASKED)

    async def main() -> Scored:
        return await scorer.score(ASKED)

    return asyncio.run(main())


every_kind = pytest.mark.parametrize("kind", ["sync", "async", "mixed"])
in_threads = pytest.mark.parametrize("kind", ["sync", "mixed"])


@every_kind
@pytest.mark.parametrize("value", [0, 10, 7, 7.25, 0.0])
def test_a_number_from_0_to_10_is_heard(kind, value):
    """It is told the body and who asks; what it says is handed on as it is."""
    heard = []

    def judge(body: Any, who: Attribution) -> float:
        heard.append((body, who))
        return value

    said = ask(kind, judge)
    assert (said, type(said.value)) == (Scored(value), type(value))
    assert heard == [(BODY, WHO)]


@every_kind
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "it answered a NoneType, not a number"),
        (True, "it answered a bool, not a number"),
        ("7", "it answered a str, not a number"),
        (float("nan"), "it answered nan, not 0 to 10"),
        (float("inf"), "it answered inf, not 0 to 10"),
        (-1, "it answered -1, not 0 to 10"),
        (10.1, "it answered 10.1, not 0 to 10"),
    ],
)
def test_nonsense_is_no_answer(kind, value, why):
    """What is no number from 0 to 10 is told by its kind, not by its words: they may be of the prompt."""
    assert ask(kind, lambda *_: value) == Scored(None, why)


class RudeError(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise self


@every_kind
@pytest.mark.parametrize("error", [KeyError("secret"), RudeError()], ids=["usual", "cannot be shown"])
def test_an_error_is_no_answer(kind, error):
    """Whatever it raises, the call goes on; its words are not in the reason."""

    def judge(*_: Any) -> float:
        raise error

    assert ask(kind, judge) == Scored(None, f"it raised {type(error).__name__}")


@in_threads
def test_an_exit_in_a_thread_is_no_answer(kind):
    """A scorer that calls `sys.exit` ends its thread, not the caller."""

    def judge(*_: Any) -> float:
        raise SystemExit

    assert ask(kind, judge) == Scored(None, "it raised SystemExit")


def test_a_scorer_that_cancels_itself_is_no_answer():
    """It is not taken for a cancellation of the call."""

    def judge(*_: Any) -> float:
        raise asyncio.CancelledError

    assert ask("async", judge) == Scored(None, "it was cancelled")


@every_kind
def test_it_may_change_its_own_copy_of_the_parameters(kind):
    """A parameter that it takes out stays in the request."""
    ask(kind, lambda body, _: body.clear() or 1)
    assert set(ASKED.body) == {"messages", "system"}


@every_kind
def test_it_sees_the_callers_context(kind):
    """Context variables are those of the call."""
    tenant = contextvars.ContextVar("tenant", default=1)
    tenant.set(6)
    assert ask(kind, lambda *_: tenant.get()) == Scored(6)


@in_threads
def test_one_that_hangs_is_left_alone_for_a_while(kind):
    """It is given up, not asked for a minute, and then asked again."""
    clock, go_on, asked = Told(), threading.Event(), []

    def judge(*_: Any) -> float:
        asked.append(1)
        go_on.wait()
        return 4

    scorer = made(kind, judge, clock=clock, limit_s=SHORT_S)
    assert again(scorer) == Scored(None, "no answer within 0.01 s")
    go_on.set()
    for thread in scorer._hung:
        thread.join()
    clock.now += LEFT_ALONE_S - 1
    assert again(scorer) == Scored(None, "it gave no answer in time, and is left alone for 60 s")
    assert len(asked) == 1
    clock.now += 1
    scorer._limit_s = LONG_S
    assert again(scorer) == Scored(4)


@in_threads
def test_hanging_threads_do_not_pile_up(kind):
    """However long it hangs again and again, only so many threads wait; once they end it is asked again."""
    clock, go_on = Told(), threading.Event()

    def judge(*_: Any) -> float:
        go_on.wait()
        return 4

    scorer = made(kind, judge, clock=clock, limit_s=SHORT_S)
    for _ in range(MOST_HUNG):
        assert again(scorer) == Scored(None, "no answer within 0.01 s")
        clock.now += LEFT_ALONE_S
    hung = list(scorer._hung)
    assert again(scorer) == Scored(None, f"{MOST_HUNG} earlier calls of it still hang")
    assert all(thread.daemon for thread in hung)
    go_on.set()
    for thread in hung:
        thread.join()
    scorer._limit_s = LONG_S
    assert again(scorer) == Scored(4)


def test_an_async_one_that_hangs_is_cancelled_and_left_alone():
    """It is told to end, and not asked for a minute."""
    ended = []

    async def judge(*_: Any) -> float:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)
        return 4

    scorer = AsyncScorer(judge, Told(), SHORT_S)

    async def main() -> list[Scored]:
        return [await scorer.score(ASKED), await scorer.score(ASKED)]

    late, left = asyncio.run(main())
    assert (late.why, ended) == ("no answer within 0.01 s", [1])
    assert "left alone" in left.why


def test_a_cancelled_call_cancels_the_async_scorer():
    """The cancellation goes on to it, and out of the call."""
    ended = []

    async def main() -> None:
        begun = asyncio.Event()

        async def judge(*_: Any) -> float:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append(1)
                raise
            return 4

        call = asyncio.create_task(AsyncScorer(judge, limit_s=LONG_S).score(ASKED))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ended == [1]


@every_kind
def test_failures_are_logged_once_in_a_while(kind, caplog):
    """The first of a minute is logged with its words; the next log says how many were not."""
    clock = Told()

    def judge(*_: Any) -> float:
        raise KeyError("tier")

    scorer = made(kind, judge, clock=clock)
    with caplog.at_level(logging.WARNING, "governor"):
        for _ in range(3):
            again(scorer)
        clock.now += SAID_EVERY_S
        again(scorer)
    first, second = caplog.messages
    assert first == "the scorer failed, so the governor's own score counts: it raised KeyError: 'tier'"
    assert second == f"{first} (and 2 more failures since the last one told)"


class Called:
    """An object that is called as an async function is."""

    async def __call__(self, _body: Any, _who: Attribution) -> float:
        return 4


async def judge_async(_extra: int, _body: Any, _who: Attribution) -> float:
    """An async scorer with an argument too many."""
    return 4


@pytest.mark.parametrize("judge", [Called(), functools.partial(judge_async, 1)], ids=["object", "partial"])
def test_async_callables_of_every_form_are_awaited(judge):
    """On a loop they are awaited; a blocking governor refuses them at once."""
    assert again(AsyncScorer(judge, limit_s=LONG_S)) == Scored(4)
    with pytest.raises(TypeError, match="give it to AsyncGovernor"):
        Scorer(judge)


@in_threads
def test_a_plain_callable_that_returns_a_coroutine_is_no_answer(kind):
    """It is not awaited, and leaves no warning behind."""
    assert ask(kind, lambda *_: Called()(BODY, WHO)).why == "it answered a coroutine, not a number"


def test_what_cannot_be_called_is_refused():
    """A number for a scorer is a mistake in the program."""
    with pytest.raises(TypeError, match="scorer is 7: give a callable"):
        Scorer(7)
    with pytest.raises(TypeError, match="scorer is 7: give a callable"):
        AsyncScorer(7)


def driven(governor: Governor | AsyncGovernor, body: Any) -> Any:
    """The complexity of a request as a governor's driver finds it."""
    house = governor._house
    story = complexity_of(house, Request("r", WHO, "auto", 1, body), body)
    result = governor._drive(story)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


@pytest.fixture(params=[Governor, AsyncGovernor])
def load(request, tmp_path):
    """Make a governor of each kind with a scorer, as an application does."""
    (tmp_path / "team.yaml").write_text(POLICY, encoding="utf-8")
    opened = []

    def loaded(**options: Any) -> Governor | AsyncGovernor:
        opened.append(
            request.param.load(tmp_path, ledger=f"sqlite:///{tmp_path}/g.db", spool=tmp_path, **options)
        )
        return opened[-1]

    yield loaded
    for governor in opened:
        if isinstance(governor, Governor):
            governor.close()
        else:
            asyncio.run(governor.aclose())


def test_the_applications_word_counts(load):
    """An int as given, a float rounded to one decimal; the part says whose it is."""
    assert str(driven(load(scorer=lambda *_: 9), BODY)) == "9 (scorer 9)"
    assert str(driven(load(scorer=lambda *_: 6.449), BODY)) == "6.4 (scorer 6.4)"


def test_without_its_word_the_governors_own_counts(load):
    """Where there is no scorer, and with a note where it fails."""
    assert driven(load(), BODY) == score(BODY)
    found = driven(load(scorer=lambda *_: "easy"), BODY)
    note = "the application's scorer failed: it answered a str, not a number"
    assert str(found) == f"3 (work 3; {note})"


def test_a_mistaken_scorer_is_told_at_load(load):
    """Not at the first call."""
    with pytest.raises(TypeError, match="scorer is 7"):
        load(scorer=7)
