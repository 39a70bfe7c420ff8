"""The application's own scorer, kept on a short lead: a call waits for it at most a second.

It runs in a daemon thread, for a thread that hangs cannot be ended, and a pool's would keep the interpreter
from ending; on an event loop an `async` one is awaited there. One that gave no answer in time is left alone
for a while, so that threads do not pile up.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from governor.story.effects import Scored

if TYPE_CHECKING:
    from governor.policy import Attribution
    from governor.story.effects import Inspect, Score

log = logging.getLogger("governor")

Judge = Callable[[Mapping[str, Any], "Attribution"], float]
"""Given the parameters of `messages.create` and who asks: how hard it is, 0 to 10."""
AsyncJudge = Callable[[Mapping[str, Any], "Attribution"], Awaitable[float]]
"""The same, awaited."""

LIMIT_S = 1.0
"""How long a call waits for an answer."""

LEFT_ALONE_S = 60.0
"""How long it is not asked again after one that did not come in time."""

SAID_EVERY_S = 60.0
"""How often a failure is logged."""

MOST_HUNG = 8
"""With so many calls of it still at work, each long given up, it is not asked either."""

MOST = 10
NO_THREAD = "no thread can be started"
_MOST_WORDS = 120
"""Characters of what a scorer said, in the log."""
_Answer = tuple[Any, BaseException | None]
"""What a scorer returned, or what it raised."""


class _Watch:
    """What both kinds of scorer share: when it may be asked, what its answers are worth, what is logged."""

    name = "scorer"
    instead = "so the governor's own score counts"

    def __init__(
        self, judge: Any, clock: Callable[[], float] = time.monotonic, limit_s: float = LIMIT_S
    ) -> None:
        if judge is not None and not callable(judge):
            raise TypeError(f"{self.name} is {_words(judge)}: give a callable (body, who)")
        self._judge: Any = judge
        self._clock = clock
        self._limit_s = limit_s
        self._left_alone_until = -float("inf")
        self._silent_until = -float("inf")
        self._unsaid = 0
        self._hung: list[threading.Thread] = []

    @property
    def given(self) -> bool:
        """Whether there is a scorer."""
        return self._judge is not None

    def _barred(self) -> Scored | None:
        """The answer without asking, where it is not to be asked."""
        if self._judge is None:
            return Scored(None, "there is none")
        if self._clock() < self._left_alone_until:
            return Scored(None, f"it gave no answer in time, and is left alone for {LEFT_ALONE_S:g} s")
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        if len(self._hung) >= MOST_HUNG:
            return Scored(None, f"{len(self._hung)} earlier calls of it still hang")
        return None

    def _late(self, thread: threading.Thread | None) -> Scored:
        """No answer came in time; *thread* is where it is still at work."""
        self._left_alone_until = self._clock() + LEFT_ALONE_S
        if thread is not None:
            self._hung.append(thread)
        return self._failed(f"no answer within {self._limit_s:g} s")

    def _judged(self, answer: _Answer) -> Scored:
        value, error = answer
        if error is not None:
            return self._failed(f"it raised {type(error).__name__}", _words(error))
        if inspect.iscoroutine(value):
            value.close()
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._failed(f"it answered a {type(value).__name__}, not a number", _words(value))
        if not 0 <= value <= MOST:
            return self._failed(f"it answered {_words(value)}, not 0 to {MOST}")
        return Scored(int(value) if isinstance(value, int) else float(value))

    def _failed(self, why: str, words: str = "") -> Scored:
        """No usable answer; logged unless a failure was a moment ago.

        *words* are for the log only: they may have something of the prompt in them, and *why* is journalled.
        """
        now = self._clock()
        if now < self._silent_until:
            self._unsaid += 1
        else:
            told = f"{why}: {words}" if words else why
            more = f" (and {self._unsaid} more failures since the last one told)" if self._unsaid else ""
            log.warning("the %s failed, %s: %s%s", self.name, self.instead, told, more)
            self._silent_until, self._unsaid = now + SAID_EVERY_S, 0
        return Scored(None, why)

    def _in_thread(self, effect: Score | Inspect, tell: Callable[[_Answer], None]) -> threading.Thread | None:
        """Ask in a thread of its own, in this context; returns it, or `None` if there can be none."""
        context = contextvars.copy_context()

        def work() -> None:
            try:
                answer: _Answer = (context.run(self._judge, dict(effect.body), effect.who), None)
            except BaseException as error:  # noqa: BLE001 - told, and judged by who asked
                answer = (None, error)
            tell(answer)

        thread = threading.Thread(target=work, name="governor-scorer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            return None
        return thread


class Scorer(_Watch):
    """A scorer for calls that block; may be shared by threads.

    Args:
        judge: The callable, or `None`.
        clock: Seconds; only tests give one.
        limit_s: How long to wait for an answer; only tests give one.

    Raises:
        TypeError: It cannot be called, or is an `async` one, for which there is no event loop.
    """

    def __init__(
        self, judge: Judge | None, clock: Callable[[], float] = time.monotonic, limit_s: float = LIMIT_S
    ) -> None:
        super().__init__(judge, clock, limit_s)
        if _is_async(judge):
            raise TypeError(
                f"the {self.name} is an async callable: give it to AsyncGovernor, or a plain one here"
            )

    def score(self, effect: Score | Inspect) -> Scored:
        """Ask, and wait for the answer."""
        barred = self._barred()
        if barred is not None:
            return barred
        answers: list[_Answer] = []
        told = threading.Event()

        def tell(answer: _Answer) -> None:
            answers.append(answer)
            told.set()

        thread = self._in_thread(effect, tell)
        if thread is None:
            return self._failed(NO_THREAD)
        return self._judged(answers[0]) if told.wait(self._limit_s) else self._late(thread)


class AsyncScorer(_Watch):
    """A scorer for calls on an event loop, blocking or async; the loop goes on meanwhile.

    An `async` callable that blocks the loop cannot be given up.

    Args:
        judge: The callable, or `None`.
        clock: Seconds; only tests give one.
        limit_s: How long to wait for an answer; only tests give one.

    Raises:
        TypeError: It cannot be called.
    """

    def __init__(
        self,
        judge: Judge | AsyncJudge | None,
        clock: Callable[[], float] = time.monotonic,
        limit_s: float = LIMIT_S,
    ) -> None:
        super().__init__(judge, clock, limit_s)

    async def score(self, effect: Score | Inspect) -> Scored:
        """Ask, and wait for the answer; a cancellation goes on to an `async` scorer."""
        barred = self._barred()
        if barred is not None:
            return barred
        asked, thread = self._begun(effect)
        if asked is None:
            return self._failed(NO_THREAD)
        try:
            done, _ = await asyncio.wait({asked}, timeout=self._limit_s)
        finally:
            asked.cancel()  # nothing if it is done
        if not done:
            return self._late(thread)
        return self._failed("it was cancelled") if asked.cancelled() else self._judged(asked.result())

    def _begun(
        self, effect: Score | Inspect
    ) -> tuple[asyncio.Future[_Answer] | None, threading.Thread | None]:
        """What will have the answer, and the thread it is made in; neither if there can be no thread."""
        if _is_async(self._judge):
            return asyncio.ensure_future(self._awaited(effect)), None
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[_Answer] = loop.create_future()

        def settle(answer: _Answer) -> None:
            if not asked.done():
                asked.set_result(answer)

        def tell(answer: _Answer) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, answer)

        thread = self._in_thread(effect, tell)
        return (None if thread is None else asked), thread

    async def _awaited(self, effect: Score | Inspect) -> _Answer:
        try:
            return await self._judge(dict(effect.body), effect.who), None
        except Exception as error:  # noqa: BLE001 - told, and judged by who asked
            return None, error


def _words(value: object) -> str:
    """*value* in a few words, whatever its own methods do."""
    try:
        return (str(value) if isinstance(value, BaseException) else repr(value))[:_MOST_WORDS]
    except Exception:  # noqa: BLE001 - an object of the caller's may raise whatever it likes
        return "it cannot be shown"


def _is_async(judge: Any) -> bool:
    """Whether it must be awaited: an `async` function, a partial of one, or an object called as one."""
    call = getattr(judge, "__call__", None)  # noqa: B004 - not whether, but how it is called
    return inspect.iscoroutinefunction(judge) or inspect.iscoroutinefunction(call)
