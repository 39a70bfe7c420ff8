"""Carry out a story's effects until it ends, or waits for an answer that its caller reads.

Two drivers of the same shape, one blocking and one async; no logic lives here.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from governor.story.books import Story
    from governor.story.effects import Ended, Running


class Waits(Enum):
    """What a performer answers instead of a reply."""

    READER = "reader"
    """The answer is being read elsewhere: the drive goes on when it is run again with the reply."""


class Drive:
    """One story, driven by whoever runs it.

    Args:
        story: A fresh one.
        perform: Carries out one effect; returns the reply or `Waits.READER`. The story hears what it raises.
    """

    def __init__(self, story: Story, perform: Callable[[Any], Any]) -> None:
        self._story, self._perform = story, perform

    def run(self, reply: Any = None) -> Any:
        """Begin, or go on with the *reply* that was waited for; returns the story's value or `Waits.READER`.

        Raises:
            BaseException: What the story raises.
        """
        try:
            effect = self._story.send(reply)
            while True:
                try:
                    reply = self._perform(effect)
                except BaseException as error:  # noqa: BLE001 - the story decides what an error means
                    effect = self._story.throw(error)
                else:
                    if reply is Waits.READER:
                        return reply
                    effect = self._story.send(reply)
        except StopIteration as done:
            return done.value


class AsyncDrive:
    """As `Drive`; *perform* is awaited, and a cancellation that *task* noted is raised at the end."""

    def __init__(self, story: Story, perform: Callable[[Any], Awaitable[Any]], task: Undertaking) -> None:
        self._story, self._perform, self._task = story, perform, task

    async def run(self, reply: Any = None) -> Any:
        """As `Drive.run`."""
        try:
            effect = self._story.send(reply)
            while True:
                try:
                    reply = await self._perform(effect)
                except BaseException as error:  # noqa: BLE001 - the story decides what an error means
                    effect = self._story.throw(error)
                else:
                    if reply is Waits.READER:
                        return reply
                    effect = self._story.send(reply)
        except StopIteration as done:
            if self._task.cancelled is not None:
                raise self._task.cancelled from None
            return done.value
        except Exception as error:
            if self._task.cancelled is not None:
                raise self._task.cancelled from error
            raise


class Undertaking:
    """One story under way: the answer being read, and a cancellation that came while the ledger worked.

    What the ledger was asked is finished although the task is cancelled: a hold whose answer was lost would
    stay open until it expires. The cancellation then takes the place of the next sending, or of the result.
    """

    sending: AsyncGenerator[Running | Ended, None]

    def __init__(self) -> None:
        self.cancelled: asyncio.CancelledError | None = None

    async def finish(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What comes of *work*, which goes on to its end."""
        task = asyncio.ensure_future(work)
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                if task.cancelled():
                    raise
                self.cancelled = error
            except GeneratorExit:
                raise
            except BaseException:  # noqa: BLE001, S110 - the task's own error is raised below
                pass
        return task.result()
