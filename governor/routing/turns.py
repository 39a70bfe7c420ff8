"""Who may send next: users take turns, and whoever was told to come back and does not is passed over."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_S = 1.0
"""So much later than told may a ticket come back before it is thought to be abandoned."""


class Turn:
    """A ticket of one request; polled by its owner.

    Args:
        user: Whose request it is.
        throttle_bp: The used share of a limit up to which it need not wait, basis points.
        ask: Answers `wait_s`.
        leave: Does what `leave` says.

    Attributes:
        expected_s: How long the whole wait will probably be, in seconds, as of the last `wait_s`.
    """

    __slots__ = (
        "_ask",
        "_leave",
        "back_by_s",
        "expected_s",
        "granted",
        "number",
        "sent",
        "throttle_bp",
        "user",
    )

    def __init__(
        self, user: str, throttle_bp: int, ask: Callable[[Turn], float], leave: Callable[[Turn], None]
    ) -> None:
        self._ask, self._leave = ask, leave
        self.user, self.throttle_bp = user, throttle_bp
        self.expected_s = 0.0
        self.sent = self.granted = False
        self.number: int | None = None
        self.back_by_s = 0.0

    def wait_s(self) -> float:
        """Whether the request may be sent.

        Returns:
            0.0: go now, and that it departs is recorded; else the seconds after which to ask again: at most
            `lane.LONGEST_NAP_S`, which may be less than the whole wait (`expected_s`).
        """
        return self._ask(self)

    def leave(self) -> None:
        """It is gone, sent or given up. To be called in a `finally`; once more does nothing."""
        self._leave(self)


class FairQueue:
    """Tickets that wait: users go round, and each user's tickets first come, first served."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, OrderedDict[int, Turn]] = OrderedDict()
        self._joined: dict[str, int] = {}
        self._numbers = self._joinings = self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def users(self) -> int:
        """How many users wait."""
        return len(self._users)

    def add(self, turn: Turn, *, first: bool = False) -> None:
        """Let it wait: behind its user's others, or before them all (*first*), whose turn is not lost."""
        if turn.number is not None:
            return
        self._numbers += 1
        turn.number = self._numbers
        line = self._users.get(turn.user)
        if line is None:
            line = self._users[turn.user] = OrderedDict()
            self._join(turn.user)
        line[turn.number] = turn
        self._size += 1
        if first:
            foremost = next(iter(self._users))
            line.move_to_end(turn.number, last=False)
            self._users.move_to_end(turn.user, last=False)
            self._joined[turn.user] = self._joined[foremost]

    def discard(self, turn: Turn) -> None:
        """It waits no longer, if it did."""
        number, turn.number = turn.number, None
        line = self._users.get(turn.user)
        if number is None or line is None or line.pop(number, None) is None:
            return
        self._size -= 1
        if not line:
            del self._users[turn.user], self._joined[turn.user]

    def next(self, now_s: float) -> Turn | None:
        """Take the ticket whose turn it is off the queue; abandoned ones are dropped on the way."""
        while self._users:
            user, line = next(iter(self._users.items()))
            turn = next(iter(line.values()))
            self.discard(turn)
            if turn.back_by_s < now_s:
                continue
            if line:
                self._users.move_to_end(user)
                self._join(user)
            return turn
        return None

    def ahead(self, turn: Turn) -> int:
        """About how many tickets go before it."""
        line = self._users.get(turn.user)
        if turn.number is None or line is None:
            return 0
        rounds = min(len(line) - 1, max(0, turn.number - next(iter(line))))
        head = self._joined[next(iter(self._users))]
        offset = min(len(self._users) - 1, max(0, self._joined[turn.user] - head))
        return min(self._size - 1, rounds * len(self._users) + offset)

    def _join(self, user: str) -> None:
        self._joinings += 1
        self._joined[user] = self._joinings
