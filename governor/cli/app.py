"""The `governor` command line: its groups, and what becomes of an error."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from governor.cli import completion, lazy
from governor.cli.context import AS_JSON, flag
from governor.cli.output import Failure, exit_code, report_json, speak_as_the_terminal_can, usage
from governor.cli.output import report as say
from governor.cli.progress import Interrupted
from governor.errors import GovernorError

if TYPE_CHECKING:
    from collections.abc import Callable

_UsageError: Any = typer.BadParameter.__base__
"""What the parser raises; typer itself does not name it."""

_BELOW_ZERO = re.compile(r"-[$.0-9].*")
"""What the parser takes for an option and is an amount."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What is said of a disk that takes no more."""


_COMMANDS: dict[str, Callable[[], Any]] = {
    "demo": lazy.command("demo.demo", "demo"),
    "init": lazy.command("init.init", "init"),
    "why": lazy.command("why.why", "why"),
    "top": lazy.command("top.top", "top"),
    "doctor": lazy.command("doctor.doctor", "doctor"),
    "policy": lazy.group(
        "policy",
        "Check policy files and see what they would do; push them to the ledger, and take them back.",
        {
            "check": "policy.check",
            "explain": "policy_explain.explain",
            "test": "policy_test.run_tests",
            "fmt": "policy_fmt.fmt",
            "diff": "policy_diff.diff",
            "simulate": "policy_simulate.simulate",
            "push": "policy_push.push",
            "versions": "policy_push.versions",
            "rollback": "policy_push.rollback",
            "withdraw": "policy_push.withdraw",
            "pull": "policy_pull.pull",
        },
    ),
    "budget": lazy.group(
        "budget",
        "See budgets; grant, set and freeze them, or ask for more. Changes hold at once, in every process.",
        {
            "list": "budget.list_budgets",
            "show": "budget.show",
            "grant": "budget_changes.grant",
            "revoke": "budget_changes.revoke",
            "set": "budget_changes.set_limit",
            "freeze": "budget_changes.freeze",
            "unfreeze": "budget_changes.unfreeze",
            "request": "budget_requests.request",
            "requests": "budget_requests.requests",
            "approve": "budget_requests.approve",
            "deny": "budget_requests.deny",
        },
    ),
    "prices": lazy.group(
        "prices",
        "See prices, check them, and compare them with genai-prices.",
        {
            "show": "prices.show",
            "check": "prices_check.check",
            "diff": "prices_diff.diff",
            "update": "prices_diff.update",
        },
    ),
    "report": lazy.group(
        "report",
        "See what the journal says of calls, money and results: in the terminal, as JSON, CSV or a page.",
        {
            "today": "report.today",
            "views": "report.views",
            "daily": "report.daily",
            "forecast": "report.forecast",
            "chargeback": "report.chargeback",
            "outcomes": "report.outcomes",
        },
    ),
    "holds": lazy.group(
        "holds", "See what is promised to calls in flight.", {"list": "ledger.holds", "reap": "ledger.reap"}
    ),
    "ledger": lazy.group(
        "ledger",
        "Make a ledger, bring one to this release, archive its journal, and rebuild it after a loss.",
        {
            "create": "ledger.create",
            "migrate": "ledger.migrate",
            "archive": "archive.archive",
            "rebuild": "rebuild.rebuild",
        },
    ),
    "archive": lazy.group(
        "archive",
        "Keep the journal in a database: follow it, see how far it is, and let go of what is old.",
        {
            "run": "archive_run.run",
            "status": "archive_keep.status",
            "prune": "archive_keep.prune",
            "migrate": "archive_run.migrate",
            "forget": "archive_keep.forget",
        },
    ),
    "audit": lazy.group(
        "audit",
        "Prove that the archive is as it was written, and hand out what it says.",
        {"verify": "audit.verify", "export": "audit_export.export"},
    ),
    "alerts": lazy.group(
        "alerts",
        "What wakes people: check alert rules, see how they stand, and run them on journals that are over.",
        {
            "check": "alerts.check",
            "list": "alerts.list_rules",
            "test": "alerts.run_tests",
            "run": "alerts_run.run",
            "channels": "alerts_channels.channels",
            "deliveries": "alerts_channels.deliveries",
        },
    ),
    "responses": lazy.group(
        "responses",
        "See what alerts had done by themselves, and undo it.",
        {"list": "responses.list_responses", "undo": "responses.undo"},
    ),
    "batches": lazy.group("batches", "Settle what batches cost.", {"drain": "batches.drain"}),
}
"""All there are, in the order of `--help`; each is imported when it is asked for."""


class _Root(TyperGroup):
    """Turns every error into one message, and JSON where it was asked for, and an exit code."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.commands = lazy.Commands(_COMMANDS)

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Read the options before the command."""
        as_json = "--json" in args  # the best guess, for as long as nothing was parsed
        try:
            ctx = super().make_context(info_name, args, *rest, **extra)
        except _UsageError as error:
            _report_usage(error, as_json=as_json)
            raise
        ctx.meta.setdefault(AS_JSON, as_json)
        return ctx

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        # What the library logs (policies not in force yet, thresholds) the commands say themselves. And the
        # driver warns of every batch that another archiver was faster with.
        for name in ("governor", "psycopg"):
            logging.getLogger(name).addHandler(logging.NullHandler())
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            _report_usage(error, as_json=bool(ctx.meta.get(AS_JSON)))
            raise
        except KeyboardInterrupt:
            failure: GovernorError = Interrupted("interrupted")
        except GovernorError as error:
            failure = error
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            failure = _cut_off(error)
        say(failure, as_json=bool(ctx.meta.get(AS_JSON)))
        raise typer.Exit(exit_code(failure))


def _cut_off(error: OSError) -> GovernorError:
    """The failure where stdout takes no more; nothing is written to it from now on, at the end neither."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Failure(f"the output was cut off: {error.strerror}; make room and run it again")


def _report_usage(error: Any, *, as_json: bool) -> None:
    """Say what the parser leaves unsaid: the error as JSON, and what an amount below 0 is taken for."""
    option, verb = getattr(error, "option_name", ""), getattr(error.ctx, "info_name", "")
    if verb in ("grant", "set", "request") and _BELOW_ZERO.fullmatch(option):
        told = usage(
            f"{option}… is below 0, and an amount is above: to take a grant back, run "
            "`governor budget revoke GRANT`; to stop a budget, freeze it"
        )
        say(told, as_json=as_json)
        raise typer.Exit(exit_code(told)) from None
    if as_json:
        report_json(usage(error.format_message()))


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 - only --version needs it

        typer.echo(f"governor {version('claude-governor')}")
        raise typer.Exit


_VERSION: Any = flag("--version", callback=_version, is_eager=True, help="Print the version and exit.")

app = typer.Typer(
    name="governor",
    cls=_Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _governor(*, version: bool = _VERSION) -> None:
    """Budgets for the Claude API: what is left, who spent it, and why a request went where it went.

    Exit codes: 0 ok, 1 failure, 2 usage, 3 invalid policy, 4 refused, 130 interrupted.
    """


def main() -> None:
    """The entry point of the `governor` command."""
    speak_as_the_terminal_can()
    completion.run(lambda: app(prog_name="governor"))
