"""Read a folder of policy files, whole or not at all."""

from __future__ import annotations

import logging
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from governor.errors import PolicyError, Problem

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from governor.policy.positions import Document
    from governor.policy.resolve import Policies
    from governor.policy.shape import PolicyFile

MAX_FILE_BYTES = 1 << 20
ORGANIZATION = "organization.yaml"
"""Everybody's floor: read with a single file of the same folder, too."""

_ENDINGS = (".yaml", ".yml")
TEST_ENDINGS = (".tests.yaml", ".tests.yml")
"""Files of tests, which are no policies."""

_logger = logging.getLogger("governor")


def load(path: str | os.PathLike[str]) -> Policies:
    """Read every policy file of a folder, or one file and the `organization.yaml` beside it.

    Files that do not end in `.yaml` or `.yml`, that end in `.tests.yaml`, or that begin with a dot are not
    policies and are left alone. What the files say and this release does not enforce yet is logged once, as
    a warning of the logger `governor`.

    Args:
        path: The folder, for example `policies/`, or one file of it.

    Returns:
        The policies, compiled.

    Raises:
        PolicyError: A file is malformed or cannot be read, or there is none. It carries every problem found;
            nothing was taken.
    """
    problems: list[Problem] = []
    documents = []
    paths = _files(Path(path))
    for file in paths:
        document = read_document(file, problems)
        if document is not None:
            documents.append(document)
    files = _validate(documents, problems, alone=Path(path) in paths)
    if problems:
        order = [str(file) for file in paths]
        raise PolicyError(sorted(problems, key=lambda p: (order.index(p.file), p.line, p.column)))
    return _compile(files)


def _files(path: Path) -> list[Path]:
    """The files to read; raises `PolicyError` where there are none."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            floor = path.with_name(ORGANIZATION)
            return [floor, path] if floor.is_file() and not floor.samefile(path) else [path]
        found = sorted(entry for entry in path.iterdir() if _is_policy(entry))
    except FileNotFoundError:
        raise _refusal(path, "no such file or folder", "make it, or correct the path") from None
    except (OSError, ValueError) as error:
        raise _refusal(path, f"cannot be read: {_reason(error)}", "check its path and permissions") from None
    if not found:
        raise _refusal(path, "the folder holds no policy file", "add one named after a department, in YAML")
    return found


def _is_policy(entry: Path) -> bool:
    name = entry.name.lower()
    if name.startswith(".") or not name.endswith(_ENDINGS) or name.endswith(TEST_ENDINGS):
        return False
    return not entry.is_dir()


def _refusal(path: Path, message: str, hint: str) -> PolicyError:
    return PolicyError([Problem(str(path), 0, 0, message, hint)])


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def read_document(path: Path, problems: list[Problem]) -> Document | None:
    """Read one YAML file; `None` where it cannot be, with why added to *problems*."""
    from governor.policy.positions import read_yaml  # noqa: PLC0415 - `import governor` stays cheap

    def refuse(message: str, hint: str, line: int = 0, column: int = 0) -> None:
        problems.append(Problem(str(path), line, column, message, hint))

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            refuse("is not a regular file", "remove it, or write the policy there")
            return None
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        refuse(f"cannot be read: {_reason(error)}", "check its permissions")
        return None
    if len(raw) > MAX_FILE_BYTES:
        refuse("is larger than 1 MiB", "a policy file is some hundred lines; is this one?")
        return None
    try:
        return read_yaml(str(path), raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        refuse("is not UTF-8 text", "save it as UTF-8", line, column)
    except PolicyError as error:
        problems.extend(error.problems)
    return None


def _validate(documents: Sequence[Document], problems: list[Problem], *, alone: bool) -> list[PolicyFile]:
    """The files of the right shape; what is wrong is added to *problems*, file by file."""
    from governor.policy.check import cross_problems, file_problems  # noqa: PLC0415 - as in read_document
    from governor.policy.shape import read_shape  # noqa: PLC0415 - same

    files = []
    unread = bool(problems)
    for document in documents:
        file, found = read_shape(document)
        problems.extend(found)
        if file is not None:
            files.append(file)
            problems.extend(file_problems(file))
    unread = unread or len(files) < len(documents)
    problems.extend(cross_problems(files, unread=unread, alone=alone))
    return files


def _compile(files: Sequence[PolicyFile]) -> Policies:
    from governor.policy.in_force import not_in_force  # noqa: PLC0415 - as in read_document
    from governor.policy.resolve import Policies  # noqa: PLC0415 - same
    from governor.policy.rows import budget_rows  # noqa: PLC0415 - same
    from governor.policy.schema import OrganizationPolicy  # noqa: PLC0415 - same

    organization = next((file for file in files if isinstance(file.policy, OrganizationPolicy)), None)
    departments = [file for file in files if file is not organization]
    floor = organization.policy if organization else None
    rows = {
        file.name: tuple(budget_rows(file, None if file is organization else floor))  # type: ignore[arg-type]
        for file in files
    }
    shared = rows[organization.name] if organization else ()
    notices = [notice for file in files for notice in not_in_force(file, (*shared, *rows[file.name]))]
    if notices:
        _logger.warning("Accepted, but not in force yet:\n%s", "\n".join(map(str, notices)))
    return Policies(organization, departments, rows, notices)
