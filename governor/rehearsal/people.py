"""Users whom the application would tell of, where a policy says `users_from: application`."""

from __future__ import annotations


class TierBook:
    """Says of users what somebody wrote down; a `Policies.directory`."""

    def __init__(self) -> None:
        self._tiers: dict[tuple[str, str], str] = {}

    def write(self, user: str, department: str, tier: str | None) -> None:
        """Note the tier of a user in a department; `None`: nothing is known of them."""
        self._tiers.pop((user, department), None)
        if tier is not None:
            self._tiers[user, department] = tier

    def __call__(self, user: str, department: str) -> dict[str, str] | None:
        """What the application would say of *user*; `None` of one it does not know."""
        tier = self._tiers.get((user, department))
        return None if tier is None else {"user_tier": tier}
