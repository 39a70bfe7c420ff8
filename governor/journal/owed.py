"""What a ledger has still to be told, as lines of JSON: one process writes them, whoever comes next reads."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit
from governor.ledger.commands import BudgetRow, Posting, Release, Settle

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1
_VERBS: dict[str, type[Settle | Release]] = {"settle": Settle, "release": Release}


def owe_line(command: Settle | Release) -> str:
    """The line that says that *command* is owed; without its notice, which is old by then."""
    verb = next(name for name, kind in _VERBS.items() if isinstance(command, kind))
    postings = [{"budget": asdict(posting.budget), "amount": posting.amount} for posting in command.postings]
    said = {"id": command.id, "record": command.record, "call": getattr(command, "call", "")}
    return _dump({"v": VERSION, "owe": verb, **said, "postings": postings})


def heard_line(identifier: str) -> str:
    """The line that strikes out what was owed under *identifier*."""
    return _dump({"v": VERSION, "heard": identifier})


def head_line(ledger: str, pid: int) -> str:
    """The first line: whose file it is; for people, and for `governor doctor`."""
    return _dump({"v": VERSION, "ledger": ledger, "pid": pid})


def read_owed(lines: Iterable[str]) -> tuple[dict[str, Settle | Release], list[str]]:
    """What lines leave owed, by id in the order it was first owed; and the lines that say nothing."""
    owed: dict[str, Settle | Release] = {}
    torn = []
    for line in lines:
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            if said["v"] != VERSION:
                raise ValueError("another version")  # noqa: TRY301 - kept aside, like what cannot be read
            if "owe" in said:
                owed[_id(said["id"])] = _command(said)
            elif "heard" in said:
                owed.pop(_id(said["heard"]), None)
            elif "ledger" not in said:
                raise ValueError("neither owed nor heard")  # noqa: TRY301 - likewise
        except (ValueError, TypeError, KeyError):
            torn.append(line)
    return owed, torn


def ledger_of(lines: Iterable[str]) -> str:
    """The ledger that a file is for, as its first line says; '' where that cannot be read."""
    try:
        return str(json.loads(next(iter(lines)))["ledger"])
    except (StopIteration, ValueError, TypeError, KeyError):
        return ""


def _command(said: dict[str, Any]) -> Settle | Release:
    postings = tuple(_posting(**posting) for posting in said["postings"])
    kind, identifier, record = _VERBS[said["owe"]], _id(said["id"]), _text(said["record"])
    if kind is Settle:
        return Settle(identifier, postings, record, _text(said["call"]))
    return Release(identifier, postings, record)


def _posting(budget: dict[str, Any], amount: int) -> Posting:
    if type(amount) is not int or not set(budget) <= {field.name for field in fields(BudgetRow)}:
        raise ValueError("no posting")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in budget.items()}
    values["unit"] = Unit(values["unit"])
    return Posting(BudgetRow(**values), amount)


def _id(value: object) -> str:
    text = _text(value)
    if not text:
        raise ValueError("no id")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _dump(said: dict[str, Any]) -> str:
    return json.dumps(said, separators=(",", ":"))
