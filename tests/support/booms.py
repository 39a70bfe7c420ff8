"""A small watch for tests of the worker: an outcome `boom` raises an alert, an outcome `calm` ends it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.journal.alerts.alert import Action, Alert
from governor.journal.alerts.change import Change
from governor.ledger import open_ledger
from governor.ledger.entering import Enter

if TYPE_CHECKING:
    from governor.ledger import Ledger
    from governor.ledger.commands import JournalEntry


class Booms:
    """Each boom's id is an incident; told at the first evaluation after its record."""

    def __init__(
        self,
        every_ms: int,
        channels: tuple[str, ...],
        actions: tuple[Action, ...] = (),
        worse: tuple[Action, ...] = (),
    ) -> None:
        self._every_ms, self._channels, self._actions, self._worse = every_ms, channels, actions, worse
        self._due: list[tuple[int, str, str]] = []
        self._open: dict[str, Alert] = {}
        self.taken: list[str] = []

    @property
    def open(self) -> tuple[Alert, ...]:
        return tuple(self._open.values())

    def take(self, entry: JournalEntry) -> None:
        self.taken.append(entry.id)
        if entry.kind == "outcome":
            said = json.loads(entry.record)
            due_ms = (entry.at_ms // self._every_ms + 1) * self._every_ms
            self._due.append((due_ms, entry.outcome, said["incident"]))

    def tick(self, now_ms: int) -> list[Change]:
        ready = [one for one in self._due if one[0] <= now_ms]
        self._due = [one for one in self._due if one[0] > now_ms]
        return [change for at_ms, what, name in ready for change in self._change(at_ms, what, name)]

    def _change(self, at_ms: int, what: str, name: str) -> list[Change]:
        if what == "boom" and name not in self._open:
            self._open[name] = self._alert(name, at_ms)
            return [Change("raised", at_ms, self._open[name])]
        if name not in self._open:
            return []
        if what == "calm":
            ended = replace(self._open.pop(name), ended_ms=at_ms)
            return [Change("ended", at_ms, ended)]
        actions = (*self._worse, *self._actions)
        worse = replace(self._open[name], severity="critical", seen_ms=at_ms, actions=actions)
        self._open[name] = worse
        return [Change("updated", at_ms, worse)]

    def _alert(self, name: str, at_ms: int) -> Alert:
        key = f"boom/{name}/{at_ms}"
        title, advice = f"boom {name}", "Look."
        return Alert(
            key,
            "boom",
            "warning",
            title,
            advice,
            at_ms,
            at_ms,
            None,
            (),
            channels=self._channels,
            actions=self._actions,
        )


def say(ledger: Ledger, what: str, name: str, **more: Any) -> None:
    """Enter `boom`, `worse` or `calm` of an incident."""
    record = json.dumps({"incident": name, **more})
    ledger.execute(Enter(f"{what}-{name}", "outcome", what, record))


def made(url: str, org: str) -> Ledger:
    """A ledger, made."""
    return open_ledger(url, org, create=True)
