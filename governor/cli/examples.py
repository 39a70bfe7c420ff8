"""An example of every command: shown by its `--help`, and in docs/commands.md."""

from __future__ import annotations

EXAMPLES: dict[str, str] = {
    "demo": "governor demo",
    "init": "governor init policies --organization acme --department legal --timezone Europe/Berlin",
    "policy check": "governor policy check policies/",
    "policy explain": "governor policy explain --user ada@example.com -d legal --spent department/month=85%",
    "policy test": "governor policy test policies/ --require-all",
    "policy fmt": "governor policy fmt policies/ --check",
    "policy diff": "governor policy diff main/policies policies",
    "policy simulate": "governor policy simulate policies/ --journal journal.jsonl --html backtest.html",
    "policy push": 'governor policy push policies/ --reason "the new quarter"',
    "policy versions": "governor policy versions",
    "policy rollback": 'governor policy rollback 7 --reason "too strict for support"',
    "policy withdraw": 'governor policy withdraw --reason "back to files"',
    "policy pull": "governor policy pull pushed/",
    "budget list": "governor budget list --department legal",
    "budget show": "governor budget show department=legal/usd/month",
    "budget grant": 'governor budget grant department=legal/usd/month 500 --reason "launch week"',
    "budget revoke": 'governor budget revoke 01jd3m8r0q --reason "a typo"',
    "budget set": 'governor budget set department=legal/usd/month 2000 --reason "new quarter"',
    "budget freeze": 'governor budget freeze department=legal/usd/month --reason "runaway agent"',
    "budget unfreeze": "governor budget unfreeze department=legal/usd/month",
    "budget request": 'governor budget request department=legal/usd/month 500 --reason "launch week"',
    "budget requests": "governor budget requests --all",
    "budget approve": "governor budget approve 01jd3m8r0q --amount 300",
    "budget deny": 'governor budget deny 01jd3m8r0q --reason "not this month"',
    "prices show": "governor prices show claude-opus-5-5",
    "prices check": "governor prices check",
    "prices diff": "governor prices diff",
    "prices update": "governor prices update --dry-run",
    "why": "governor why 01jd3m8r0q",
    "holds list": "governor holds list",
    "holds reap": "governor holds reap",
    "batches drain": "governor batches drain",
    "ledger create": "governor ledger create redis://localhost:6379/0",
    "ledger migrate": "governor ledger migrate redis://localhost:6379/0 --dry-run",
    "ledger archive": "governor ledger archive journal.jsonl --trim --keep 30d",
    "ledger rebuild": "governor ledger rebuild journal.jsonl redis://localhost:6379/0",
    "doctor": "governor doctor --archive journal.jsonl --days 30",
}
"""Command, as it is typed, to one line that runs it. Each command has one."""


def epilog(*command: str) -> str | None:
    """What `--help` says at the end of a command's text; `None` where there is no example."""
    example = EXAMPLES.get(" ".join(command))
    return example and f"Example: {example}"
