"""Tests files beside policy files: which there are, what they say, and what in them cannot be meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from governor.errors import PolicyError, Problem, nearest
from governor.policy.load import TEST_ENDINGS, read_document
from governor.policy.shape import dotted, validated
from governor.rehearsal.language import FileOfTests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from governor.policy import Policies
    from governor.policy.positions import Document
    from governor.policy.shape import PolicyFile
    from governor.rehearsal.language import PolicyTest, Step

_Path = tuple[object, ...]
_Fault = tuple[_Path, str, str]
"""Where in the file, what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A tests file whose shape is right, and the policy file it tests.

    Attributes:
        document: What it says, and where.
        tests: Its tests.
        policy: The policy file.
    """

    document: Document
    tests: tuple[PolicyTest, ...]
    policy: PolicyFile

    @property
    def department(self) -> str | None:
        """The department that its requests are of unless they say; `None`: the organisation's file."""
        return getattr(self.policy.policy, "department", None)

    @property
    def timezone(self) -> str:
        """Where its instants are."""
        return self.policy.policy.timezone


def is_sidecar(path: Path) -> bool:
    """Whether *path* is named as a tests file is."""
    return path.name.lower().endswith(TEST_ENDINGS) and not path.name.startswith(".")


def sidecar_of(policy: Path) -> Path:
    """The tests file that belongs to a policy file: `engineering.tests.yaml` to `engineering.yaml`."""
    return policy.with_name(f"{policy.stem}.tests{policy.suffix}")


def find_sidecars(path: Path, policies: Policies) -> list[Path]:
    """The tests files at *path*: itself, its own, or those of the folder, in the order of their policies."""
    if is_sidecar(path):
        return [path]
    if not path.is_dir():
        own = sidecar_of(path)
        return [own] if own.is_file() else []
    found = sorted(entry for entry in path.iterdir() if is_sidecar(entry))
    order = [sidecar_of(Path(source)).name for source in policies.sources]
    return sorted(found, key=lambda entry: order.index(entry.name) if entry.name in order else len(order))


def read_sidecars(paths: Iterable[Path], policies: Policies) -> list[Sidecar]:
    """Read tests files, all or none.

    Raises:
        PolicyError: One is malformed, or tests a policy file that there is not; with every problem found.
    """
    problems: list[Problem] = []
    found = [_read(path, policies, problems) for path in paths]
    if problems:
        raise PolicyError(problems)
    return [sidecar for sidecar in found if sidecar is not None]


def _read(path: Path, policies: Policies, problems: list[Problem]) -> Sidecar | None:
    document = read_document(path, problems)
    if document is None:
        return None
    own = list(document.problems)
    parsed = None
    if isinstance(document.root.value, dict):
        parsed = validated(document, FileOfTests, own)
    else:
        own.append(document.problem((), "a tests file is a mapping of keys", "it starts with `version: 1`"))
    if parsed is not None:
        own += [document.problem(where, message, hint) for where, message, hint in _faults(parsed)]
    policy = None if parsed is None else _policy(path, document, parsed.policy, policies, own)
    problems += sorted(own, key=lambda problem: (problem.line, problem.column))
    return Sidecar(document, tuple(parsed.tests), policy) if parsed is not None and policy else None


def _policy(
    path: Path, document: Document, written: str | None, policies: Policies, problems: list[Problem]
) -> PolicyFile | None:
    """The policy file that a tests file is for."""
    named = {Path(file.name).name: file for file in policies.files}
    endings = [ending for ending in TEST_ENDINGS if path.name.lower().endswith(ending)]
    stem = path.name[: -len(endings[0])] if endings else path.stem
    meant = [written] if written is not None else [f"{stem}.yaml", f"{stem}.yml"]
    found = next((named[name] for name in meant if name in named), None)
    if found is None:
        where: _Path = () if written is None else ("policy",)
        hint = nearest(meant[0], named) if written else f"add `policy: FILE`; {nearest(meant[0], named)}"
        problems.append(document.problem(where, f"there is no policy file {meant[0]!r} to test", hint))
    return found


def _faults(file: FileOfTests) -> Iterator[_Fault]:
    names: dict[str, int] = {}
    for index, test in enumerate(file.tests):
        where: _Path = ("tests", index)
        if test.name in names:
            yield (*where, "name"), f"the test {test.name!r} is written twice", "give each a name of its own"
        names[test.name] = index
        yield from _series_faults(where, test) if test.steps is not None else _request_faults(where, test)


def _request_faults(where: _Path, test: PolicyTest) -> Iterator[_Fault]:
    if test.request is None:
        yield where, f"{dotted(where)} asks nothing", "add `request` and `expect`, or `steps`"
    elif test.expect is None or not test.expect.model_fields_set:
        yield where, f"{dotted(where)} expects nothing", "add expect: {decision: served, line: sonnet}"
    if test.request is not None and test.request.output_tokens is not None:
        path = (*where, "request", "output_tokens")
        yield path, f"{dotted(path)}: nothing is sent here, so nothing is used", "write it in a step"


def _series_faults(where: _Path, test: PolicyTest) -> Iterator[_Fault]:
    for key in ("spent", "held", "load", "request", "expect"):
        if key in test.model_fields_set:
            path = (*where, key)
            yield path, f"{dotted(path)}: a series says this in its steps", "move it into a step"
    for index, step in enumerate(test.steps or ()):
        yield from _step_faults((*where, "steps", index), step)


def _step_faults(where: _Path, step: Step) -> Iterator[_Fault]:
    spends = bool(step.spent) or step.spend is not None
    if step.at is not None and step.after is not None:
        yield (*where, "after"), f"{dotted(where)} says both when and how long after", "keep one"
    if spends and step.user is None:
        yield where, f"{dotted(where)} does not say who spends", "add `user`"
    if not spends:
        for key in ("user", "department", "feature", "run", "tags", "priority", "user_tier", "model"):
            if key in step.model_fields_set:
                path = (*where, key)
                hint = "write it in `request`" if step.request else "add `spend`, `spent` or `request`"
                yield path, f"{dotted(path)}: nothing is spent in this step", hint
    if step.load is not None and step.request is None:
        path = (*where, "load")
        yield path, f"{dotted(path)}: nothing is asked in this step", "add `request`"
    if step.expect is not None and step.request is None:
        yield (*where, "expect"), f"{dotted(where)} asks nothing, so nothing comes of it", "add `request`"
    if step.warns is not None and not spends and step.request is None:
        yield (*where, "warns"), f"{dotted(where)} spends nothing, so nothing warns", "add `spend`"
    if not step.model_fields_set:
        yield where, f"{dotted(where)} does nothing", "add `at`, `spend`, `spent` or `request`"
