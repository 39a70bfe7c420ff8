"""Symptoms grouped into incidents: one alert for one cause, from its first symptom to its last. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from governor.journal.alerts.alert import SEVERITIES, Action, Alert
from governor.journal.alerts.behind import ranked
from governor.journal.alerts.causes import cause_of, rank, related
from governor.journal.alerts.change import Change
from governor.journal.alerts.rule import DAY_MS
from governor.journal.alerts.telling import subject_key, title_of
from governor.ledger.orders import MOST_ORDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from governor.journal.alerts.alert import Severity
    from governor.journal.alerts.causes import Fact
    from governor.journal.alerts.cells import Subject
    from governor.journal.alerts.rule import Response


MOST_SYMPTOMS = 50
"""An alert names so many symptoms at most; those that come later still keep it open."""

MOST_ACTIONS = MOST_ORDERS
"""It asks for so many responses at most: a ledger takes no more."""

_SUITED = {
    "freeze_run": ("run",),
    "slow": ("user",),
    "open_breaker": ("model", "line"),
    "tighten": ("run", "user", "feature", "department", "tag"),
}
_WITHIN = {
    "slow": ("department", "user", "feature", "tag"),
    "tighten": ("department", "user", "feature", "tag"),
}
"""In which of what a symptom is about a response meets somebody; a run is met everywhere."""

_CLEARLY = 50.0
"""A response meets whom its symptom is about; else who has so many percent of it; else nobody."""


@dataclass(slots=True)
class Incident:
    """Symptoms of one cause.

    Attributes:
        began_ms: When the first of them was found.
        facts: By rule and subject.
        until_ms: Of a budget's crossing: when it is over. Else 0: with its last symptom.
        alert: As it was told; `None` before that.
    """

    began_ms: int
    facts: dict[tuple[str, Subject], Fact] = field(default_factory=dict)
    until_ms: int = 0
    seen_ms: int = 0
    alert: Alert | None = None

    @property
    def is_budget(self) -> bool:
        """Whether nothing but a budget is behind it."""
        return all(fact.balance is not None for fact in self.facts.values())

    def told(self, ended_ms: int | None = None) -> Alert:
        """It as an alert, as it is now."""
        cause, lead = cause_of(self.facts.values())
        key = self.alert.key if self.alert else self._key(cause.name, lead)
        told: list[Severity] = [fact.rule.severity for fact in self.facts.values()]
        worst: Severity = max(told, key=SEVERITIES.index)
        every = sorted(self.facts.values(), key=lambda fact: (fact is not lead, rank(fact)))
        ordered = every[:MOST_SYMPTOMS]
        channels = dict.fromkeys(name for fact in every for name in fact.rule.channels)
        actions = dict.fromkeys(one for fact in every for one in _actions(fact))
        return Alert(
            key=key,
            cause=cause.name,
            severity=worst,
            title=title_of(cause.title, lead.symptom),
            advice=cause.advice,
            began_ms=self.began_ms,
            seen_ms=self.seen_ms,
            ended_ms=ended_ms,
            symptoms=tuple(fact.symptom for fact in ordered),
            behind=ranked(fact.shares for fact in ordered),
            channels=tuple(channels),
            actions=tuple(actions)[:MOST_ACTIONS],
        )

    def _key(self, cause: str, lead: Fact) -> str:
        if lead.balance is not None:
            identity, window = lead.balance
            return f"{cause}/{identity}@{window}/{lead.symptom.threshold:g}"
        return f"{cause}/{subject_key(lead.symptom.subject)}/{self.began_ms}"


class Incidents:
    """All incidents that go on.

    Attributes:
        every_ms: The evaluation period.
    """

    def __init__(self, every_ms: int) -> None:
        self.every_ms = every_ms
        self._open: list[Incident] = []
        self._standing: list[Incident] = []  # budgets' crossings, until their windows end

    @property
    def open(self) -> tuple[Alert, ...]:
        """The alerts that were told and go on, the oldest first, with when each was seen last."""
        every = (*self._open, *self._standing)
        told = [replace(one.alert, seen_ms=one.seen_ms) for one in every if one.alert is not None]
        return tuple(sorted(told, key=lambda alert: (alert.began_ms, alert.key)))

    @property
    def idle(self) -> bool:
        """Whether nothing goes on."""
        return not (self._open or self._standing)

    def step(
        self,
        now_ms: int,
        began: Iterable[Fact],
        ended: Iterable[tuple[str, Subject]],
        ends_ms: dict[str, int],
    ) -> Iterator[Change]:
        """One evaluation.

        Args:
            now_ms: When.
            began: Symptoms that are new.
            ended: Rules and subjects that hold no more.
            ends_ms: When the windows of new crossings end, by balance (`identity@window`).
        """
        grown = self._join(now_ms, began, ends_ms)
        for key in ended:
            for incident in self._open:
                if key in incident.facts:
                    incident.facts[key].holds = False
        for incident in list(self._open):
            yield from self._tell(incident, now_ms, grown=any(incident is one for one in grown))
        over = [one for one in self._standing if one.until_ms <= now_ms]
        for incident in over:
            self._standing.remove(incident)
            yield Change("ended", now_ms, incident.told(now_ms))

    def _join(self, now_ms: int, began: Iterable[Fact], ends_ms: dict[str, int]) -> list[Incident]:
        grown = []
        for fact in sorted(began, key=lambda one: (rank(one), one.rule.name, one.symptom.subject)):
            incident = next((one for one in self._candidates(fact) if _belongs(fact, one)), None)
            if incident is None:
                incident = Incident(now_ms)
                self._open.append(incident)
            if fact.key not in incident.facts:
                grown.append(incident)
            incident.facts[fact.key] = fact
            incident.seen_ms = now_ms
            if fact.balance is not None:
                end = ends_ms.get("@".join(fact.balance), 0)
                incident.until_ms = min(end or now_ms + DAY_MS, now_ms + DAY_MS)
                fact.holds = False
        return grown

    def _candidates(self, fact: Fact) -> list[Incident]:
        """Where a symptom may belong; of a crossing its own steps are told apart."""
        if fact.balance is not None:
            fresh = [one for one in self._open if one.alert is None or not one.is_budget]
            return [*fresh, *self._standing] if fact.symptom.metric == "budget_use" else fresh
        return self._open

    def _tell(self, incident: Incident, now_ms: int, *, grown: bool) -> Iterator[Change]:
        holds = any(fact.holds for fact in incident.facts.values())
        if holds:
            incident.seen_ms = now_ms
        if incident.alert is None:
            cause, _ = cause_of(incident.facts.values())
            if now_ms < incident.began_ms + cause.wait * self.every_ms:
                return
            incident.alert = incident.told()
            yield Change("raised", now_ms, incident.alert)
        elif grown:
            incident.alert = incident.told()
            yield Change("updated", now_ms, incident.alert)
        if holds:
            return
        self._open.remove(incident)
        if incident.is_budget and incident.until_ms > now_ms:
            self._standing.append(incident)
            return
        yield Change("ended", now_ms, incident.told(now_ms))


def _belongs(fact: Fact, incident: Incident) -> bool:
    if incident.is_budget and fact.balance is None and incident.alert is not None:
        return False
    return any(related(fact, one) for one in incident.facts.values())


def _actions(fact: Fact) -> Iterator[Action]:
    for response in fact.rule.responses:
        subject = _suited(response, fact)
        if subject:
            yield Action(response.kind, subject, response.setting, response.for_ms)


def _suited(response: Response, fact: Fact) -> Subject:
    """Whom a response meets; nobody where no single one is clearly behind it."""
    for name in _SUITED[response.kind]:
        own = [pair for pair in fact.symptom.subject if _kind(pair[0]) == name and pair[1]]
        if own:
            return _within(response, fact, own[0])
    for name in _SUITED[response.kind]:
        parts = fact.shares.get(name, {})
        clear = [(percent, value) for value, percent in parts.items() if value and percent >= _CLEARLY]
        if clear:
            return _within(response, fact, (name, max(clear)[1]))
    return ()


def _within(response: Response, fact: Fact, whom: tuple[str, str]) -> Subject:
    """Somebody, in what alone the symptom is about: the same feature of other departments goes on."""
    if whom[0] == "run":
        return (whom,)
    known = {name: next(iter(values)) for name, values in fact.rule.where.items() if len(values) == 1}
    known |= dict(fact.symptom.subject)
    kept = _WITHIN.get(response.kind, ())
    pairs = {name: value for name, value in known.items() if value and _kind(name) in kept}
    return tuple((pairs | dict([whom])).items())


def _kind(dimension: str) -> str:
    """`tag` of every tag."""
    return dimension.partition(":")[0]
