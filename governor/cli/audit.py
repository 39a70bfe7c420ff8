"""`governor audit`: is the archive as it was written, and what does it say of whom."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.books import ARCHIVE, archive_url
from governor.cli.context import JSON, LEDGER, POLICIES, load_policies
from governor.cli.output import FAILURE, Failure, console, note, print_json, stamp, usage
from governor.cli.progress import progress
from governor.cli.typed import harmless
from governor.journal.archive import ArchiveError, open_archive
from governor.ledger.opening import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.journal.archive import Archive
    from governor.journal.audit.faults import Found

HEAD: Any = typer.Option(
    [],
    "--head",
    metavar="EPOCH/SEQ=HASH",
    help="A head that an earlier verification printed and somebody kept elsewhere. May be repeated.",
    show_default=False,
)
NOTHING_WRITTEN = "nothing was written; run it again"
SHOWN = 40
"""So many faults are shown to people; JSON has more."""


def verify(
    archive: str | None = ARCHIVE,
    head: list[str] = HEAD,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Find every record of the archive that was changed, is missing or was put in. It only reads.

    What is proved is that nobody changed what the chain's head covers: note the heads that it prints where
    nobody who can write the archive can change them, and give them back with --head. With GOVERNOR_AUDIT_KEY
    in the environment of whoever archives, and here, the hashes cannot be made anew without it. Exit code 1
    if anything is amiss.
    """
    from governor.journal.audit.verify import read_head  # noqa: PLC0415 - `--help` need not pay for it
    from governor.journal.audit.verify import verify as look  # noqa: PLC0415 - as above

    try:
        noted = [read_head(text) for text in head]
    except ArchiveError as error:
        raise usage(f"--head {error}") from None
    organization = load_policies(policies).organization
    with opened(archive, ledger, organization) as (where, kept):
        with progress("rows verified", NOTHING_WRITTEN) as tell:
            found = look(kept, organization, noted, tell)
        if as_json:
            print_json(_json(where, found))
        else:
            _say(where, found)
    if found.amiss:
        raise typer.Exit(FAILURE)


@contextmanager
def opened(archive: str | None, ledger: str, organization: str) -> Iterator[tuple[str, Archive]]:
    """The archive as it is, and what to call it.

    Raises:
        Failure: None was named, and the ledger has none beside it.
    """
    if archive is None and not ledger.startswith("sqlite:///"):
        raise Failure(
            f"{redact(ledger)} keeps no archive beside it: name one with --archive (or GOVERNOR_ARCHIVE); "
            "`governor ledger archive` makes it"
        )
    where = archive_url(archive, ledger)
    kept = open_archive(where, organization)
    try:
        yield redact(where), kept
    finally:
        kept.close()


def _say(where: str, found: Found) -> None:
    out = console()
    for fault in found.faults[:SHOWN]:
        # Who changed a record may have put what commands a terminal into it.
        told = harmless(f"{fault.kind:<8} {fault.where}: {fault.text}")
        out.print(told, style="red", soft_wrap=True, markup=False)
    if found.amiss > SHOWN:
        out.print(f"… and {found.amiss - SHOWN:,} more; --json lists up to 1,000", soft_wrap=True)
    for place in found.pruned:
        note(f"--head {place}: that record was pruned since and cannot be compared; note a newer head")
    if found.unchained:
        text = f"{found.unchained:,} records have no hash, for an older release wrote them: a change of them "
        note(f"{text}cannot be seen. A database's are chained by `governor archive migrate`")
    if found.uncertain:
        note(f"{found.uncertain:,} rows cannot be checked: records that they were made from were pruned")
    for name, before in _pruned(found).items():
        note(f"{name}: what is from before {before} was pruned (`governor archive prune`)")
    made = f"{found.records:,} records, {found.calls:,} calls, {found.results:,} results"
    if found.amiss:
        out.print(f"{where}: {found.amiss:,} amiss in {made}", style="bold red", soft_wrap=True)
    else:
        out.print(f"{where}: as it was written: {made}", style="green", soft_wrap=True)
    for head in found.heads:
        out.print(harmless(f"head  {head}  {head.records:,} records"), soft_wrap=True, markup=False)
    if not found.keyed:
        note("the hashes have no key (GOVERNOR_AUDIT_KEY): note the heads where the archive's writers cannot")


def _pruned(found: Found) -> dict[str, str]:
    """Before which day what was pruned, as the archive says."""
    from dataclasses import asdict  # noqa: PLC0415 - `--help` need not pay for it

    cuts = {} if found.cuts is None else asdict(found.cuts)
    return {name: stamp(before) for name, before in cuts.items() if before}


def _json(where: str, found: Found) -> dict[str, Any]:
    return {
        "archive": where,
        "intact": not found.amiss,
        "amiss": found.amiss,
        "faults": [
            {"kind": one.kind, "epoch": one.epoch, "seq": one.seq, "id": one.id, "text": one.text}
            for one in found.faults
        ],
        "heads": [{**head._asdict(), "head": str(head)} for head in found.heads],
        "records": found.records,
        "unchained": found.unchained,
        "calls": found.calls,
        "results": found.results,
        "uncertain": found.uncertain,
        "pruned": _pruned(found),
        "pruned_heads": found.pruned,
        "keyed": found.keyed,
    }
