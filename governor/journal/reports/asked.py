"""Who asks for a report, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.journal.reports.page import Page

if TYPE_CHECKING:
    from governor.journal.reports.page import Section


@dataclass(frozen=True, slots=True)
class Only:
    """Which calls a report is of; `None`: all."""

    department: str | None = None
    feature: str | None = None
    user: str | None = None

    def __str__(self) -> str:
        """For people: ` · department legal`, or ''."""
        told = ((name, getattr(self, name)) for name in ("department", "feature", "user"))
        return "".join(f" · {name} {value}" for name, value in told if value is not None)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and when.

    Attributes:
        organization: Whose calls.
        now_ms: Unix milliseconds by the ledger's clock.
        zone: The policy's time zone (IANA).
        only: Which calls.
    """

    organization: str
    now_ms: int
    zone: str
    only: Only = field(default_factory=Only)

    def page(self, key: str, title: str, span: str, sections: tuple[Section, ...]) -> Page:
        """A report for them."""
        return Page(key, title, self.organization, self.now_ms, span, sections, self.zone)
