"""Journals of calls for reports: records as a ledger writes them, and what they come to, summed by hand."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from governor.journal.archive_sql import SqlArchive
from governor.journal.reports.asked import Asked, Only
from governor.journal.reports.queries import Source
from governor.ledger import commands as c
from governor.ledger import detail

EPOCH = "told"
ORGANIZATION = "acme"


@dataclass
class Journal:
    """Records of calls, in the order in which they are told."""

    entries: list[c.JournalEntry] = field(default_factory=list)

    def call(
        self,
        at_ms: int,
        *,
        name: str = "",
        cost: int = 1_000_000,
        ended: str = "answered",
        took_ms: int = 1_000,
        after_ms: int = 0,
        **more: Any,
    ) -> str:
        """A call that was held and ended so: `open`, `blocked`, `expired`, or as its record says; its id."""
        name = name or f"call-{len(self.entries)}"
        who = {part: more.get(part) for part in ("user", "department", "feature", "run")}
        who |= {"tags": more.get("tags", {})}
        model = more.get("model", "claude-haiku-5-5")
        offer = {"model": model, "line": "haiku", "ceiling_nanos": 2 * cost}
        asked = {**who, "asked": "auto", "candidates": [offer], "max_tokens": 100, "preferred": model}
        held = ended != "blocked"
        outcome = "held" if held else more.get("reason", "exhausted")
        self._add("reserve", name, at_ms, outcome, "0 1:0:9" if held else "- 1:0:9", asked)
        posted = {"expired": 2 * cost, "refused": 0}.get(ended, cost)
        closing = detail.write_closing(overrun=False, amounts=[posted], crossed="")
        if ended == "expired":
            self._add("expire", name, at_ms + took_ms, "expired", closing, {})
        elif ended not in ("open", "blocked"):
            told = {"v": 1, **who, "asked": "auto", "model": model, "line": "haiku", "ended": ended}
            told |= {"usage": more.get("usage", {}), "cost_nanos": posted, "latency_ms": took_ms}
            told |= {"pushed": more.get("pushed", []), "stop_reason": more.get("stop_reason", "end_turn")}
            kind = "release" if ended == "refused" else "settle"
            self._add(kind, name, at_ms + max(took_ms, after_ms), kind + "d", closing, told)
        return name

    def result(self, at_ms: int, name: str, **said: Any) -> None:
        """A result that was told."""
        self._add("outcome", f"result-{len(self.entries)}", at_ms, name, "", said)

    def _add(self, kind: str, name: str, at_ms: int, outcome: str, text: str, record: dict[str, Any]) -> None:
        seq, told = str(len(self.entries) + 1), json.dumps(record)
        self.entries.append(c.JournalEntry(seq, kind, name, at_ms, outcome, text, told))

    def spent(self, start_ms: int, end_ms: int, *by: str) -> Counter[tuple[str, ...]]:
        """What calls that began in a stretch of time cost by some of their fields, by the records alone."""
        began: dict[str, tuple[int, dict[str, Any]]] = {}
        sums: Counter[tuple[str, ...]] = Counter()
        for entry in self.entries:
            record = json.loads(entry.record)
            if entry.kind == "reserve":
                began[entry.id] = (entry.at_ms, {**record, "model": record["candidates"][0]["model"]})
            elif entry.kind in ("settle", "release", "expire"):
                at_ms, who = began[entry.id]
                posted = int(detail.read_closing(entry.detail)["posted"])
                if start_ms <= at_ms < end_ms:
                    sums[tuple(who[name] or "" for name in by)] += posted
        return +sums

    def archive(self, url: str = "sqlite://") -> SqlArchive:
        """An archive that has them."""
        archive = SqlArchive(url, ORGANIZATION)
        archive.append(EPOCH, self.entries)
        return archive

    def ask(self, now_ms: int, zone: str = "UTC", **only: str) -> tuple[Source, Asked]:
        """The calls of an archive in memory, and somebody who asks."""
        connection = self.archive().engine.connect()
        whose = Only(**only)
        return Source(connection, ORGANIZATION, whose), Asked(ORGANIZATION, now_ms, zone, whose)
