"""`governor init`: a first folder of policy files, with comments."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.completion import timezones
from governor.cli.context import JSON
from governor.cli.output import Failure, console, print_json, usage
from governor.data import data_file
from governor.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

DIR: Any = typer.Argument("policies", metavar="DIR", help="The folder; it is made if it is not there.")
ORGANIZATION: Any = typer.Option(
    "example", "--organization", metavar="NAME", help="The organisation's name, which the ledger goes by."
)
DEPARTMENT: Any = typer.Option(
    "engineering", "--department", metavar="NAME", help="The first department's name, as calls give it."
)
TIMEZONE: Any = typer.Option(
    "UTC",
    "--timezone",
    metavar="ZONE",
    help="In which days and months begin, for example Europe/Berlin.",
    autocompletion=timezones,
)

LEDGER = "sqlite:///governor.db"
"""The ledger that the next steps make."""

_NO_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")

SHARED = "organization"
"""The name of the organisation's file, which no department's can have."""


def init(
    folder: str = DIR,
    organization: str = ORGANIZATION,
    department: str = DEPARTMENT,
    timezone: str = TIMEZONE,
    as_json: bool = JSON,
) -> None:
    """Write a first folder of policy files, with comments, and say what to do next.

    A file that is there already is never written over: it is named and left as it is.
    """
    _check(organization, department, timezone)
    texts = starter(organization, department, timezone)
    written, kept = _write(Path(folder), texts)
    steps = next_steps(folder)
    if as_json:
        print_json({"folder": folder, "written": written, "kept": kept, "next": steps})
        return
    out = console()
    for name in written:
        out.print(f"wrote {Path(folder) / name}", style="green", soft_wrap=True)
    for name in kept:
        out.print(f"{Path(folder) / name} is there already, and stays as it is", soft_wrap=True)
    out.print("\nNext, once the numbers are yours:", soft_wrap=True)
    for step in steps:
        out.print(f"  {step}", soft_wrap=True)


def starter(organization: str, department: str, timezone: str) -> dict[str, str]:
    """The files of a first folder: name to content."""
    words = {"ORGANIZATION": organization, "DEPARTMENT": department, "TIMEZONE": timezone}
    return {
        f"{SHARED}.yaml": _filled("organization.yaml", words),
        f"{department}.yaml": _filled("department.yaml", words),
        "schema.json": data_file("policies/schema.json").read_text(encoding="utf-8"),
    }


def next_steps(folder: str) -> list[str]:
    """The three commands that come next, as they are typed."""
    where = "" if folder == "policies" else f" --policies {shlex.quote(folder)}"
    return [
        f"governor policy check{where}",
        f"governor ledger create {LEDGER}{where}",
        f"governor budget list{where}",
    ]


def _filled(name: str, words: Mapping[str, str]) -> str:
    """A template with its words put in; the comments behind them stay in their column where they can."""
    template = files("governor.cli").joinpath(f"starter/{name}").read_text(encoding="utf-8")
    lines = []
    for line in template.split("\n"):
        said, mark, comment = line.partition("  #")
        filled = said.rstrip()  # nothing, where the line is a comment alone
        for word, value in words.items():
            filled = filled.replace(word, value if line.startswith("#") else _quoted(value))
            comment = comment.replace(word, value)
        lines.append(f"{filled.ljust(len(said))}{mark}{comment}".rstrip())
    return "\n".join(lines)


def _quoted(value: str) -> str:
    """A name as YAML takes it for a word: `null` and `7` are none without quotes."""
    return value if value[:1].isalpha() and value not in _NO_WORDS else f'"{value}"'


def _check(organization: str, department: str, timezone: str) -> None:
    from zoneinfo import available_timezones  # noqa: PLC0415 - `--help` need not pay for it

    from governor.policy.scopes import clean_name  # noqa: PLC0415 - same

    for option, name in (("--organization", organization), ("--department", department)):
        if not clean_name(name):
            raise usage(f"{option} {name!r} cannot be a name: give 1 to 64 of a-z, 0-9, - and _")
    if department == SHARED:
        raise usage(f"--department {SHARED}: {SHARED}.yaml is everybody's file, so give another name")
    zones = available_timezones()
    if timezone not in zones:
        hint = nearest(timezone, zones)
        near = hint if hint.startswith("did you mean") else "write for example Europe/Berlin"
        raise usage(f"--timezone {timezone!r} is no IANA time zone: {near}")


def _write(folder: Path, texts: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write what is not there; the names written, and those that were there already."""
    written, kept = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            try:
                with (folder / name).open("x", encoding="utf-8", newline="\n") as stream:
                    stream.write(text)
            except FileExistsError:
                kept.append(name)
            else:
                written.append(name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Failure(f"{folder} cannot be written: {reason}; name another, or check its rights") from None
    if not written:
        there = ", ".join(str(folder / name) for name in kept)
        raise Failure(f"nothing was written: {there} are there already; name another folder or --department")
    return written, kept
