"""`governor top`: a ledger in use, live on a screen that redraws; or one look at it, as text or JSON."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.books import ARCHIVE
from governor.cli.context import JSON, LEDGER, POLICIES, Desk, flag, load_policies, open_desk
from governor.cli.output import Failure, console, print_json, usage
from governor.cli.who import actor_of
from governor.errors import LedgerDown, PolicyError
from governor.ledger.opening import open_ledger, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.cli.top_watch import Watch
    from governor.policy import Policies

ONCE: Any = flag("--once", help="Look once, print it and end; so it is too where stdout is no terminal.")
EVERY: Any = typer.Option(
    1.0, "--every", metavar="SECONDS", help="How long between two looks, 0.2 to 60 seconds."
)
THEME: Any = typer.Option(
    "auto", "--theme", metavar="auto|dark|light", help="Of the terminal's background; d switches."
)
ACTOR: Any = typer.Option(None, "--actor", help="Who freezes and unfreezes; default: you, at this host.")
SHORTEST_S, LONGEST_S = 0.2, 60.0


def top(
    once: bool = ONCE,
    every: float = EVERY,
    theme: str = THEME,
    actor: str | None = ACTOR,
    archive: str | None = ARCHIVE,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Watch budgets fill, calls in flight, load and breakers of models, and who spends now.

    Keys sort, filter, pause, and freeze a run or a budget (they ask first); ? says them all.
    """
    if not SHORTEST_S <= every <= LONGEST_S:
        raise usage(f"--every {every:g} is not between {SHORTEST_S:g} and {LONGEST_S:g} seconds")
    if theme not in ("auto", "dark", "light"):
        raise usage(f"--theme {theme!r} is not auto, dark or light")
    who = actor_of(actor)
    live = _is_terminal() and not (as_json or once)
    with (open_patiently if live else open_desk)(policies, ledger) as desk:
        watch = _watch(desk, policies, ledger, archive)
        if as_json:
            print_json(watch.look().as_json())
        elif live:
            _run(watch, every, theme, who)
        else:
            from governor.cli.top_plain import show  # noqa: PLC0415 - only what is asked for is imported

            show(watch.look(), console())


@contextmanager
def open_patiently(policies: str, ledger: str) -> Iterator[Desk]:
    """As `open_desk`; where the ledger is away, a desk all the same, whose first look is still to come.

    Raises:
        PolicyError: The policies are missing or malformed.
        LedgerUnavailable: The ledger is there, and cannot be used.
    """
    with ExitStack() as stack:
        try:
            desk = stack.enter_context(open_desk(policies, ledger))
        except LedgerDown:
            loaded = load_policies(policies)
            store = open_ledger(ledger, loaded.organization)
            stack.callback(store.close)
            desk = Desk(loaded, store, redact(ledger), now_ms=0)
        yield desk


def _watch(desk: Desk, policies: str, ledger: str, archive: str | None) -> Watch:
    from governor.cli.top_alerts import open_alerts  # noqa: PLC0415 - `--help` need not pay for it
    from governor.cli.top_watch import Watch  # noqa: PLC0415 - as above

    return Watch(desk, _reload(desk, policies), open_alerts(archive, ledger, desk.policies.organization))


def _reload(desk: Desk, path: str) -> Callable[[], Policies]:
    """Reads the policies anew, those that were pushed or else the files; what is malformed is passed over."""
    from governor.ledger.commands import ReadPolicies  # noqa: PLC0415 - as above
    from governor.policy.pushed import load_pushed  # noqa: PLC0415 - as above

    last = [desk.policies]

    def reload() -> Policies:
        try:
            pushed = desk.ledger.execute(ReadPolicies())
            if pushed is None or not pushed.files:
                last[0] = load_policies(path)
            else:
                last[0] = load_pushed(pushed.files, desk.policies.organization, pushed.about.version)
        except PolicyError:
            pass  # a file that somebody is editing
        return last[0]

    return reload


def _is_terminal() -> bool:
    import sys  # noqa: PLC0415 - as above

    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _run(watch: Watch, every_s: float, theme: str, actor: str) -> None:
    try:
        from governor.cli.top_app import Top, is_dark  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        raise Failure(
            "the live screen needs textual: pip install 'claude-governor[top]', or look once: "
            "`governor top --once`"
        ) from None
    dark = is_dark(theme, os.environ.get("COLORFGBG", ""))
    Top(watch, every_s=every_s, actor=actor, dark=dark).run()
