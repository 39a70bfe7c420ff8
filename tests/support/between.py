"""A ledger between a governor and its own: it notes what is said, and fails or interrupts on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger.commands import Command
    from support.governed import Caller


@dataclass
class Trouble:
    """What befalls the next commands of one kind.

    Attributes:
        kind: The commands' class.
        act: Called at the command; it may raise.
        after: Whether that is after the ledger has carried the command out: then its answer is lost.
        times: How many commands it befalls.
    """

    kind: type[Command[Any]]
    act: Callable[[], Any]
    after: bool
    times: int


@dataclass
class Between:
    """Passes every command on to *ledger*.

    Attributes:
        ledger: The governor's own.
        answers: Each command that came, with what the ledger answered (the error it raised, if it did).
    """

    ledger: Any
    answers: list[tuple[Command[Any], Any]] = field(default_factory=list)
    _troubles: list[Trouble] = field(default_factory=list)

    def raises(
        self, kind: type[Command[Any]], error: BaseException, *, after: bool = False, times: int = 1
    ) -> None:
        """Raise *error* at the next commands of *kind*, before or after they are carried out."""

        def act() -> None:
            raise error

        self.does(kind, act, after=after, times=times)

    def does(
        self, kind: type[Command[Any]], act: Callable[[], Any], *, after: bool = False, times: int = 1
    ) -> None:
        """Call *act* at the next commands of *kind*, before or after they are carried out."""
        self._troubles.append(Trouble(kind, act, after, times))

    def told(self, kind: type) -> list[Any]:
        """The answers of one class so far."""
        return [answer for _, answer in self.answers if isinstance(answer, kind)]

    def execute(self, command: Command[Any]) -> Any:
        """As a blocking ledger does."""
        self._befall(command, after=False)
        try:
            answer = self.ledger.execute(command)
        except Exception as error:
            self.answers.append((command, error))
            raise
        self.answers.append((command, answer))
        self._befall(command, after=True)
        return answer

    def close(self) -> Any:
        """Close the governor's own ledger."""
        return self.ledger.close()

    def _befall(self, command: Command[Any], *, after: bool) -> None:
        for trouble in self._troubles:
            if isinstance(command, trouble.kind) and trouble.after == after and trouble.times:
                trouble.times -= 1
                trouble.act()
                return


class AsyncBetween(Between):
    """The same for an event loop."""

    async def execute(self, command: Command[Any]) -> Any:
        """As an async ledger does."""
        self._befall(command, after=False)
        try:
            answer = await self.ledger.execute(command)
        except Exception as error:
            self.answers.append((command, error))
            raise
        self.answers.append((command, answer))
        self._befall(command, after=True)
        return answer


def between(caller: Caller) -> Between:
    """Step between a caller's governor and its ledger."""
    kind = AsyncBetween if hasattr(caller, "_loop") else Between
    made = kind(caller.governor.ledger)
    caller.governor.ledger = made
    return made
