"""`governor policy pull`: the files that were pushed, as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from governor.cli.budget_changes import YES
from governor.cli.context import JSON, LEDGER, POLICIES
from governor.cli.output import Failure, confirm, console, note, print_json
from governor.cli.policy_push import open_place, organization_of

DIR: Any = typer.Argument("policies", metavar="[DIR]", help="The folder to write them into.")


def pull(
    folder: str = DIR,
    yes: bool = YES,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Write the policy files that were pushed into a folder; a file that is there and differs is asked for.

    Where there are no files yet, `--policies ledger:NAME` names the organization.
    """
    with open_place(organization_of(policies), ledger) as place:
        about, files = place.about, place.newest.files if place.newest else None
    if about is None or not files:
        raise Failure(f"no policies are pushed to {place.where}: each process goes by its own files")
    target = Path(folder)
    _refuse_odd(files, about.version)
    differing = [name for name, text in files.items() if _differs(target / name, text)]
    lost = [name for name in differing if (target / name).exists()]
    if lost:
        confirm(f"Overwrite {', '.join(lost)} in {folder} with version {about.version}?", yes=yes)
    _write(target, {name: files[name] for name in differing})
    for name in _others(target, files):
        note(f"{target / name} is no file of version {about.version}: it was left alone")
    if as_json:
        print_json({"version": about.version, "hash": about.hash, "folder": folder, "written": differing})
        return
    written = f"{', '.join(differing)} written" if differing else "nothing to write"
    console().print(f"{folder} has version {about.version}: {written}", style="green", soft_wrap=True)


def _refuse_odd(files: dict[str, str], version: int) -> None:
    """Refuse names that lead out of the folder."""
    from governor.policy.pushed import plain_name  # noqa: PLC0415 - `--help` need not pay for it

    odd = [name for name in files if not plain_name(name)]
    if odd:
        names = ", ".join(map(repr, odd))
        raise Failure(f"version {version} has {names}, no name of a policy file: nothing was written")


def _differs(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() != text.encode()
    except FileNotFoundError:
        return True
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}; nothing was written") from None


def _write(target: Path, files: dict[str, str]) -> None:
    """Write each file whole or not at all, so that no process reads half of one."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            beside = target / f".{name}.{os.getpid()}"
            beside.write_bytes(text.encode())
            beside.replace(target / name)
    except OSError as error:
        raise Failure(
            f"{target} cannot be written: {error.strerror}; correct its rights, or name another"
        ) from None


def _others(target: Path, files: dict[str, str]) -> list[str]:
    from governor.policy.load import is_policy_name  # noqa: PLC0415 - `--help` need not pay for it

    found = sorted(entry.name for entry in target.iterdir() if is_policy_name(entry.name))
    return [name for name in found if name not in files]
