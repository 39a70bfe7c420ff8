"""`governor policy test`: do the policies do what their tests files say?"""

from __future__ import annotations

import itertools
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli import explained
from governor.cli.context import JSON, POLICIES, PRICES, flag, load_policies, load_prices
from governor.cli.output import FAILURE, Failure, console, note, print_json, problem_json
from governor.cli.policy import refuse_unpriced
from governor.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from governor.ledger import Ledger
    from governor.policy import Policies
    from governor.policy.shape import PolicyFile
    from governor.pricing import PriceTable
    from governor.rehearsal.goals import Goal
    from governor.rehearsal.routing_goals import RoutingGoal
    from governor.rehearsal.runner import Miss, Result, Runner
    from governor.rehearsal.sidecar import Sidecar

    Goals = Sequence[Goal | RoutingGoal]

PATH: Any = typer.Argument(
    None,
    metavar="[PATH]",
    help="The folder, one policy file, or one tests file; else --policies.",
    show_default=False,
)
INIT: Any = flag("--init", help="Write a first tests file for every policy file that has none.")
REQUIRE_ALL: Any = flag("--require-all", help="Fail if no test reaches a threshold, or a rule of routing.")
MANY = 100
"""From so many tests on, progress is shown."""


def run_tests(
    path: str | None = PATH,
    init: bool = INIT,
    require_all: bool = REQUIRE_ALL,
    policies: str = POLICIES,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Run the tests beside policy files (engineering.tests.yaml), after checking the files.

    Exit code 1 if a test fails, 3 if a policy or a tests file is malformed.
    """
    from governor.rehearsal.goals import goals  # noqa: PLC0415 - `--help` need not pay for it
    from governor.rehearsal.sidecar import find_sidecars, read_sidecars  # noqa: PLC0415 - same

    where = Path(path or policies)
    loaded, table = _load(where), load_prices(prices)
    refuse_unpriced(loaded, table)
    if init:
        _write_first(where, loaded, table, as_json=as_json)
        return
    sidecars = read_sidecars(find_sidecars(where, loaded), loaded)
    if not sidecars:
        raise Failure(f"{where} has no tests: `governor policy test {where} --init` writes a first file")
    tested = _tested(where, loaded, sidecars)
    wanted = [goal for goal in goals(loaded, table) if goal.place.rpartition(":")[0] in tested]
    runner, results = _run(loaded, table, sidecars)
    left = [goal for goal in wanted if goal.which not in runner.seen]
    if as_json:
        print_json(_as_json(results, wanted, left))
    else:
        _print(results, left, loaded, sidecars)
    if not all(result.passed for result in results) or (require_all and left):
        raise typer.Exit(FAILURE)


def _load(where: Path) -> Policies:
    """The policies to test: for a tests file and for organization.yaml, with the folder that they are in."""
    from governor.policy.load import ORGANIZATION  # noqa: PLC0415 - as above
    from governor.rehearsal.sidecar import is_sidecar  # noqa: PLC0415 - as above

    whole = is_sidecar(where) or (where.name == ORGANIZATION and where.is_file())
    return load_policies(str(where.parent if whole else where))


def _tested(where: Path, loaded: Policies, sidecars: Sequence[Sidecar]) -> set[str]:
    """The policy files whose thresholds are to be reached."""
    if where.is_dir():
        return set(loaded.sources)
    return {sidecar.policy.name for sidecar in sidecars}


def _run(loaded: Policies, table: PriceTable, sidecars: Sequence[Sidecar]) -> tuple[Runner, list[Result]]:
    from governor.rehearsal.runner import Runner  # noqa: PLC0415 - as above

    every = [(sidecar, index) for sidecar in sidecars for index in range(len(sidecar.tests))]
    with tempfile.TemporaryDirectory(prefix="governor-test-") as folder:
        runner = Runner(loaded, table, _ledgers(Path(folder), loaded.organization))
        results = []
        with _progress(len(every)) as tell:
            for count, (sidecar, index) in enumerate(every, start=1):
                results.append(runner.run(sidecar, index))
                tell(count, len(every))
    if runner.problems:
        raise PolicyError(runner.problems)
    return runner, results


@contextmanager
def _progress(count: int) -> Iterator[Callable[[int, int | None], None]]:
    if count < MANY:
        yield lambda _, __: None
        return
    from governor.cli.progress import progress  # noqa: PLC0415 - only what takes long needs it

    with progress("tests run", "nothing was changed: run it again") as tell:
        yield tell


def _ledgers(
    folder: Path, organization: str
) -> Callable[[Callable[[], int]], AbstractContextManager[Ledger]]:
    """Opens SQLite files of their own, one for each series."""
    from governor.ledger.sqlite import SqliteLedger  # noqa: PLC0415 - only a series needs it

    numbers = itertools.count(1)
    return lambda clock: closing(SqliteLedger(folder / f"{next(numbers)}.db", organization, clock=clock))


def _write_first(where: Path, loaded: Policies, table: PriceTable, *, as_json: bool) -> None:
    """Write a first tests file beside every policy file that has none; what is there is left alone."""
    from governor.rehearsal.goals import goals  # noqa: PLC0415 - as above
    from governor.rehearsal.sidecar import sidecar_of  # noqa: PLC0415 - as above
    from governor.rehearsal.starter import of_file, starter  # noqa: PLC0415 - as above

    wanted = goals(loaded, table)
    written, kept = [], []
    for file in _meant(where, loaded):
        target, mine = sidecar_of(Path(file.name)), of_file(file, wanted)
        if not mine:
            note(f"{file.name} has no threshold to reach: nothing to write")
            continue
        text = starter(loaded, table, file, mine)
        try:
            with target.open("x", encoding="utf-8") as out:
                out.write(text)
        except FileExistsError:
            kept.append(str(target))
        except OSError as error:
            raise Failure(f"{target} cannot be written: {error.strerror}") from None
        else:
            written.append(str(target))
    if not written and kept:
        raise Failure(f"nothing was written: {', '.join(kept)} exists, and is never written over")
    if as_json:
        print_json({"written": written, "kept": kept})
        return
    out_ = console()
    for name in written:
        out_.print(f"wrote {name}", style="green", soft_wrap=True)
    for name in kept:
        out_.print(f"kept {name}: it exists, and is never written over", soft_wrap=True)


def _meant(where: Path, loaded: Policies) -> list[PolicyFile]:
    """The policy files at a path."""
    from governor.rehearsal.sidecar import is_sidecar, sidecar_of  # noqa: PLC0415 - as above

    if where.is_dir():
        return list(loaded.files)
    own = [
        file
        for file in loaded.files
        if where.name == (sidecar_of(Path(file.name)).name if is_sidecar(where) else Path(file.name).name)
    ]
    if not own:
        raise Failure(f"there is no policy file that {where} would test: name it after one")
    return own


def _print(
    results: Sequence[Result],
    left: Goals,
    loaded: Policies,
    sidecars: Sequence[Sidecar],
) -> None:
    out = console()
    zones = {sidecar.document.file: sidecar.timezone for sidecar in sidecars}
    for file, group in itertools.groupby(results, key=lambda result: result.file):
        out.print(file, style="bold", soft_wrap=True)
        for result in group:
            word, style = ("ok    ", None) if result.passed else ("FAILED", "red")
            out.print(f"  {word}  {result.name}", style=style, soft_wrap=True)
            for line in _misses(result.misses, zones[file]):
                out.print(f"          {line}".rstrip(), soft_wrap=True)
    failed = sum(not result.passed for result in results)
    count = f"{len(results)} test{'s' * (len(results) != 1)}"
    out.print(f"{count}: {len(results) - failed} passed, {failed} failed", style="red" if failed else "green")
    tested = {sidecar.policy.name for sidecar in sidecars}
    for goal in left:
        out.print(f"not reached: {goal.place}: {goal.about}", style="yellow", soft_wrap=True)
    untested = {name for name in (goal.place.rpartition(":")[0] for goal in left) if name not in tested}
    for name in loaded.sources:
        if name in untested:
            hint = f"`governor policy test {name} --init` writes a first file"
            out.print(f"{name} has no tests: {hint}", soft_wrap=True)
    if not left:
        out.print("every threshold is reached, and every rule of routing", style="green")


def _misses(misses: Sequence[Miss], timezone: str) -> Iterator[str]:
    """What did not come out as expected, and the whole explanation of each request, once."""
    for key, group in itertools.groupby(misses, key=lambda miss: id(miss.told)):
        same = list(group)
        for miss in same:
            yield f"{miss.place}: {miss.what}: expected {miss.expected}, got {miss.got}"
        request, told = same[0].request, same[0].told
        if key != id(None) and request is not None and told is not None:
            yield from explained.lines(request, told, timezone)


def _as_json(results: Sequence[Result], wanted: Goals, left: Goals) -> dict[str, Any]:
    failed = sum(not result.passed for result in results)
    return {
        "passed": len(results) - failed,
        "failed": failed,
        "thresholds": len(wanted),
        "not_reached": [{"place": goal.place, "about": goal.about} for goal in left],
        "tests": [
            {
                **problem_json(result),
                "name": result.name,
                "passed": result.passed,
                "misses": [_miss_json(miss) for miss in result.misses],
            }
            for result in results
        ],
    }


def _miss_json(miss: Miss) -> dict[str, Any]:
    told = miss.request and miss.told and explained.as_json(miss.request, miss.told)
    return {
        "place": miss.place,
        "what": miss.what,
        "expected": miss.expected,
        "got": miss.got,
        "explanation": told or None,
    }
