"""What administrators ask of a ledger: changes of limits and freezes, and what of them there is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from governor.ledger.values import Command


@dataclass(frozen=True, slots=True)
class Administered:
    """A change by an administrator is in force; *limit_added* is the total granted in the window."""

    now_ms: int
    limit_added: int = 0


@dataclass(frozen=True, slots=True)
class Grant(Command[Administered]):
    """Add *amount* to a budget's limit: in one window, or from one instant to another.

    Attributes:
        id: Made by the caller.
        identity: The budget.
        window: The only window it holds in; '' where the instants say when.
        amount: In the budget's unit; below 0 only where it takes another grant back (`taking_back`).
        record: The journal record, JSON.
        from_ms: Without a window: when it begins, Unix milliseconds; 0: now.
        until_ms: Without a window: when it ends; 0: never.
    """

    id: str
    identity: str
    window: str
    amount: int
    record: str = "{}"
    from_ms: int = 0
    until_ms: int = 0

    def taking_back(self, record: str) -> Grant:
        """The grant that takes this one back, whole, wherever it holds.

        Its id follows from this one's, so that however often it is sent a grant is taken back once.
        """
        return replace(self, id=f"revoke-{self.id}", amount=-self.amount, record=record)


@dataclass(frozen=True, slots=True)
class SetLimit(Command[Administered]):
    """Put *limit* in place of the file's, from *from_ms* (0: now) until *until_ms* (0: until changed).

    Of several that are in force the one set last holds. One without any end replaces those before it; `None`
    takes all of them away.
    """

    id: str
    identity: str
    limit: int | None
    until_ms: int = 0
    record: str = "{}"
    from_ms: int = 0


@dataclass(frozen=True, slots=True)
class Freeze(Command[Administered]):
    """Refuse whatever touches the budget, until *until_ms* (0: until unfrozen)."""

    id: str
    identity: str
    reason: str
    until_ms: int = 0
    record: str = "{}"

    @property
    def why(self) -> str:
        """The reason, never empty: a store may say "not frozen" by an empty one."""
        return self.reason or "frozen"


@dataclass(frozen=True, slots=True)
class Unfreeze(Command[Administered]):
    """End a freeze."""

    id: str
    identity: str
    record: str = "{}"


Change = Grant | SetLimit | Freeze | Unfreeze
"""What an administrator may change."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit that was set, or a grant that is not of one window.

    Attributes:
        added: Whether it adds to the limit (a grant); else it takes its place.
        amount: In the budget's unit.
        from_ms: When it begins, Unix milliseconds; 0: when it was made.
        until_ms: When it ends; 0: never.
    """

    added: bool
    amount: int
    from_ms: int
    until_ms: int

    def in_force(self, now_ms: int) -> bool:
        """Whether it holds at an instant, Unix milliseconds."""
        return self.from_ms <= now_ms and (not self.until_ms or now_ms < self.until_ms)


@dataclass(frozen=True, slots=True)
class Changes:
    """What administrators changed of a budget, and is not over.

    Attributes:
        granted: To the window asked for, in the budget's unit.
        limits: The other changes, in the order in which they were made.
        now_ms: The ledger's clock.
        frozen_until_ms: Until when it is frozen; 0: until it is unfrozen, `None`: it is not frozen.
    """

    granted: int
    limits: tuple[LimitChange, ...]
    now_ms: int
    frozen_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ReadChanges(Command[Changes]):
    """What was changed of a budget, in a window and besides; begun or not."""

    identity: str
    window: str


@dataclass(frozen=True, slots=True)
class FindGrant(Command[Grant | None]):
    """The grant that was made under an id, without its record; `None` where no grant was."""

    id: str


@dataclass(frozen=True, slots=True)
class ListChanged(Command[tuple[tuple[str, str], ...]]):
    """Every budget that administrators changed, whether or not anything was ever counted under it.

    Answers, sorted and each once, the identity and the window of a grant; '' for a freeze, and for a change
    of limit that is not of one window. What is over is left out, but for grants to windows.
    """
