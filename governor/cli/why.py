"""`governor why REQUEST_ID`: what the journal says of one request, told as a story."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, LEDGER, POLICIES, open_desk
from governor.cli.output import Failure, budget_json, console, print_json, stamp
from governor.cli.would import would_json, would_lines
from governor.errors import nearest
from governor.ledger import commands as c
from governor.money import Money
from governor.story.decision import instant, show
from governor.story.legs import leg_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.cli.context import Desk
    from governor.cli.story import Ending, Lease, Ruling, Story

REQUEST_ID: Any = typer.Argument(
    ..., metavar="REQUEST_ID", help="As `message.receipt.request_id` or `error.decision.request_id` has it."
)
SEARCHED = 1000


def why(
    request_id: str = REQUEST_ID, policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON
) -> None:
    """Tell why a request went where it went: every budget's numbers, every model tried, the cost.

    And what would have changed the answer: the least that had to be otherwise for a better model, or any.
    """
    from governor.cli.story import tell  # noqa: PLC0415 - `--help` need not pay for it

    with open_desk(policies, ledger) as desk:
        entries = _entries(desk, request_id)
        _refuse_batch(entries)
        first = tell(request_id, entries)
        if first.of:
            first = tell(first.of, _entries(desk, first.of))
        stories = [first, *_later_legs(desk, first)]
        in_force = desk.policies.hash
    if as_json:
        later = [_as_json(story, in_force) for story in stories[1:]]
        print_json(_as_json(stories[0], in_force) | {"legs": later})
        return
    out = console()
    for line in chain.from_iterable(_lines(story, in_force) for story in stories):
        out.print(line, style="bold" if line and not line.startswith(" ") else None, soft_wrap=True)


def _refuse_batch(entries: Sequence[c.JournalEntry]) -> None:
    """Name the holds of a batch's items, where an id is of the batch as a whole: nothing was decided of that.

    Raises:
        Failure: It is.
    """
    record = json.loads(entries[0].record)
    if isinstance(record, dict) and "batch" in record:
        name = record["batch"] or "that was not made yet"
        raise Failure(
            f"{entries[0].id} notes the batch {name}, of {record['items']} items: ask for one of these, "
            f"`governor why {record['hold']}.CUSTOM_ID`"
        )


def _entries(desk: Desk, identifier: str) -> Sequence[c.JournalEntry]:
    """What the journal has under an id.

    Raises:
        Failure: Nothing.
    """
    entries = desk.ledger.execute(c.ReadJournal(identifier))
    if not entries:
        raise _unknown(desk, identifier)
    return entries


def _later_legs(desk: Desk, first: Story) -> Iterator[Story]:
    """The legs of a call after its first, where the API pushed back."""
    from governor.cli.story import tell  # noqa: PLC0415 - as above

    story, number = first, 1
    while story.goes_on:
        number += 1
        identifier = leg_id(first.id, number)
        entries = desk.ledger.execute(c.ReadJournal(identifier))
        if not entries:
            return
        story = tell(identifier, entries)
        yield story


def _unknown(desk: Desk, request_id: str) -> Failure:
    recent = {entry.id for entry in desk.ledger.execute(c.ReadJournal(limit=SEARCHED))}
    hint = nearest(request_id, recent)
    near = f"{hint} " if hint.startswith("did you mean") else ""
    return Failure(
        f"the journal of {desk.where} has nothing under the id {request_id!r}. {near}"
        "The id is in message.receipt.request_id, and in a refusal's error.decision.request_id. A call that "
        "went while the ledger was away is there once the ledger was told of it: see `governor doctor`"
    )


def _lines(story: Story, in_force: str) -> Iterator[str]:
    if story.lease is not None:
        yield f"Lease {story.id}"
        yield from _leased(story.lease)
    else:
        yield _title(story)
    for change in story.changes:
        yield f"  {stamp(change.at_ms)} UTC  {change.identity} {change}"
    for push in story.pushes:
        yield f"  {stamp(push.at_ms)} UTC  {push}"
    for told in story.told:
        yield f"  {stamp(told.at_ms)} UTC  {told}"
    if story.rulings:
        yield from _asked(story.rulings[0])
        yield from _policy(story.rulings[-1], in_force)
        yield from _waited(story)
        yield from _decided(story.rulings[-1])
        yield from would_lines(story.rulings[-1])
    for ending in story.endings:
        if ending.without:
            yield from _without(ending, story)
        yield from _ended(ending)
    if story.held is not None and not story.endings:
        yield "In flight"
        yield "  its hold is open: not yet settled, released or expired"


def _title(story: Story) -> str:
    if story.of:
        return f"Leg {story.leg} of {story.of}"
    return f"Request {story.id}" if story.rulings or story.endings else f"Operation {story.id}"


def _leased(lease: Lease) -> Iterator[str]:
    yield f"  of         the department {lease.department}, for calls while the ledger is away"
    yield f"  when       {stamp(lease.at_ms)} UTC"
    did = "took" if lease.outcome == "held" else f"was refused ({lease.outcome})"
    yield f"  {did} {Money(lease.amount)} of each of {', '.join(lease.budgets)}"


def _without(ending: Ending, story: Story) -> Iterator[str]:
    """A call that went while the ledger was away: who it was, unless a decision tells, and on what terms."""
    record = ending.record
    if not story.rulings:
        yield f"  who        {_who(record)}"
        yield f"  asked for  {record['asked']}"
        yield f"  when       {stamp(record['priced_at_ms'])} UTC"
        yield f"  rules      policy {record['policy']}, prices {record['prices']}"
    allowed = ending.without == "allowed"
    yield f"The ledger was away: {'allowed without it' if allowed else 'within the lease of its process'}"
    lost = "" if story.held is None else "the answer to what it had asked was lost, and "
    asked = "no budget" if allowed else "no budget but the lease"
    yield f"  {lost}{asked} was asked (if_ledger_is_down: {'allow' if allowed else 'lease'})"
    yield f"  up to {Money(record['ceiling_nanos'])}; the ledger was told how it ended when it was back"


def _who(record: Mapping[str, Any]) -> str:
    for_what = "".join(
        f", {name} {record[name]}" for name in ("feature", "run", "priority") if record.get(name) is not None
    )
    for_what += "".join(f", {name}={value}" for name, value in record.get("tags", {}).items())
    return f"{record['user']}, department {record['department']}{for_what}"


def _asked(ruling: Ruling) -> Iterator[str]:
    record = ruling.record
    yield f"  who        {_who(record)}"
    pinned = ", pinned" if record["pin"] else ""
    gone = f" (for {record['gone']}, which is gone)" if record.get("gone") else ""
    yield f"  asked for  {record['asked']}{gone}{pinned}, max_tokens {record['max_tokens']:,}"
    yield f"  prompt     about {record['input_tokens']:,} tokens ({record['estimate']}{_hint(record)})"
    yield from _routed(record)
    yield f"  when       {stamp(ruling.at_ms)} UTC"


def _routed(record: Mapping[str, Any]) -> Iterator[str]:
    """What routing went by; nothing of a record of a release that had none."""
    if not record.get("tier"):
        return
    why = f" ({record['tier_why']})" if record.get("tier_why") else ""
    yield f"  tier       {record['tier']}{why}, load {record['load'] / 100:g} %"
    if record.get("budget"):
        spent_bp, age_ms = record["budget"]
        age = f", as of {age_ms / 1000:.1f} s before" if age_ms else ""
        yield f"  budget     {spent_bp / 100:g} % of the fullest one was spent{age}"
    if record.get("complexity") is not None:
        yield f"  complexity {record['complexity']:g}"


def _policy(ruling: Ruling, in_force: str) -> Iterator[str]:
    """Which version of the policies decided, and by which files."""
    policy, files = ruling.record["policy"], ", ".join(ruling.files)
    now = "in force still" if policy == in_force else f"{in_force} is in force now"
    yield f"  rules      policy {policy} ({now}), prices {ruling.record['prices']}"
    if files:
        yield f"  files      {files}"


def _hint(record: Mapping[str, Any]) -> str:
    """Why the prompt was not counted, where little was at stake."""
    age_ms = record.get("hint_age_ms")
    return "" if age_ms is None else f", under 1 % of what was left {age_ms / 1000:.1f} s before"


def _waited(story: Story) -> Iterator[str]:
    refused = [ruling for ruling in story.rulings if ruling.outcome != "held"]
    if refused and len(story.rulings) > 1:
        seconds = (story.rulings[-1].at_ms - story.rulings[0].at_ms) / 1000
        yield f"  waited     {seconds:.1f} s for calls in flight, asking {len(story.rulings)} times"


def _decided(ruling: Ruling) -> Iterator[str]:
    yield "Budgets, just before"
    for view in ruling.budgets:
        frozen = ", FROZEN" if view.frozen is not None else ""
        yield f"  {view}{frozen}" + (f"  [{view.source}]" if view.source else "")
    yield "Models, best first"
    for number, tried in enumerate(ruling.tried, start=1):
        expected = "" if tried.expected_nanos is None else f", about {Money(tried.expected_nanos)} expected"
        most = f"up to {Money(tried.ceiling_nanos)}{expected}"
        yield f"  {number}. {tried.model} ({tried.why}), {most}: {tried.verdict}"
        if tried.sentence:
            yield f"     {tried.sentence}"
        yield from (f"     changed: {change}" for change in tried.changes)
    served = next((tried for tried in ruling.tried if tried.verdict == "fits"), None)
    if ruling.outcome == "held" and served is not None:
        yield f"Held {Money(served.ceiling_nanos)} for {served.model}"
        return
    yield f"Refused: {ruling.outcome}"
    age_ms = ruling.record.get("cached_answer_ms")
    if age_ms is not None:
        yield f"  and answered as the same request was {age_ms / 1000:.0f} s before, at no cost"
    binding = [tried.binding for tried in ruling.tried if tried.binding is not None]
    if binding:
        yield f"  bound by {binding[-1]}"


def _ended(ending: Ending) -> Iterator[str]:
    from governor.cli.story import cost  # noqa: PLC0415 - as above

    record = ending.record
    yield f"{ending.state.replace('_', ' ').capitalize()}: {cost(ending)}"
    yield f"  when       {stamp(ending.at_ms)} UTC"
    if ending.unknown:
        posted = (f"{show(_unit(name), amount)} to {name}" for name, amount in ending.posted.items())
        yield f"  posted     {', '.join(posted)}"
    if record.get("attempts"):
        tokens = ", ".join(f"{name} {count}" for name, count in _counts(record["usage"]))
        yield f"  served by  {record['model']}: {tokens or 'no usage reported'}"
        if "of_batch" in record:
            yield f"  batch      {record['of_batch']}, as {record['custom_id']}: {record['result']}"
        else:
            yield f"  took       {record['latency_ms']:,} ms, sent {_times(record['attempts'])}"
    if record.get("error"):
        yield f"  error      {record['error']}" + (f" (HTTP {record['status']})" if record["status"] else "")
    shadow = record.get("shadow")
    if shadow:
        would = f"would have said: {shadow['reason']}" if shadow["alters"] else "would have done the same"
        yield f"  in shadow  and if it were enforced it {would}"
    for said, text in _flags(ending):
        if said:
            yield f"  note       {text}"
    for crossing in ending.crossings:
        unit = _unit(crossing.identity)
        yield (
            f"  crossed    {crossing.step_bp // 100} % of {crossing.identity}: "
            f"{show(unit, crossing.posted)} of {show(unit, crossing.limit)}"
        )


def _flags(ending: Ending) -> tuple[tuple[bool, str], ...]:
    unpriced = ending.record.get("unpriced") or []
    unheard = bool(ending.without) and not ending.record["attempts"]
    return (
        (bool(unpriced), f"no price for: {'; '.join(unpriced)}; so the whole hold is charged at least"),
        (
            bool(ending.record.get("uncertain")) and not unpriced and not unheard,
            "uncertain: no final usage was seen, so it is charged by rule",
        ),
        (
            unheard,
            "its process ended before it could say how the call did: charged as the policy says of expiry",
        ),
        (ending.overrun, "overrun: it cost more than was held"),
        (ending.state == "settled_late", "late: its hold had expired; this replaces the charge made then"),
        (ending.unknown and not ending.without, "unknown hold: posted all the same, for review"),
        (ending.kind == "expire", "its process died, or the ledger was not told: charged as the policy says"),
    )


def _counts(usage: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, count in usage.items():
        if isinstance(count, int) and count and name.endswith("_tokens"):
            yield name.removesuffix("_tokens").replace("_", " "), f"{count:,}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _unit(identity: str) -> Any:
    from governor.budgets import unit_of  # noqa: PLC0415 - as above

    return unit_of(identity)


def _as_json(story: Story, in_force: str) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415 - only JSON needs it

    return {
        "id": story.id,
        "leg": story.leg,
        "decisions": [
            {
                "at": instant(ruling.at_ms),
                "outcome": ruling.outcome,
                "policy": {
                    "hash": ruling.record["policy"],
                    "files": list(ruling.files),
                    "in_force": in_force,
                },
                "request": ruling.record,
                "budgets": [budget_json(view) for view in ruling.budgets],
                "candidates": [asdict(tried) for tried in ruling.tried],
                "would_have": would_json(ruling),
            }
            for ruling in story.rulings
        ],
        "lease": None if story.lease is None else asdict(story.lease) | {"at": instant(story.lease.at_ms)},
        "endings": [_ending_json(ending) for ending in story.endings],
        "changes": [change.as_json() for change in story.changes],
        "policies": [push.as_json() for push in story.pushes],
        "told": [told.as_json() for told in story.told],
    }


def _ending_json(ending: Ending) -> dict[str, Any]:
    from governor.cli.story import cost  # noqa: PLC0415 - as above

    return {
        "kind": ending.kind,
        "at": instant(ending.at_ms),
        "state": ending.state,
        "without_ledger": ending.without or None,
        "cost_nanos": cost(ending).nanos,
        "posted": ending.posted,
        "overrun": ending.overrun,
        "unknown_hold": ending.unknown,
        "thresholds": [
            {"identity": crossing.identity, "percent": crossing.step_bp // 100, "posted": crossing.posted}
            for crossing in ending.crossings
        ],
        "record": ending.record,
    }
