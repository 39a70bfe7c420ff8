"""`governor alerts`: what wakes people, checked, listed, and run on journals that are over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.books import ARCHIVE, open_books
from governor.cli.context import JSON, LEDGER, POLICIES, load_policies, open_desk
from governor.cli.output import FAILURE, console, note, print_json, print_rows, stamp, usage
from governor.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from governor.journal.alerts.change import Change
    from governor.journal.alerts.expectations import Told
    from governor.journal.alerts.rule import Rule, Rules
    from governor.journal.alerts.watch import RuleState, Watch
    from governor.journal.feed import Journal
    from governor.ledger.commands import JournalEntry
    from governor.policy import Policies

FILE: Any = typer.Argument(
    None,
    metavar="[FILE]",
    help="The alert file; else alerts.yaml beside the policies, else the shipped rules.",
    show_default=False,
)
RULES: Any = typer.Option(
    None, "--rules", metavar="FILE", help="The alert file; else as `alerts check`.", show_default=False
)
TESTED: Any = typer.Argument(
    ..., metavar="RULES", help="The alert file; `shipped` for the rules that come with the governor."
)
JOURNAL: Any = typer.Argument(
    None,
    metavar="[JOURNAL]",
    help="An archive (a file, a database's URL) or a ledger's URL; else those that the tests file names.",
    show_default=False,
)
SHIPPED = "shipped"
AGAIN = "nothing was changed; run it again"


def rules_in_force(given: str | None, policies: str, loaded: Policies | None = None) -> Rules:
    """The rules of a file, of the one beside the policies, or the shipped ones.

    Args:
        given: The file; `shipped`; `None`: find it.
        policies: What `--policies` says.
        loaded: The policies, whose time zone holds where the file names none.

    Raises:
        PolicyError: The file is malformed or cannot be read.
    """
    from governor.journal.alerts.reading import find_rules, read_rules  # noqa: PLC0415 - `--help` is quick

    path = find_rules(policies) if given is None else None if given == SHIPPED else Path(given)
    return read_rules(path, _timezone(loaded))


def _timezone(loaded: Policies | None) -> str:
    """The organization's time zone."""
    files = [] if loaded is None else [file.policy for file in loaded.files]
    own = [one.timezone for one in files if getattr(one, "department", None) is None]
    return own[0] if own else "UTC"


def check(file: str | None = FILE, policies: str = POLICIES, as_json: bool = JSON) -> None:
    """Check an alert file, and print the rules that are in force with it.

    Problems are printed as file:line:column: message (hint), and the exit code is 3.
    """
    rules = rules_in_force(file, policies)
    if as_json:
        print_json({"source": rules.source, "rules": list(map(rule_json, rules.rules)), **_rest(rules)})
        return
    titles = ("rule", "watches", "fires", "severity", "tells")
    print_rows(titles, [_row(rule) for rule in rules.rules], left=len(titles))
    own = sum(not rule.shipped for rule in rules.rules)
    out = console()
    whose = f"{own} of them {rules.source}'s" if own else "shipped"
    out.print(f"{len(rules.rules)} rules, {whose}", soft_wrap=True)
    if rules.off:
        out.print(f"off: {', '.join(rules.off)}")
    if not rules.channels:
        out.print("no channel is named: alerts are kept in the archive, and nobody is told", style="yellow")


def list_rules(
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    rules: str | None = RULES,
    as_json: bool = JSON,
) -> None:
    """How the rules stand on the journal up to now: which hold, fired last, are not judged yet."""
    from governor.journal.alerts.watch import Watch  # noqa: PLC0415 - `--help` need not pay

    with open_desk(policies, ledger) as desk, open_books(desk, archive, ledger) as books:
        in_force = rules_in_force(rules, policies, desk.policies)
        watch = Watch(in_force)
        from_ms = desk.now_ms - in_force.memory_ms
        entries = (one.entry for one in books.read() if one.entry.at_ms >= from_ms)
        _run(watch, entries, books.count(), desk.now_ms)
        found = watch.states(desk.now_ms)
    if as_json:
        told = {"now": stamp(desk.now_ms), "rules": [_state_json(one) for one in found]}
        print_json({**told, "open": [alert.as_json() for alert in watch.open], **_rest(in_force)})
        return
    rows = [
        (one.rule.name, one.rule.severity, _standing(one), stamp(one.fired_ms)[:16] if one.fired_ms else "-")
        for one in found
    ]
    print_rows(("rule", "severity", "state", "last fired"), rows, left=4)
    if in_force.off:
        console().print(f"off: {', '.join(in_force.off)}")
    for alert in watch.open:
        console().print(f"{stamp(alert.began_ms)[:16]} {alert.severity} {alert.title}", style="yellow")


def run_tests(
    rules: str = TESTED, journal: str | None = JOURNAL, policies: str = POLICIES, as_json: bool = JSON
) -> None:
    """Run alert rules on a journal in virtual time: which alerts would have been told, and when.

    Beside `alerts.yaml`, `alerts.tests.yaml` may say which alerts are expected of which journals: what
    differs is printed, and the exit code is 1.
    """
    from governor.journal.alerts import expectations  # noqa: PLC0415 - as above
    from governor.journal.feed import find_journal  # noqa: PLC0415 - as above

    loaded = load_policies(policies)
    in_force = rules_in_force(rules, policies, loaded)
    beside = None if rules == SHIPPED else expectations.tests_beside(Path(rules))
    tests = expectations.read_tests(beside) if beside is not None and beside.is_file() else ()
    if journal is None and not tests:
        raise usage(f"name a journal, or write {beside or 'alerts.tests.yaml'} with tests that name theirs")
    places = [_place(test.journal, beside) for test in tests]
    asked = [journal] if journal is not None else places
    results, failed = [], 0
    for where in asked:
        told = _alerts(in_force, find_journal(where, loaded.organization))
        mine = [test for test, place in zip(tests, places, strict=True) if _same(place, where)]
        wrong = [text for test in mine for text in expectations.differences(test.expect, told)]
        failed += bool(wrong)
        results.append((where, told, wrong, bool(mine)))
    if as_json:
        print_json({"rules": in_force.source, "journals": [_result_json(*one) for one in results]})
    else:
        for one in results:
            _say(*one)
    if failed:
        note(f"{failed} of {len(results)} journals did not raise the alerts that are expected")
        raise typer.Exit(FAILURE)


def _place(journal: str, beside: Path | None) -> str:
    """Where a test's journal is: a path is one beside the file."""
    return journal if "://" in journal or beside is None else str(beside.parent / journal)


def _same(place: str, where: str) -> bool:
    if "://" in place or "://" in where:
        return place == where
    return Path(place).resolve() == Path(where).resolve()


def _alerts(rules: Rules, journal: Journal) -> list[Told]:
    from governor.journal.alerts.expectations import told_by  # noqa: PLC0415 - as above
    from governor.journal.alerts.watch import Watch  # noqa: PLC0415 - as above

    total, entries = journal.entries()
    return told_by(_run(Watch(rules), entries, total))


def _run(
    watch: Watch, entries: Iterable[JournalEntry], total: int, until_ms: int | None = None
) -> list[Change]:
    """Feed records to a watch, saying how far it is; what became of alerts."""
    changes: list[Change] = []
    last_ms = 0
    with progress("records judged", AGAIN) as tell:
        for count, entry in enumerate(entries, 1):
            changes += watch.tick(entry.at_ms)
            watch.take(entry)
            last_ms = entry.at_ms
            if count % 500 == 0:
                tell(count, max(count, total))
        changes += watch.tick(last_ms + 2 * watch.rules.every_ms if until_ms is None else until_ms)
    return changes


def _say(where: str, told: Sequence[Told], wrong: Sequence[str], tested: bool) -> None:
    out = console()
    out.print(f"{where}: {len(told)} alerts", style="bold", soft_wrap=True)
    for one in told:
        alert = one.alert
        ended = f" until {stamp(alert.ended_ms)[:16]}" if alert.ended_ms else ", goes on"
        out.print(f"  {stamp(one.at_ms)[:16]}{ended}  {alert.severity}  {alert.cause}", soft_wrap=True)
        out.print(f"    {alert.title}", soft_wrap=True)
        rules = dict.fromkeys(symptom.rule for symptom in alert.symptoms)
        out.print(f"    rules: {', '.join(rules)}", soft_wrap=True)
        behind = ", ".join(f"{one.dimension} {one.name} {one.percent:.0f} %" for one in alert.behind[:6])
        if behind:
            out.print(f"    behind it: {behind}", soft_wrap=True)
    for text in wrong:
        out.print(f"  FAILED: {text}", style="red", soft_wrap=True)
    if tested and not wrong:
        out.print("  as expected", style="green")


def rule_json(rule: Rule) -> dict[str, Any]:
    """A rule as JSON: amounts in its metric's unit."""
    names = ("above", "below", "above_usual", "below_usual", "rises", "at_least", "severity", "why", "source")
    return {
        "name": rule.name,
        "metric": rule.metric.name,
        "unit": rule.metric.unit,
        "where": {name: sorted(values) for name, values in rule.where.items()},
        "per": list(rule.per),
        "window_ms": rule.window_ms,
        **{name: getattr(rule, name) for name in names},
        "baseline": rule.baseline if rule.needs_usual else None,
        "cooldown_ms": rule.cooldown_ms,
        "channels": list(rule.channels),
        "actions": [
            {"kind": one.kind, "setting": one.setting, "for_ms": one.for_ms} for one in rule.responses
        ],
        "shipped": rule.shipped,
    }


def _rest(rules: Rules) -> dict[str, Any]:
    return {"off": list(rules.off), "channels": sorted(rules.channels), "every_ms": rules.every_ms}


def _row(rule: Rule) -> tuple[str, ...]:
    from governor.journal.alerts.telling import condition_text  # noqa: PLC0415 - as above

    watched = f"{rule.metric.name} per {' and '.join(rule.per)}" if rule.per else rule.metric.name
    return (rule.name, watched, condition_text(rule), rule.severity, ", ".join(rule.channels) or "-")


def _standing(state: RuleState) -> str:
    from governor.journal.alerts.telling import subject_text  # noqa: PLC0415 - as above

    if state.holding:
        return "holds: " + "; ".join(subject_text(one) or "everybody" for one in state.holding[:3])
    if not state.learning:
        return "quiet"
    since = f"first on {stamp(state.ready_ms)[:10]}" if state.ready_ms else ""
    return f"not judged for {state.learning} of {state.known} for want of history, {since}"


def _state_json(state: RuleState) -> dict[str, Any]:
    return {
        "name": state.rule.name,
        "severity": state.rule.severity,
        "fired_ms": state.fired_ms,
        "holding": [dict(one) for one in state.holding],
        "subjects": state.known,
        "without_history": state.learning,
        "ready_ms": state.ready_ms,
    }


def _result_json(where: str, told: Sequence[Told], wrong: Sequence[str], tested: bool) -> dict[str, Any]:
    return {
        "journal": where,
        "alerts": [{"raised_ms": one.at_ms, **one.alert.as_json()} for one in told],
        "tested": tested,
        "failures": list(wrong),
    }
