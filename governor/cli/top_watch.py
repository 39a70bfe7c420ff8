"""Looking at a ledger that is in use, again and again, at a small and bounded price for it.

One look is at most five short steps that change nothing: the open holds and the board (`Glance`), one or two
pages of the journal, holds that began before those, and 200 balances.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from governor.cli import balances
from governor.cli.top_picture import Flight, ModelLoad, Picture, alert_began_ms, full
from governor.cli.top_tail import SPAN_MS, Tail
from governor.ledger import commands as c
from governor.ledger.glance import Glance
from governor.ledger.recovery import PAGE, ReadSince, place
from governor.routing import notices
from governor.routing.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from governor.cli.context import Desk
    from governor.journal.call import Call
    from governor.ledger.board import Posted
    from governor.policy import BudgetTerm, Policies
    from governor.story.decision import BudgetView

PAGES = 2
"""How many pages of the journal one look reads; what comes faster is left out, and that is said."""

READ = balances.READ_AT_ONCE
"""How many balances one look reads."""

UNKNOWN = 20
"""How many holds that began before the records one look asks for."""

FILES_EVERY_MS = 30_000
"""How often the policies and what administrators changed are read anew."""


class Watch:
    """A ledger that is watched.

    Args:
        desk: Policies and ledger.
        reload: Reads the policies anew; `None`: they stay as they are.
        alerts: Reads the alerts that go on, as `Alert.as_json` has them; `None`: there is no archive.
    """

    def __init__(
        self,
        desk: Desk,
        reload: Callable[[], Policies] | None = None,
        alerts: Callable[[], Iterable[dict[str, Any]]] | None = None,
    ) -> None:
        self._desk, self._reload, self._alerts = desk, reload, alerts
        self._begin(None)
        self._meters = _Meters()
        self._files_ms = 0
        self._unread = desk.now_ms == 0  # the ledger was away: what was pushed to it was not read

    @property
    def desk(self) -> Desk:
        """The desk of the last look."""
        return self._desk

    def _begin(self, epoch: str | None) -> None:
        self._tail, self._epoch = Tail(), epoch
        self._after: str | None = None
        self._partly = False
        self._older_amounts: dict[str, int | None] = {}

    def look(self) -> Picture:
        """Look.

        Raises:
            LedgerUnavailable: The ledger is away; look again later.
        """
        seen = self._desk.ledger.execute(Glance())
        self._desk = replace(self._desk, now_ms=seen.now_ms)
        self._follow()
        calls = self._tail.calls(seen.now_ms)
        self._now_and_then()
        views = self._meters.read(self._desk, self._tail)
        began_ms = seen.now_ms if self._tail.since_ms is None else self._tail.since_ms
        return Picture(
            organization=self._desk.policies.organization,
            where=self._desk.where,
            now_ms=seen.now_ms,
            since_ms=max(seen.now_ms - SPAN_MS, min(began_ms, seen.now_ms)),
            budgets=tuple(views),
            known=len(self._meters),
            flights=tuple(self._flights(seen.holds)),
            open=seen.open,
            models=tuple(models_of(seen.board, seen.now_ms)),
            calls=tuple(calls),
            alerts=self._open_alerts(),
            partly=self._partly,
            runs=self._tail.runs(),
        )

    def _follow(self) -> None:
        """Take in the records since the last look."""
        if self._after is None:
            self._newest()
            self._epoch = self._desk.ledger.execute(ReadSince(self._after, limit=1)).epoch
            return
        for _ in range(PAGES):
            page = self._desk.ledger.execute(ReadSince(self._after))
            if page.epoch != self._epoch:
                self._begin(page.epoch)  # it was made anew meanwhile
                self._newest()
                return
            self._tail.take(page.entries)
            if page.entries:
                self._after = page.entries[-1].seq
            if len(page.entries) < PAGE:
                return
        self._newest()
        self._partly = True

    def _newest(self) -> None:
        """Go on at the journal's end: what lies between was never read, or is left out."""
        entries = self._desk.ledger.execute(c.ReadJournal(limit=PAGE))
        known = self._after
        new = [one for one in entries if known is None or place(one.seq) > place(known)]
        self._tail.take(new)
        if new:
            self._after = new[-1].seq

    def _now_and_then(self) -> None:
        now_ms = self._desk.now_ms
        if abs(now_ms - self._files_ms) < FILES_EVERY_MS and self._files_ms:
            return
        if self._reload is not None and (self._files_ms or self._unread):
            self._desk = replace(self._desk, policies=self._reload())
        self._files_ms = now_ms
        self._meters.pin(balances.of_files(self._desk))

    def _open_alerts(self) -> tuple[dict[str, Any], ...]:
        kept = {str(one.get("key")): one for one in (self._alerts() if self._alerts is not None else ())}
        found = {**kept, **self._tail.alerts}
        return tuple(sorted(found.values(), key=lambda one: -(alert_began_ms(one) or 0)))

    def _flights(self, holds: Iterable[c.OpenHold]) -> list[Flight]:
        found = [(hold, self._tail.call(hold.id)) for hold in holds]
        unknown = [h.id for h, call in found if call is None and h.id not in self._older_amounts]
        amounts = self._older_amounts | self._amounts(unknown[:UNKNOWN])
        self._older_amounts = {hold.id: amounts[hold.id] for hold, _ in found if hold.id in amounts}
        return [
            older(hold, amounts.get(hold.id)) if call is None else _flight(hold, call) for hold, call in found
        ]

    def _amounts(self, identifiers: list[str]) -> dict[str, int | None]:
        """How much money each of these holds has."""
        if not identifiers:
            return {}
        found = self._desk.ledger.execute(c.FindHolds(tuple(identifiers)))
        return {
            name: None if one is None else _money(one) for name, one in zip(identifiers, found, strict=True)
        }


class _Meters:
    """The budgets that are known, and their last readings."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], tuple[c.BudgetRow, BudgetTerm | None]] = {}
        self._views: dict[tuple[str, str], BudgetView] = {}
        self._pinned: dict[str, BudgetTerm] = {}
        self._hash = ""

    def __len__(self) -> int:
        return len(self._views)

    def pin(self, terms: Iterable[BudgetTerm]) -> None:
        """These are read first from now on, in their windows of each moment."""
        self._pinned = {term.identity: term for term in terms}

    def read(self, desk: Desk, tail: Tail) -> list[BudgetView]:
        """Every budget that is known, the fullest of them read now: no more than one step reads."""
        if self._hash != desk.policies.hash:
            self._rows.clear()
            self._hash = desk.policies.hash
        known = dict.fromkeys(self._row(desk, term) for term in self._pinned.values())
        for key, one in tail.touched.items():
            known[key] = None
            if key not in self._rows:
                self._rows[key] = balances.row_of(desk, *key, one.end_ms, one.file_limit)
            seen = self._views.get(key)
            if seen is None or seen.posted <= one.balance.posted:
                self._views[key] = balances.view_from(*self._rows[key], one.balance)
        self._rows = {key: self._rows[key] for key in known}
        wanted = sorted(known, key=self._urgency)[:READ]
        readings = balances.read_rows(desk, [self._rows[key][0] for key in wanted])
        read = {k: balances.view_from(*self._rows[k], one) for k, one in zip(wanted, readings, strict=True)}
        self._views = {
            key: read.get(key) or self._views[key] for key in known if key in read or key in self._views
        }
        return list(self._views.values())

    def _urgency(self, key: tuple[str, str]) -> float:
        """What was never read comes first, then what is fullest."""
        view = self._views.get(key)
        return float("-inf") if view is None else -full(view)

    def _row(self, desk: Desk, term: BudgetTerm) -> tuple[str, str]:
        window = balances.window_of(desk, term)
        key = (term.identity, window.id)
        if key not in self._rows:
            self._rows[key] = balances.row_of(desk, *key, window.end_ms, term.limit)
        return key


def _flight(hold: c.OpenHold, call: Call) -> Flight:
    return Flight(
        id=hold.id,
        user=call.user,
        department=call.department,
        feature=call.feature,
        run=call.run,
        model=call.model,
        began_ms=call.began_ms,
        held_nanos=call.ceiling_nanos,
        expires_ms=hold.expires_ms,
        identities=tuple(identity for identity, _ in hold.balances),
    )


def older(hold: c.OpenHold, held_nanos: int | None) -> Flight:
    """A hold that began before the records that were read: who, as far as its budgets' names tell."""
    said: dict[str, str] = {}
    for identity, _ in hold.balances:
        for one in identity.split("/"):
            name, _, value = one.partition("=")
            said.setdefault(name, unquote(value))
    return Flight(
        hold.id,
        user=said.get("user", ""),
        department=said.get("department", ""),
        feature=said.get("feature", ""),
        run=said.get("run", ""),
        model=said.get("model", ""),
        held_nanos=held_nanos,
        expires_ms=hold.expires_ms,
        identities=tuple(identity for identity, _ in hold.balances),
    )


def models_of(board: tuple[Posted, ...], now_ms: int) -> list[ModelLoad]:
    """What the board says of each model, as a process that listens to it would judge; the busiest first."""
    listener = Traffic("top", lambda: now_ms, random.Random(0))  # noqa: S311 - for how long breakers stay open
    listener.learn([(line.process, line.at_ms, line.text) for line in reversed(board)], now_ms)
    words: dict[str, list[notices.Word]] = {}
    for line in board:
        if now_ms - line.at_ms <= notices.TOLD_S * 1000:
            for model, word in notices.read(line.text).items():
                words.setdefault(model, []).append(word)
    found = [_model(model, said, listener) for model, said in words.items()]
    return sorted(found, key=lambda one: (one.breaker == "closed", -one.load_bp, one.model))


def _model(model: str, said: list[notices.Word], listener: Traffic) -> ModelLoad:
    load = listener.view(model)
    took = [word.latency_ms for word in said if word.latency_ms]
    return ModelLoad(
        model=model,
        load_bp=load.load_bp,
        limits_bp=load.headers_bp,
        in_flight_bp=load.in_flight_bp,
        pushed_bp=load.pushed_back_bp,
        in_flight=sum(word.in_flight for word in said),
        waiting=sum(word.waiting for word in said),
        sent_per_min=sum(word.sent_per_min for word in said),
        answers=sum(word.answers for word in said),
        pushed=sum(min(word.pushed, word.answers) for word in said),
        latency_ms=sum(took) // len(took) if took else 0,
        breaker=load.state,
        why=load.why,
        opens_in_s=load.opens_in_s,
        processes=len(said),
    )


def _money(hold: c.FoundHold) -> int | None:
    """What a hold has of money: the most of any one budget, for each holds the same dollars."""
    return max((amount for row, amount in hold.rows if row.unit == "usd"), default=None)
