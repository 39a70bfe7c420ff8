"""Who works on a simulated day, under which policies, and what they ask."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from governor.policy import Policies, load
from support.day_api import RETIRING
from support.governed import LINES

if TYPE_CHECKING:
    import random

POLICIES = Path(__file__).parents[2] / "policies"
GONE = "claude-mythos-preview"
"""Retired long before that day, says the price file."""

WORDS = ("the", "report", "of", "last", "week", "says", "that", "our", "service", "was", "slower", "here")
EASY = ("Say hello in French: ", "Which label fits this ticket: ", "Yes or no: is this a complaint? ")
WORK = (
    "Summarise what follows for the board, in five sentences: ",
    "Write a polite answer to this customer, and explain what happens next: ",
    "Compare these two clauses and list what differs: ",
)
HARD = (
    """Refactor this function, find the race condition, and prove step by step that the fix is right:
diff --git a/pool.py b/pool.py
@@ -1,9 +1,9 @@
def take(self):
    return self.free.pop()
Traceback (most recent call last):
  File pool.py, line 7
IndexError: pop from empty list
""",
    "Design the migration of our ledger to another architecture, analyse the trade-offs in depth: ",
)
TOOLS = [
    {"name": name, "description": f"{name} in the repository", "input_schema": {"type": "object"}}
    for name in ("search", "read_file", "run_tests")
]


@dataclass(frozen=True)
class Team:
    """A department and its habits.

    Attributes:
        name: Of the department, whose file is in `policies/` or given in *file*.
        budgets: Of that day: as in the reference file, and smaller.
        users: How many.
        conversations: How many begin that day; and *singles*, calls without a next turn.
        busy: Weight of each hour of the day.
        turns: Fewest and most of a conversation.
        features: What their calls are for.
        hard: The likelihood of easy, medium and hard questions.
        asks: What their calls ask for beside `auto`, and how likely that is.
        file: What the file says, or changes to it.
    """

    name: str
    budgets: tuple[dict[str, Any], ...]
    users: int
    conversations: int
    singles: int
    busy: tuple[float, ...]
    turns: tuple[int, int] = (2, 30)
    features: tuple[str | None, ...] = (None,)
    hard: tuple[float, float, float] = (1, 2, 1)
    asks: tuple[tuple[str, float], ...] = ()
    file: dict[str, Any] = field(default_factory=dict)


def _hours(**weights: float) -> tuple[float, ...]:
    """24 weights: `h8_12=3` is three from 8 to 12 o'clock; else a twentieth."""
    found = [0.05] * 24
    for hours, weight in weights.items():
        since, until = hours.removeprefix("h").split("_")
        found[int(since) : int(until)] = [weight] * (int(until) - int(since))
    return tuple(found)


OFFICE = _hours(h7_9=1, h9_12=4, h12_13=3, h13_17=4, h17_20=1)
TEAMS = (
    Team(
        "engineering",
        (
            {"per": "department", "usd": 1.15, "window": "month"},
            {"per": "user", "user_tier": "premium", "usd": 1, "window": "month"},
            {"per": "user", "user_tier": "basic", "usd": 0.6, "window": "month"},
            {"per": "user", "usd": 0.5, "window": "day"},
            {"per": "feature", "name": "code_review", "usd": 0.8, "window": "day"},
            {"per": "run", "usd": 0.4},
            {"per": "user", "requests": 60, "window": "minute"},
            {"per": "user", "concurrent": 8},
        ),
        users=14,
        conversations=60,
        singles=120,
        busy=OFFICE,
        features=(None, "code_review", "classify"),
        hard=(1, 2, 3),
        asks=(("opus", 0.1), ("claude-sonnet-5-5", 0.1), (RETIRING, 0.15)),
        file={"floors": {"sonnet": 0.1, "opus": 0.4}, "successors": {RETIRING: "opus"}},
    ),
    Team(
        "legal",
        (
            {"per": "department", "usd": 0.28, "window": "month"},
            {"per": "user", "usd": 0.3, "window": "month"},
            {"per": "user", "usd": 0.25, "window": "day"},
            {"per": "run", "usd": 0.2},
            {"per": "user", "requests": 30, "window": "minute"},
            {"per": "user", "concurrent": 4},
        ),
        users=8,
        conversations=40,
        singles=60,
        busy=_hours(h8_10=5, h10_13=4, h13_18=2),
        turns=(2, 16),
        features=("contract_review", "summarize"),
        asks=(("opus", 0.3),),
        file={"floors": {"sonnet": 0.05, "opus": 0.2}},
    ),
    Team(
        "support",
        (
            {"per": "department", "usd": 0.3, "window": "month"},
            {"per": "user", "usd": 0.06, "window": "day"},
            {"per": "feature", "name": "reply_draft", "usd": 0.4, "window": "day"},
            {"per": "run", "usd": 0.1},
            {"per": "user", "requests": 120, "window": "minute"},
            {"per": "user", "concurrent": 6},
        ),
        users=20,
        conversations=90,
        singles=500,
        busy=_hours(h0_6=0.3, h6_22=2, h22_24=0.5),
        turns=(2, 10),
        features=("triage", "reply_draft", None),
        hard=(4, 3, 0),
        asks=(("sonnet", 0.3),),
    ),
    Team(
        "research",
        ({"per": "department", "usd": 1.3, "window": "month"}, {"per": "run", "usd": 0.4}),
        users=10,
        conversations=50,
        singles=150,
        busy=_hours(h9_14=1, h14_23=3),
        hard=(2, 2, 2),
        asks=((GONE, 0.06), (RETIRING, 0.08), ("haiku", 0.1)),
        file={
            "timezone": "Europe/Berlin",
            "routing": {
                "lines": LINES,
                "default": "auto",
                "complexity": {"haiku": "<3", "sonnet": "3-7", "opus": ">7"},
                "tiers": {
                    "premium": {"prefer": "opus", "context": 200000, "timeout": 60, "retries": 3},
                    "standard": {"prefer": "sonnet", "context": 100000, "timeout": 30, "retries": 2},
                    "economy": {"prefer": "haiku", "context": 50000, "timeout": 15, "retries": 1},
                },
                "choose": [
                    {"when": "budget > 80% or load > 85%", "tier": "economy"},
                    {"when": "budget < 40% and load < 30%", "tier": "premium"},
                    {"tier": "standard"},
                ],
                "successors": {GONE: "opus", RETIRING: "opus"},
            },
            "limits": {"max_tokens": 4096},
        },
    ),
)


def write_policies(folder: Path) -> Policies:
    """The reference files with the budgets of that day, and one team's own; loaded."""
    reader = YAML(typ="safe")
    shared = reader.load((POLICIES / "organization.yaml").read_text(encoding="utf-8"))
    (folder / "organization.yaml").write_text(json.dumps(shared), encoding="utf-8")
    for team in TEAMS:
        path, own = POLICIES / f"{team.name}.yaml", dict(team.file)
        if path.exists():
            whole = reader.load(path.read_text(encoding="utf-8"))
            whole["routing"].update(own)
        else:
            whole = {"version": 1, "department": team.name, **own}
        whole["budgets"] = list(team.budgets)
        (folder / f"{team.name}.yaml").write_text(json.dumps(whole), encoding="utf-8")
    return load(folder)


@dataclass
class Talk:
    """A conversation, or a single call.

    Attributes:
        team: Whose; likewise *user*, *run*, *feature*, *asked* and *max_tokens* as its calls have them.
        name: For messages; the same as the run, if it has one.
        turns: How many it is to have.
        body: Of the next call.
        hardness: Of its questions, 0 to 2.
        models: That answered, in order.
    """

    team: Team
    user: str
    name: str
    run: str | None
    feature: str | None
    asked: str
    turns: int
    max_tokens: int
    body: dict[str, Any]
    hardness: int
    models: list[str] = field(default_factory=list)

    def next_question(self, chance: random.Random, answer_tokens: int = 0) -> None:
        """Add what was answered, and ask on."""
        messages = self.body["messages"]
        if answer_tokens:
            messages.append({"role": "assistant", "content": prose(chance, answer_tokens * 4)})
        text = chance.choice((EASY, WORK, HARD)[self.hardness]) + prose(chance, chance.randint(100, 2500))
        messages.append({"role": "user", "content": text})
        self.body = {**self.body, "messages": messages.copy()}


def prose(chance: random.Random, characters: int) -> str:
    """Some text of about so many characters."""
    line = " ".join(chance.sample(WORDS, len(WORDS)))
    return (line * (characters // len(line) + 1))[:characters]


def talk(chance: random.Random, team: Team, number: int, *, single: bool) -> Talk:
    """One conversation of *team*, its first question asked."""
    user = "ada@example.com" if number % 7 == 0 else f"{team.name}-{chance.randrange(team.users)}@example.com"
    name = f"{team.name}-{'single' if single else 'talk'}-{number}"
    feature = chance.choice(team.features)
    hardness = chance.choices((0, 1, 2), team.hard)[0]
    body: dict[str, Any] = {"system": f"You help the {team.name} team. {prose(chance, 400)}", "messages": []}
    turns = 1 if single else min(chance.randint(*team.turns), chance.randint(*team.turns))
    if not single:
        body["cache_control"] = {"type": "ephemeral"}
    if hardness == 2:
        body["tools"] = TOOLS
        body["thinking"] = {"type": "adaptive"}
    elif single and chance.random() < 0.1:
        body["tools"], body["tool_choice"] = TOOLS, {"type": "tool", "name": "search"}
    asks = [("auto", 1 - sum(share for _, share in team.asks)), *team.asks]
    asked = chance.choices([name for name, _ in asks], [share for _, share in asks])[0]
    run = name if not single and chance.random() < 0.5 else None
    most = chance.choice((256, 1024, 2048))
    made = Talk(team, user, name, run, feature, asked, turns, most, body, hardness)
    made.next_question(chance)
    return made
