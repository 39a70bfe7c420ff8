"""Read a folder of policy files, or their texts, whole or not at all."""

from __future__ import annotations

import logging
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from governor.errors import PolicyError, Problem

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from governor.policy.positions import Document
    from governor.policy.resolve import Policies
    from governor.policy.shape import PolicyFile

MAX_FILE_BYTES = 1 << 20
ORGANIZATION = "organization.yaml"
"""Everybody's floor: read with a single file of the same folder, too."""

Fingerprint = tuple[tuple[str, int, int, int, int, int], ...]
"""What tells one state of policy files from another without reading them: see `fingerprint`."""

_ENDINGS = (".yaml", ".yml")
TEST_ENDINGS = (".tests.yaml", ".tests.yml")
"""Files of tests, which are no policies."""

ALERT_FILES = ("alerts.yaml", "alerts.yml")
"""The file of alert rules, which is no policy either."""

_USERS_ENDINGS = (".users.yaml", ".users.yml")

_logger = logging.getLogger("governor")


def load(path: str | os.PathLike[str]) -> Policies:
    """Read every policy file of a folder, or one file and the `organization.yaml` beside it.

    Files that do not end in `.yaml` or `.yml`, that end in `.tests.yaml`, or that begin with a dot are not
    policies and are left alone, and so is `alerts.yaml`; those that end in `.users.yaml` hold the users of a
    policy file beside. What the files say and this release does not enforce yet is logged once, as a warning
    of the logger `governor`.

    Args:
        path: The folder, for example `policies/`, or one file of it.

    Returns:
        The policies, compiled.

    Raises:
        PolicyError: A file is malformed or cannot be read, or there is none. It carries every problem found;
            nothing was taken.
    """
    problems: list[Problem] = []
    paths = _files(Path(path))
    texts = {str(file): _read(file, problems) for file in paths}
    return _load(texts, problems, alone=Path(path) in paths)


def load_texts(texts: Mapping[str, str]) -> Policies:
    """Read the texts of policy files, in the order they are given.

    Args:
        texts: What each file says, by what it is called in problems; the names are not looked at.

    Raises:
        PolicyError: As `load`.
    """
    return _load(texts, [], alone=False)


def read_texts(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts of a folder's policy files as they are now, by file name; what they say is not looked at.

    Raises:
        PolicyError: A file cannot be read, or is no text, or there is none.
    """
    problems: list[Problem] = []
    texts = {file.name: _read(file, problems) for file in _files(Path(path))}
    if problems:
        raise PolicyError(problems)
    return {name: text for name, text in texts.items() if text is not None}


def fingerprint(path: str | os.PathLike[str]) -> Fingerprint:
    """Name, device, inode, size and both times (ns) of every file that `load` would read.

    Raises:
        PolicyError: There is none, or one cannot be looked at.
    """
    marks = []
    for file in _files(Path(path)):
        try:
            found = file.stat()
        except OSError as error:
            raise _refusal(file, f"cannot be read: {_reason(error)}", "check its permissions") from None
        mark = (file.name, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        marks.append(mark)
    return tuple(marks)


def is_policy_name(name: str) -> bool:
    """Whether a file of a folder is read, as a policy or as users of one, by its name."""
    lower = name.lower()
    if lower.startswith(".") or lower in ALERT_FILES:
        return False
    return lower.endswith(_ENDINGS) and not lower.endswith(TEST_ENDINGS)


def _holds_users(name: str) -> bool:
    return name.lower().endswith(_USERS_ENDINGS)


def _load(texts: Mapping[str, str | None], problems: list[Problem], *, alone: bool) -> Policies:
    """Compile texts; `None` of a file whose problem is known already."""
    documents = [_parse(name, text, problems) for name, text in texts.items() if text is not None]
    found = [document for document in documents if document is not None]
    files = _validate(found, problems, alone=alone)
    if problems:
        order = list(texts)
        raise PolicyError(sorted(problems, key=lambda p: (order.index(p.file), p.line, p.column)))
    return _compile(files)


def _files(path: Path) -> list[Path]:
    """The files to read; raises `PolicyError` where there are none."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            floor = path.with_name(ORGANIZATION)
            beside = sorted(file for file in path.parent.iterdir() if _holds_users(file.name))
            shared = [floor] if floor.is_file() and not floor.samefile(path) else []
            return [*shared, path, *(file for file in beside if _is_policy(file))]
        found = sorted(entry for entry in path.iterdir() if _is_policy(entry))
    except FileNotFoundError:
        raise _refusal(path, "no such file or folder", "make it, or correct the path") from None
    except (OSError, ValueError) as error:
        raise _refusal(path, f"cannot be read: {_reason(error)}", "check its path and permissions") from None
    if all(_holds_users(file.name) for file in found):
        raise _refusal(path, "the folder holds no policy file", "add one named after a department, in YAML")
    return found


def _is_policy(entry: Path) -> bool:
    return is_policy_name(entry.name) and not entry.is_dir()


def _refusal(path: Path, message: str, hint: str) -> PolicyError:
    return PolicyError([Problem(str(path), 0, 0, message, hint)])


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _read(path: Path, problems: list[Problem]) -> str | None:
    """The text of a file; what is wrong with it is added to *problems*."""

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
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        refuse("is not UTF-8 text", "save it as UTF-8", line, column)
    return None


def _parse(name: str, text: str, problems: list[Problem]) -> Document | None:
    from governor.policy.positions import read_yaml  # noqa: PLC0415 - `import governor` stays cheap

    try:
        return read_yaml(name, text)
    except PolicyError as error:
        problems.extend(error.problems)
    return None


def read_document(path: Path, problems: list[Problem]) -> Document | None:
    """Read one YAML file; `None` where it cannot be, with why added to *problems*."""
    text = _read(path, problems)
    return None if text is None else _parse(str(path), text, problems)


def _validate(documents: Sequence[Document], problems: list[Problem], *, alone: bool) -> list[PolicyFile]:
    """The files of the right shape; what is wrong is added to *problems*, file by file."""
    from governor.policy.check import cross_problems, file_problems  # noqa: PLC0415 - as in _parse
    from governor.policy.people import unused_users, with_users  # noqa: PLC0415 - same
    from governor.policy.shape import read_shape  # noqa: PLC0415 - same

    files = []
    unread = bool(problems)
    people = {document.file: document for document in documents if _holds_users(document.file)}
    documents = [document for document in documents if document.file not in people]
    for document in documents:
        file, found = read_shape(document)
        if file is not None:
            file, more = with_users(file, people)
            found += more
        problems.extend(found)
        if file is not None:
            files.append(file)
            problems.extend(file_problems(file))
    unread = unread or len(files) < len(documents)
    if not (unread or alone):
        problems.extend(unused_users(files, people))
    problems.extend(cross_problems(files, unread=unread, alone=alone))
    return files


def _compile(files: Sequence[PolicyFile]) -> Policies:
    from governor.policy.in_force import not_in_force  # noqa: PLC0415 - as in _parse
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
