"""`governor policy fmt`: policy files in canonical form."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.completion import policy_files
from governor.cli.context import JSON, POLICIES, flag
from governor.cli.output import FAILURE, console, note, print_json
from governor.errors import PolicyError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILE_BYTES = 1 << 20
"""What a policy file may have at most, as the loader says."""

PATH: Any = typer.Argument(
    None,
    metavar="PATH",
    help="The folder, or one file; else --policies.",
    show_default=False,
    autocompletion=policy_files,
)
CHECK: Any = flag("--check", help="Write nothing; exit code 1 if a file would change.")
DIFF: Any = flag("--diff", help="Write nothing; print what would change.")

_ENDINGS = (".yaml", ".yml")
_UNORDERED = (".tests.yaml", ".tests.yml", "alerts.yaml", "alerts.yml")
"""What is no policy keeps its author's order."""


@dataclass(frozen=True, slots=True)
class Laid:
    """One file: its text as it is, and in canonical form; what keeps it from being read."""

    path: Path
    before: str = ""
    after: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it would be written."""
        return self.before != self.after


def fmt(
    path: str | None = PATH,
    check: bool = CHECK,
    diff: bool = DIFF,
    policies: str = POLICIES,
    as_json: bool = JSON,
) -> None:
    """Lay policy files out alike: order of keys, indentation, quotes. What they say and comments stay.

    A file that cannot be read is left as it is, and the exit code is 3; files of tests are laid out too.
    """
    files = [_laid(file) for file in _files(Path(path or policies))]
    writes = not (check or diff)
    if writes:
        for file in files:
            if file.changes:
                _write(file)
    changed = [file for file in files if file.changes]
    problems = [problem for file in files for problem in file.problems]
    if not as_json:
        _say(files, changed, writes=writes, diff=diff)
    if problems:
        raise PolicyError(problems)
    if as_json:
        print_json(_as_json(files, written=writes, diff=diff))
    if check and changed:
        raise typer.Exit(FAILURE)


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        entries = sorted(path.iterdir())
    except FileNotFoundError:
        raise _refusal(path, "no such file or folder", "make it, or correct the path") from None
    except (OSError, ValueError) as error:
        raise _refusal(path, f"cannot be read: {_reason(error)}", "check its path and permissions") from None
    found = [entry for entry in entries if _is_meant(entry)]
    if not found:
        raise _refusal(path, "the folder holds no policy file", "`governor init` writes a first one")
    return found


def _is_meant(entry: Path) -> bool:
    name = entry.name.lower()
    return name.endswith(_ENDINGS) and not name.startswith(".") and not entry.is_dir()


def _laid(path: Path) -> Laid:
    from governor.policy.canonical import canonical  # noqa: PLC0415 - `--help` need not pay for the parser

    try:
        before = _read(path)
        after = canonical(
            str(path), before.removeprefix("\ufeff"), ordered=not path.name.lower().endswith(_UNORDERED)
        )
    except PolicyError as error:
        return Laid(path, problems=tuple(error.problems))
    return Laid(path, before, after)


def _read(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refusal(path, "is not a regular file", "remove it, or write the policy there")
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _refusal(path, f"cannot be read: {_reason(error)}", "check its permissions") from None
    if len(raw) > MAX_FILE_BYTES:
        raise _refusal(path, "is larger than 1 MiB", "a policy file is some hundred lines; is this one?")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise PolicyError(
            [Problem(str(path), line, column, "is not UTF-8 text", "save it as UTF-8")]
        ) from None


def _write(file: Laid) -> None:
    """Put the new text in the file's place in one step; its mode stays, and a link goes on being one."""
    place = file.path.resolve()
    try:
        mode = place.stat().st_mode
        if not os.access(place, os.W_OK):
            raise _refusal(file.path, "is read-only", "make it writable, or use --diff")
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(file.after)
            Path(name).chmod(stat.S_IMODE(mode))
            Path(name).replace(place)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise _refusal(file.path, f"cannot be written: {_reason(error)}", "check its permissions") from None


def _refusal(path: Path, message: str, hint: str) -> PolicyError:
    return PolicyError([Problem(str(path), 0, 0, message, hint)])


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _difference(file: Laid) -> Iterator[str]:
    from difflib import unified_diff  # noqa: PLC0415 - only --diff needs it

    before, after = file.before.splitlines(), file.after.splitlines()
    yield from unified_diff(before, after, str(file.path), str(file.path), lineterm="")


def _say(files: list[Laid], changed: list[Laid], *, writes: bool, diff: bool) -> None:
    for file in changed:
        if diff:
            for line in _difference(file):
                typer.echo(line)
        else:
            typer.echo(f"{'formatted' if writes else 'would change'}: {file.path}")
    count = sum(not file.problems for file in files)
    if count and not changed:
        text = f"{count} {'file is' if count == 1 else 'files are'} in canonical form"
        console().print(text, style="green")
    elif changed and not writes:
        note(f"{len(changed)} of {count} files would change; `governor policy fmt` writes them")


def _as_json(files: list[Laid], *, written: bool, diff: bool) -> dict[str, Any]:
    shown = []
    for file in files:
        one: dict[str, Any] = {"file": str(file.path), "changes": file.changes}
        if diff:
            one["diff"] = "\n".join(_difference(file))
        shown.append(one)
    return {"files": shown, "written": written}
