"""`governor policy push`, `versions`, `rollback`, `withdraw` and `pull`: one policy for every process."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.budget_changes import ACTOR, REASON, YES
from governor.cli.context import JSON, LEDGER, POLICIES, PRICES, checked_now_ms, load_policies, load_prices
from governor.cli.output import Failure, confirm, console, note, print_json, print_rows, stamp, usage
from governor.cli.policy import PATH, refuse_ledger, refuse_unpriced
from governor.cli.typed import required
from governor.cli.who import actor_of
from governor.errors import PolicyError
from governor.ids import new_id
from governor.journal.records import administration
from governor.ledger import commands as c
from governor.ledger.opening import open_ledger, redact
from governor.ledger.policies import MOST_BYTES, size_of
from governor.story.decision import instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.ledger import Ledger
    from governor.policy import Policies

VERSION: Any = typer.Argument(..., metavar="VERSION", min=1, help="As `governor policy versions` lists it.")
EVERYWHERE = "in every process that uses this ledger, within seconds"


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger, and the newest version of the policies that were pushed to it."""

    ledger: Ledger
    where: str
    organization: str
    newest: c.PushedPolicies | None

    @property
    def version(self) -> int:
        """The newest version's number; 0: there is none."""
        return self.newest.about.version if self.newest else 0

    @property
    def about(self) -> c.PolicyVersion | None:
        """The version that is in force; `None`: each process goes by its own files."""
        return self.newest.about if self.newest and not self.newest.about.withdrawn else None

    @property
    def now(self) -> str:
        """What is in force, as questions say it."""
        if self.about is None:
            return "each process's own files"
        by = self.about.actor or "nobody named"
        return f"version {self.about.version}, hash {self.about.hash}, by {by}"


@contextmanager
def open_place(organization: str, url: str) -> Iterator[Place]:
    """The ledger at *url*, which must exist.

    Raises:
        LedgerUnavailable: It cannot be reached, or was never created.
    """
    store, where = open_ledger(url, organization), redact(url)
    try:
        checked_now_ms(store, where, organization)
        yield Place(store, where, organization, store.execute(c.ReadPolicies()))
    finally:
        store.close()


def organization_of(policies: str) -> str:
    """The organisation's name, of its files or of `ledger:NAME`.

    Raises:
        PolicyError: The files do not load.
    """
    try:
        return load_policies(policies).organization
    except PolicyError:
        note("only the organization's name is needed of the files: without them, add --policies ledger:NAME")
        raise


def push(
    path: str | None = PATH,
    reason: str = REASON,
    actor: str | None = ACTOR,
    yes: bool = YES,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Put a folder of policies in force in every process that uses the ledger, in place of its own files.

    The files are checked first, as `governor policy check` does.
    """
    record, folder = administration(actor_of(actor), required("--reason", reason)), path or policies
    files, loaded = _read(folder)
    refuse_unpriced(loaded, load_prices(prices))
    with open_place(loaded.organization, ledger) as place:
        before = (place.newest.files if place.about and place.newest else None) or {}
        if files == before:
            _say(place, None, f"has it in force already: {place.now}", as_json=as_json)
            return
        changes = _changes(before, files)
        question = f"Push {folder} to {place.where}? It will be in force {EVERYWHERE}."
        confirm(f"{question} Hash {loaded.hash}; in force now: {place.now}. {changes}.", yes=yes)
        made = _make(place, c.PushPolicies(new_id(), place.version, files, loaded.hash, record))
        _say(place, made, f"was pushed: {changes}", as_json=as_json)


def versions(policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON) -> None:
    """List what was pushed to the ledger, the newest first: who, when and why."""
    with open_place(organization_of(policies), ledger) as place:
        found = place.ledger.execute(c.ListPolicyVersions())
        in_force = place.about.version if place.about else None
    if as_json:
        rows = [{**_as_json(one), "in_force": one.version == in_force} for one in found]
        print_json({"organization": place.organization, "in_force": in_force, "versions": rows})
        return
    if not found:
        console().print("nothing was pushed: each process goes by its own files", soft_wrap=True)
        return
    titles = ("version", "", "when (UTC)", "what", "hash", "by", "why")
    cells = [
        (
            str(one.version),
            "in force" if one.version == in_force else "",
            stamp(one.at_ms)[:-4],
            f"{one.what} to {one.of}" if one.of else one.what,
            one.hash or "-",
            one.actor,
            one.reason,
        )
        for one in found
    ]
    print_rows(titles, cells, left=len(titles))


def rollback(
    version: int = VERSION,
    reason: str = REASON,
    actor: str | None = ACTOR,
    yes: bool = YES,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    prices: str | None = PRICES,
    as_json: bool = JSON,
) -> None:
    """Put an older version in force again, as a new version; it is checked first."""
    from governor.policy.pushed import load_pushed  # noqa: PLC0415 - `--help` need not pay for it

    record = administration(actor_of(actor), required("--reason", reason))
    with open_place(organization_of(policies), ledger) as place:
        files = _texts(place, version)
        if place.about and place.about.version == version:
            _say(place, None, f"has it in force already: {place.now}", as_json=as_json)
            return
        loaded = load_pushed(files, place.organization, version)
        refuse_unpriced(loaded, load_prices(prices))
        question = f"Roll back to version {version} (hash {loaded.hash}), {EVERYWHERE}?"
        confirm(f"{question} In force now: {place.now}.", yes=yes)
        made = _make(place, c.PushPolicies(new_id(), place.version, files, loaded.hash, record, of=version))
        _say(place, made, f"has the policies of version {version}", as_json=as_json)


def withdraw(
    reason: str = REASON,
    actor: str | None = ACTOR,
    yes: bool = YES,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Let every process go by its own files again; one that has none refuses every call."""
    record = administration(actor_of(actor), required("--reason", reason))
    with open_place(organization_of(policies), ledger) as place:
        if place.about is None:
            _say(place, None, "has none in force: each process goes by its own files", as_json=as_json)
            return
        question = f"Withdraw the policies of {place.where}, {EVERYWHERE}? Each goes by its own files then."
        confirm(f"{question} In force now: {place.now}.", yes=yes)
        made = _make(place, c.PushPolicies(new_id(), place.version, {}, "", record))
        _say(place, made, "withdrew what was pushed: each process goes by its own files", as_json=as_json)


def _read(folder: str) -> tuple[dict[str, str], Policies]:
    """The texts of a folder, and what they say: of the same moment."""
    from pathlib import Path  # noqa: PLC0415 - `--help` need not pay for it

    from governor.policy.load import load_texts, read_texts  # noqa: PLC0415 - as above

    refuse_ledger(folder)
    if Path(folder).is_file():
        raise usage(f"{folder} is one file, and a version is all of them: name its folder")
    files = read_texts(folder)
    size = size_of(files)
    if size > MOST_BYTES:
        raise Failure(f"the files of {folder} have {size:,} bytes, and a version {MOST_BYTES:,} at most")
    return files, load_texts({str(Path(folder, name)): text for name, text in files.items()})


def _texts(place: Place, version: int) -> dict[str, str]:
    found = place.ledger.execute(c.ReadPolicies(version))
    if found is None:
        raise usage(f"there is no version {version}: `governor policy versions` lists them")
    if found.about.withdrawn:
        raise usage(
            f"version {version} withdrew what was pushed, and has no files: `governor policy withdraw`"
        )
    if found.files is None:
        raise Failure(f"the files of version {version} are kept no more: push them from where you keep them")
    return found.files


def _make(place: Place, command: c.PushPolicies) -> c.PolicyVersion:
    """Make the version.

    Raises:
        Failure: Somebody else made one meanwhile.
    """
    made = place.ledger.execute(command)
    if isinstance(made, c.PolicyVersion):
        return made
    if made.newest is None:
        raise Failure("what was pushed is gone from the ledger meanwhile: nothing was changed; run it again")
    one = made.newest
    raise Failure(
        f"{one.actor or 'somebody'} made version {one.version} ({one.what}: {one.reason}) meanwhile: nothing "
        "was changed; look at it with `governor policy versions`, and run this again if it shall replace it"
    )


def _changes(before: dict[str, str], after: dict[str, str]) -> str:
    """Which files come, change and go."""
    kinds = {
        "new": [name for name in after if name not in before],
        "changed": [name for name in after if name in before and after[name] != before[name]],
        "gone": [name for name in before if name not in after],
    }
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)


def _say(place: Place, made: c.PolicyVersion | None, text: str, *, as_json: bool) -> None:
    if as_json:
        about = place.about if made is None else made
        in_force = None if about is None or about.withdrawn else about.version
        told = {"ledger": place.where, "organization": place.organization, "changed": made is not None}
        before = place.about and place.about.hash
        print_json(
            {**told, "in_force": in_force, "hash_before": before, "version": about and _as_json(about)}
        )
        return
    what = f"version {made.version}" if made else place.where
    out = console()
    out.print(f"{what} {text}", style="green" if made else None, soft_wrap=True)
    if made and not made.withdrawn:
        was = place.about.hash if place.about else "each process's own files"
        out.print(f"  policy {was} → {made.hash}, {EVERYWHERE}", soft_wrap=True)
    if made and place.about:
        back = f"governor policy rollback {place.about.version} --reason …"
        out.print(f"  to take it back: {back}", soft_wrap=True)


def _as_json(one: c.PolicyVersion) -> dict[str, Any]:
    return {
        "version": one.version,
        "what": one.what,
        "of": one.of or None,
        "hash": one.hash or None,
        "at": instant(one.at_ms),
        "actor": one.actor,
        "reason": one.reason,
        "id": one.id,
    }
