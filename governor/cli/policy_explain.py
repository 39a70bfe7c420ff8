"""`governor policy explain`: one decision, candidate by candidate, budget by budget; nothing is sent."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import typer

from governor.cli.context import JSON, POLICIES, PRICES, flag, load_policies, load_prices, open_desk
from governor.cli.output import REFUSED, console, print_json, usage
from governor.cli.policy import PATH, refuse_unpriced
from governor.cli.typed import LAST_YEAR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from governor.ledger.commands import Balance, BudgetRow
    from governor.policy import Attribution, Policies
    from governor.rehearsal import Explanation, Stage
    from governor.story.request import Request

USER: Any = typer.Option(..., "--user", "-u", help="Who asks.")
DEPARTMENT: Any = typer.Option(
    None, "--department", "-d", show_default=False, help="Whose policy file; may be left out where one is."
)
FEATURE: Any = typer.Option(None, "--feature", "-f", help="What for.")
RUN: Any = typer.Option(None, "--run", help="The agent run or job.")
TAG: Any = typer.Option(
    [], "--tag", show_default=False, metavar="NAME=VALUE", help="A tag; may be given again."
)
PRIORITY: Any = typer.Option(None, "--priority", help="What a part of a budget may be kept for.")
USER_TIER: Any = typer.Option(
    None,
    "--user-tier",
    show_default=False,
    help="The user's tier, where `users_from: application` asks for it.",
)
MODEL: Any = typer.Option(
    None, "--model", "-m", show_default=False, help="auto, a line or a model id.  [default: auto]"
)
PIN: Any = flag("--pin", help="Never swap the model.")
TIER: Any = typer.Option(
    None,
    "--tier",
    metavar="TIER",
    show_default=False,
    help="Ask for premium, standard or economy.  [default: as the policy chooses]",
)
COMPLEXITY: Any = typer.Option(
    None,
    "--complexity",
    min=0,
    max=10,
    show_default=False,
    help="How hard it is.  [default: as the prompt of --request is, else 0]",
)
LOAD: Any = typer.Option(
    None, "--load", metavar="N%", show_default=False, help="How busy the API is.  [default: 0%]"
)
DEFERRABLE: Any = flag("--deferrable", help="It can wait for the Batches API.")
INPUT_TOKENS: Any = typer.Option(
    None, "--input-tokens", min=0, show_default=False, help="Tokens of the prompt.  [default: 1000]"
)
MAX_TOKENS: Any = typer.Option(
    None, "--max-tokens", min=0, show_default=False, help="As asked for.  [default: the policy's, else 1024]"
)
REQUEST: Any = typer.Option(
    None,
    "--request",
    metavar="FILE",
    show_default=False,
    help="The parameters of messages.create as JSON (- is stdin); the prompt is bounded without the network.",
)
AT: Any = typer.Option(
    None,
    "--at",
    metavar="INSTANT",
    show_default=False,
    help="ISO date and time, in the policy's time zone unless it has its own.  [default: now]",
)
SPENT: Any = typer.Option(
    [],
    "--spent",
    show_default=False,
    metavar="BUDGET=AMOUNT",
    help="What is spent of a budget, in its unit or as N% of its limit, such as department/month=85%; else "
    "what the ledger says, or nothing. May be given again.",
)
HELD: Any = typer.Option(
    [], "--held", show_default=False, metavar="BUDGET=AMOUNT", help="What calls in flight hold, likewise."
)
LEDGER: Any = typer.Option(
    None,
    "--ledger",
    envvar="GOVERNOR_LEDGER",
    metavar="URL",
    show_default=False,
    help="Read the balances from this ledger; nothing is changed there.",
)
MAX_TOKENS_ELSE = 1024
INPUT_TOKENS_ELSE = 1000


def explain(
    path: str | None = PATH,
    user: str = USER,
    department: str | None = DEPARTMENT,
    feature: str | None = FEATURE,
    run: str | None = RUN,
    tag: list[str] = TAG,
    priority: str | None = PRIORITY,
    user_tier: str | None = USER_TIER,
    model: str | None = MODEL,
    pin: bool = PIN,
    tier: str | None = TIER,
    complexity: float | None = COMPLEXITY,
    load: str | None = LOAD,
    deferrable: bool = DEFERRABLE,
    input_tokens: int | None = INPUT_TOKENS,
    max_tokens: int | None = MAX_TOKENS,
    request: str | None = REQUEST,
    at: str | None = AT,
    spent: list[str] = SPENT,
    held: list[str] = HELD,
    ledger: str | None = LEDGER,
    policies: str = POLICIES,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Explain one decision: which model would serve a request, and which budget and rule refuse the others.

    Nothing is sent, held or written. Exit code 0 if it would be served or deferred, 4 if refused.
    """
    from governor.cli import explained  # noqa: PLC0415 - `--help` need not pay for it
    from governor.policy import Attribution  # noqa: PLC0415 - same
    from governor.rehearsal import Stage, TierBook  # noqa: PLC0415 - same

    table = load_prices(prices)
    with _scene(path or policies, ledger) as (loaded, base, now_ms):
        refuse_unpriced(loaded, table)
        who = Attribution(_department(loaded, department), user, feature, run, _tags(tag), priority=priority)
        loaded.directory = book = TierBook()
        book.write(who.user, who.department, user_tier)
        timezone = _timezone(loaded, who.department)
        stage = Stage(loaded, table, now_ms if at is None else _instant_ms(at, timezone))
        asked = replace(
            _request(loaded, who, request, model, max_tokens, input_tokens, pin=pin),
            tier=tier,
            deferrable=deferrable,
            complexity=complexity,
            load_bp=_load_bp(load),
        )
        told = _explained(stage, asked, _pairs("--spent", spent), _pairs("--held", held), base)
    if as_json:
        print_json(explained.as_json(asked, told))
    else:
        out = console()
        for line in explained.lines(asked, told, timezone):
            out.print(line, style="bold" if not line.startswith(" ") else None, soft_wrap=True)
    if told.outcome == "refused":
        raise typer.Exit(REFUSED)


@contextmanager
def _scene(
    path: str, ledger: str | None
) -> Iterator[tuple[Policies, Callable[[Sequence[BudgetRow]], Sequence[Balance]], int]]:
    """The policies, what is spent where nobody says, and the time now."""
    from governor.ledger.commands import Read  # noqa: PLC0415 - as above
    from governor.rehearsal import untouched  # noqa: PLC0415 - as above

    if ledger is None:
        yield load_policies(path), untouched, time.time_ns() // 1_000_000
        return
    with open_desk(path, ledger) as desk:
        yield desk.policies, lambda rows: desk.ledger.execute(Read(tuple(rows))).balances, desk.now_ms


def _explained(
    stage: Stage,
    asked: Request,
    spent: dict[str, str],
    held: dict[str, str],
    base: Callable[[Sequence[BudgetRow]], Sequence[Balance]],
) -> Explanation:
    from governor.rehearsal import Given, KeyRefused  # noqa: PLC0415 - as above

    try:
        return stage.explain(asked, Given(spent, held, base))
    except KeyRefused as refused:
        hint = f": {refused.hint}" if refused.hint else ""
        raise usage(f"{refused}{hint}") from None


def _department(loaded: Policies, given: str | None) -> str:
    if given is not None:
        return given
    if len(loaded.departments) == 1:
        return loaded.departments[0]
    known = ", ".join(loaded.departments) or "no policy file names one"
    raise usage(f"whose policy? add --department: {known}")


def _timezone(loaded: Policies, department: str) -> str:
    for file in loaded.files:
        if getattr(file.policy, "department", None) == department:
            return file.policy.timezone
    return loaded.files[0].policy.timezone


def _instant_ms(text: str, timezone: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise usage(f"--at {text!r} is no ISO date: write for example 2026-12-01T09:30") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(timezone))
    if not 2000 <= moment.year <= LAST_YEAR:
        raise usage(f"--at {text} is too far away: write for example 2026-12-01T09:30")
    return int(moment.timestamp() * 1000)


def _load_bp(text: str | None) -> int | None:
    match = None if text is None else re.fullmatch(r"(100|[1-9]?[0-9])%?", text)
    if text is not None and match is None:
        raise usage(f"--load {text!r} is no share: write for example 90%")
    return None if match is None else int(match[1]) * 100


def _tags(written: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(_pairs("--tag", written).items()))


def _pairs(option: str, written: list[str]) -> dict[str, str]:
    """What was given as NAME=VALUE; the last `=` parts them, for identities have others."""
    found: dict[str, str] = {}
    for text in written:
        first = option == "--tag"
        name, equals, value = text.partition("=") if first else text.rpartition("=")
        if not (name and equals and value):
            example = "--tag project=atlas" if first else f"{option} department/month=85%"
            raise usage(f"{option} {text!r} is not NAME=VALUE: write for example {example}")
        if name in found:
            raise usage(f"{option} gives {name} twice")
        found[name] = value
    return found


def _request(
    loaded: Policies,
    who: Attribution,
    file: str | None,
    model: str | None,
    max_tokens: int | None,
    input_tokens: int | None,
    *,
    pin: bool,
) -> Request:
    from governor.rehearsal import made_up, usual_max_tokens  # noqa: PLC0415 - as above

    if file is not None:
        given = _from_file(file, who, model, max_tokens, pin=pin)
        return replace(given, input_tokens=input_tokens)
    return made_up(
        who,
        model=model or "auto",
        input_tokens=INPUT_TOKENS_ELSE if input_tokens is None else input_tokens,
        max_tokens=usual_max_tokens(loaded, who, MAX_TOKENS_ELSE) if max_tokens is None else max_tokens,
        pin=pin,
    )


def _from_file(
    file: str, who: Attribution, model: str | None, max_tokens: int | None, *, pin: bool
) -> Request:
    """The request that a body in a file makes; options go before what is in it."""
    from governor.clients.request import make_request  # noqa: PLC0415 - it needs the SDK, which nothing else does

    body = _body(file)
    body.pop("stream", None)  # a stream costs the same
    in_body, most = body.pop("model", "auto"), body.pop("max_tokens", None)
    return make_request(
        user=who.user,
        department=who.department,
        feature=who.feature,
        run=who.run,
        tags=dict(who.tags),
        priority=who.priority,
        model=model or in_body,
        max_tokens=most if max_tokens is None else max_tokens,
        pin=pin,
        request_id=None,
        params=body,
    )


def _body(file: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        body = json.loads(text)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise usage(f"--request {file} cannot be read as JSON: {why}") from None
    if not isinstance(body, dict):
        raise usage(f"--request {file} holds no JSON object: give the parameters of messages.create")
    return body
