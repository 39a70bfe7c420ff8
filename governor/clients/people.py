"""Users that no policy file names: a callable of the application's is asked, and its answer kept a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from governor.errors import GovernorError, PolicyViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Ask = Callable[[str, str], Mapping[str, str] | None]
    """Given a user and a department: `{"user_tier": "premium"}`, `{}` of a user without a tier, `None` of one
    it does not know."""

KEPT_S = 5.0
"""An answer is asked for again after this many seconds, so that who joins or leaves is known within them."""

MOST_KEPT = 10_000


class People:
    """Answers of a callable, each kept for a few seconds; may be shared by threads.

    Args:
        ask: The callable.
        clock: Seconds; only tests give one.
    """

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[Mapping[str, str] | None, float]] = {}

    def __call__(self, user: str, department: str) -> Mapping[str, str] | None:
        """What is known of a user.

        Raises:
            PolicyViolation: The callable raised, or answered something else than a row of a user or `None`.
        """
        kept = self._kept.get((user, department))
        if kept is not None and self._clock() < kept[1]:
            return kept[0]
        answer = self._asked(user, department)
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[user, department] = (answer, self._clock() + KEPT_S)
        return answer

    def _asked(self, user: str, department: str) -> Mapping[str, str] | None:
        try:
            answer = self._ask(user, department)
        except GovernorError:
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise PolicyViolation(f"the callable for users failed for {user!r}: {why}") from error
        if answer is None or _is_row(answer):
            return answer
        raise PolicyViolation(
            f"the callable for users answered {answer!r:.80} for {user!r}: "
            "give a mapping such as {'user_tier': 'premium'}, {} or None"
        )


def _is_row(answer: Any) -> bool:
    """Whether it is what a file's row of a user could say."""
    if not hasattr(answer, "get") or not set(answer) <= {"user_tier"}:
        return False
    return isinstance(answer.get("user_tier"), str | None)
