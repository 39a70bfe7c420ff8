"""From the journal's records to the calls they tell of: `Call`s as the records leave them. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from governor.journal import call as states
from governor.journal.call import Call, Result
from governor.journal.fitting import fit_call, fit_result
from governor.ledger import detail
from governor.ledger.entering import VIOLATION
from governor.pricing import read_usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from governor.ledger.commands import JournalEntry

_BROKEN = (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError)

SMALLER = ": what its budgets can still bear"
"""How `governor.story.shrink` says that it made `max_tokens` smaller."""

CALL_KINDS = frozenset({"reserve", "settle", "release", "expire", VIOLATION})
"""The kinds of records that tell of calls."""

RESULT = "outcome"
"""The kind of a record that says what calls were good for."""


class Fold:
    """Takes in records in the journal's order, and has the calls that they began, changed or ended.

    Attributes:
        calls: The newest call of each id that was taken in or given.
        changed: The keys, `(id, turn)`, of those that are new or not as they were, in order.
        closed: Calls of ids that were used again meanwhile; not in *calls* any more.
        unreadable: How many records of calls could not be read; they tell of nothing.
    """

    def __init__(self, known: Mapping[str, Call] | None = None) -> None:
        self.calls: dict[str, Call] = dict(known or {})
        self.changed: dict[tuple[str, int], None] = {}
        self.closed: list[Call] = []
        self.unreadable = 0

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Take in records."""
        for entry in entries:
            self.one(entry)

    def one(self, entry: JournalEntry) -> Call | None:
        """Take in a record; returns the call that it began, changed or ended, as it is now; else `None`."""
        if entry.kind not in CALL_KINDS or not _tells(entry):
            return None
        try:
            call = self._began_or_ended(entry)
        except _BROKEN:
            self.unreadable += 1
            return None
        if call is not None:
            call = fit_call(call)
            self.calls[call.id] = call
            self.changed[call.id, call.turn] = None
        return call

    def rows(self) -> list[Call]:
        """The calls that are new or not as they were."""
        every = {(one.id, one.turn): one for one in (*self.closed, *self.calls.values())}
        return [every[key] for key in self.changed]

    def _began_or_ended(self, entry: JournalEntry) -> Call | None:
        if entry.kind == "reserve":
            return self._reserve(entry)
        return self._forbidden(entry) if entry.kind == VIOLATION else self._end(entry)

    def _forbidden(self, entry: JournalEntry) -> Call:
        """A call that the policy refused before any budget was asked."""
        record = from_json(entry.record)
        before, turn = self.calls.get(entry.id), 0
        if before is not None:
            self.closed.append(before)
            turn = before.turn + 1
        return Call(
            id=entry.id,
            turn=turn,
            call_id=record.get("of") or entry.id,
            leg=record.get("leg", 1),
            began_ms=entry.at_ms,
            ended_ms=entry.at_ms,
            state=states.BLOCKED,
            reason=entry.outcome,
            refusals=record.get("refused", 1),
            **_who(record),
            door=record.get("door", ""),
            asked=record["asked"],
            decision=states.BLOCKED,
            tier=record.get("tier") or "",
            max_tokens=record.get("max_tokens") or 0,
            error=record.get("error") or "",
            policy=record.get("policy") or "",
            prices=record.get("prices") or "",
            **found_in(record.get("findings") or {}),
        )

    def _reserve(self, entry: JournalEntry) -> Call | None:
        record = from_json(entry.record)
        if "lease" in record or "batch" in record:
            return None
        before, turn = self.calls.get(entry.id), 0
        if before is not None and (before.state != states.BLOCKED or before.reason in states.FORBIDDEN):
            self.closed.append(before)
            turn, before = before.turn + 1, None
        elif before is not None:
            turn = before.turn
        chosen, _ = _chosen(entry.detail)
        tried = record["candidates"] or record.get("skipped") or [{}]
        offer = record["candidates"][chosen] if chosen is not None else tried[0]
        held = chosen is not None
        refusals = (0 if before is None else before.refusals) + (0 if held else 1)
        findings = record.get("findings") or {}
        self._went_on(entry.id)
        return Call(
            id=entry.id,
            turn=turn,
            call_id=record.get("of") or entry.id,
            leg=record.get("leg", 1),
            began_ms=entry.at_ms,
            ended_ms=None if held else entry.at_ms,
            state=states.OPEN if held else states.BLOCKED,
            reason="" if held else entry.outcome,
            refusals=refusals,
            **_who(record),
            door=record.get("door", ""),
            asked=record["asked"],
            model=offer.get("model", ""),
            line=offer.get("line", ""),
            tier=record.get("tier") or "",
            preferred=record.get("preferred") or "",
            decision=_decision(record, chosen, offer),
            complexity=record.get("complexity"),
            load_bp=record.get("load") or 0,
            max_tokens=record.get("max_tokens") or 0,
            estimated_tokens=record.get("input_tokens") or 0,
            ceiling_nanos=offer["ceiling_nanos"] if held else 0,
            expected_nanos=offer.get("expected_nanos"),
            policy=record.get("policy") or "",
            prices=record.get("prices") or "",
            **found_in(findings),
        )

    def _went_on(self, identifier: str) -> None:
        """A leg that a budget refused was not its call's last one, if another leg follows it."""
        before = self.calls.get(leg_before(identifier))
        if before is not None and before.state == states.BLOCKED and before.final:
            self.calls[before.id] = replace(before, final=False)
            self.changed[before.id, before.turn] = None

    def _end(self, entry: JournalEntry) -> Call | None:
        told = detail.read_closing(entry.detail)
        record = from_json(entry.record) if entry.record else {}
        if "lease" in record or "batch" in record:
            return None
        before = self.calls.get(entry.id)
        if before is None and entry.kind == "expire":
            return (
                None  # a lease's; or of a call that began before these records do, of which it tells nothing
            )
        unknown = told.get("unknown") == "1"
        if before is None or (unknown and before.state not in (states.OPEN, states.BLOCKED)):
            if before is not None:
                self.closed.append(before)
            turn = 0 if before is None else before.turn + 1
            before = Call(entry.id, turn, record.get("of") or entry.id, began_ms=entry.at_ms, ceiling_nanos=0)
        common: dict[str, Any] = {
            "ended_ms": entry.at_ms,
            "reason": "",
            "overrun": told.get("overrun") == "1",
            "late": entry.outcome == "settled_late",
            "unknown": unknown,
        }
        if entry.kind == "expire":
            cost = _expired_nanos(told, before.ceiling_nanos)
            return replace(before, state=states.EXPIRED, cost_nanos=cost, uncertain=True, **common)
        pushed = record.get("pushed") or ([record["status"]] if record.get("status") in (429, 529) else [])
        return replace(
            before,
            state=record.get("ended") or (states.REFUSED if entry.kind == "release" else states.ANSWERED),
            final="next" not in record,
            leg=record.get("leg", before.leg),
            **(_who(record) if "department" in record else {}),
            door=record.get("door") or before.door,
            asked=record.get("asked") or before.asked,
            model=record.get("model") or before.model,
            line=record.get("line") or before.line,
            **tokens_of(record.get("usage") or {}),
            window_tokens=record.get("window") or 0,
            limit_bp=record.get("limit_bp"),
            cost_nanos=record.get("cost_nanos") or 0,
            ceiling_nanos=before.ceiling_nanos or record.get("ceiling_nanos") or 0,
            latency_ms=record.get("latency_ms"),
            first_token_ms=record.get("first_token_ms"),
            stop_reason=record.get("stop_reason") or "",
            status=record.get("status") or 0,
            error=record.get("error") or "",
            attempts=record.get("attempts") or 0,
            pushed_429=pushed.count(429),
            pushed_529=pushed.count(529),
            uncertain=record.get("uncertain") is True,
            admitted=record.get("admitted") or "held",
            endpoint=record.get("endpoint") or "",
            policy=record.get("policy") or before.policy,
            prices=record.get("prices") or before.prices,
            api_request_id=record.get("api_request_id") or "",
            **(found_in(record["findings"]) if record.get("findings") else {}),
            **common,
        )


def leg_before(identifier: str) -> str:
    """The id of the leg before one that is not its call's second; '' of every other id (`legs.leg_id`)."""
    call_id, mark, number = identifier.rpartition("~")
    return f"{call_id}~{int(number) - 1}" if mark and number.isdecimal() and int(number) > 2 else ""


def _tells(entry: JournalEntry) -> bool:
    """Whether there is a call in it: who holds without a record (a test, a tool) makes none."""
    return entry.record not in ("", "{}") or entry.kind == "expire"


def _who(record: Mapping[str, Any]) -> dict[str, Any]:
    tags = record.get("tags") or {}
    return {
        "department": record["department"] or "",
        "user": record["user"] or "",
        "feature": record.get("feature") or "",
        "run": record.get("run") or "",
        "priority": record.get("priority") or "",
        "tags": tuple(sorted(tags.items())),
    }


def found_in(findings: Mapping[str, Any]) -> dict[str, Any]:
    """What was found in the content."""
    return {
        "classification": findings.get("classification") or "",
        "region": findings.get("region") or "",
        "pii": ",".join(findings.get("pii") or ()),
        "content_hash": findings.get("content") or "",
    }


def tokens_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens of a usage: the totals of all passes, as the budgets of tokens count them."""
    if not usage:
        return {}
    plain = _plain_tokens(usage)
    if plain is not None:
        return dict(zip(_TOKENS, plain, strict=True))
    read = read_usage(usage)
    written = read.cache_write_5m_tokens + read.cache_write_1h_tokens
    told = (read.input_tokens, read.output_tokens, written, read.cache_read_tokens)
    return dict(zip(_TOKENS, told, strict=True))


_TOKENS = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")


def _plain_tokens(usage: Mapping[str, Any]) -> tuple[int, int, int, int] | None:
    """Those of a usage of one pass, as nearly all are, in a fifth of the time; `None`: read it with care."""
    if usage.get("iterations"):
        return None
    split = usage.get("cache_creation")
    split = {} if split is None else split
    may: tuple[Any, ...] = (
        usage.get("cache_creation_input_tokens"),
        usage.get("cache_read_input_tokens"),
        split.get("ephemeral_5m_input_tokens"),
        split.get("ephemeral_1h_input_tokens"),
    )
    counts: list[Any] = [
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        *(0 if n is None else n for n in may),
    ]
    if any(type(count) is not int or not 0 <= count <= _MOST_TOKENS for count in counts):
        return None
    given, answered, written, cached, short, long = counts
    return given, answered, max(written, short + long), cached


_MOST_TOKENS = 100_000_000
"""As `read_usage` takes them."""


def _chosen(text: str) -> tuple[int | None, str]:
    chosen, _, rows = text.partition(" ")
    return (None if chosen == "-" else int(chosen)), rows


def _decision(record: Mapping[str, Any], chosen: int | None, offer: Mapping[str, Any]) -> str:
    """How the held candidate came to serve, in a word."""
    if chosen is None:
        return states.BLOCKED
    tried = [one["model"] for one in record["candidates"][: chosen + 1]]
    smaller = _made_smaller(offer)
    return decided(
        later=bool(record.get("of")), preferred=record.get("preferred") or "", tried=tried, smaller=smaller
    )


def decided(*, later: bool, preferred: str, tried: Sequence[str], smaller: bool) -> str:
    """How a held candidate came to serve, in a word.

    Args:
        later: Whether this is a later leg of its call.
        preferred: The model that would have served but for budgets and the API; '' where no record says it.
        tried: The models that were asked for, in order; the last one is held.
        smaller: Whether its `max_tokens` was made smaller for the money's sake.
    """
    if later:
        return states.MOVED
    *refused, model = tried
    if model != (preferred or model):
        return states.DOWNGRADED if preferred in refused else states.MOVED
    return states.SHRUNK if smaller else states.SERVED


def _made_smaller(offer: Mapping[str, Any]) -> bool:
    """Whether its `max_tokens` was made smaller for the money's sake."""
    return any(one.endswith(SMALLER) for one in offer.get("changes") or ())


def _expired_nanos(told: Mapping[str, str], held_nanos: int) -> int:
    """What the expiry of a hold charged: all that was held, or nothing. Unknown, 0, without a usd budget."""
    return held_nanos if str(held_nanos) in told.get("posted", "").split(",") else 0


def read_result(entry: JournalEntry) -> Result | None:
    """What a record of kind `outcome` says; `None` where it cannot be read."""
    try:
        said = from_json(entry.record)
        names = ("value", "unit", "run", "department", "user", "feature")
        more = {name: said.get(name) or "" for name in names[1:]}
        value = said.get("value")
        told = None if value is None else str(value)
        call_id = said.get("call") or ""
        return fit_result(Result(entry.id, entry.at_ms, entry.outcome, told, call_id=call_id, **more))
    except _BROKEN:
        return None
