"""Whatever becomes of a good file, it loads or is refused with a place: never anything else."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.mutations import mutate

from governor.errors import PolicyError, PolicyViolation
from governor.policy import Attribution, Policies, load
from governor.policy.load import ALERT_FILES

DEEP = os.environ.get("GOVERNOR_TEST_PROFILE") == "deep"
POLICIES = Path(__file__).parents[2] / "policies"
EVERYTHING = Path(__file__).parents[1] / "data" / "everything.yaml"
GOOD = {
    file.name: file.read_text(encoding="utf-8")
    for file in [*POLICIES.glob("*.yaml"), EVERYTHING]
    if not file.name.endswith(".tests.yaml") and file.name not in ALERT_FILES
}
FLOOR = {"organization.yaml": GOOD["organization.yaml"]}
WORDS = sorted({word for text in GOOD.values() for word in re.findall(r"[\w.%*-]+", text)})
ODD = ["", "~", "[]", "{}", "[", "}", "-1", "0", "1e999", ".nan", "true", '"', "&a x", "*a", "!!int x"]
ODD += ["\t", "\r", "\x85", "\u2028", "\ufeff", "\x00", "? ", "- ", ": ", "#", "|", ">", "%YAML 9\n", "---\n"]
ODD += ["99999999999999999999999", "\U0001f4b8", "{a: 1}", "'", "\n", "  ", "<<: *a", "0x10", "2026-11-21"]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str]:
    """A good file with some words or lines deleted, doubled, swapped or replaced."""
    name = draw(st.sampled_from(sorted(GOOD)))
    return name, mutate(draw, GOOD[name], words=WORDS, odd=ODD, most=4)


def try_to_load(folder: str, files: dict[str, bytes]) -> None:
    """Load the files; a refusal must say where, and what loads must answer questions."""
    for name, content in files.items():
        (Path(folder) / name).write_bytes(content)
    policies = refusal = None
    try:
        policies = load(folder)
    except PolicyError as error:
        refusal = error
    if policies is not None:
        answers(policies)
    if refusal is not None:
        for problem in refusal.problems:
            text = files[Path(problem.file).name].decode()
            breaks = len(re.findall("\r\n|[\n\r\x85\u2028\u2029]", text))
            assert 1 <= problem.line <= breaks + 1, problem
            assert problem.column >= 1, problem
            assert problem.message


def answers(policies: Policies) -> None:
    """What was loaded has sane limits and marks, and its identities lead back to its budgets."""
    for row in policies.all_terms():
        assert row.limit > 0
        assert all(0 < mark < 10_000 for mark in row.caps.values())
        assert 0 <= row.keep_bp < 10_000
        assert 0 < row.block_bp <= 10_000
    for department in policies.departments:
        with contextlib.suppress(PolicyViolation):
            terms = policies.budgets(Attribution(department, "ada@example.com", None, "r"), ["m"])
            assert all(policies.limit_of(term.identity) is not None for term in terms)


def test_the_good_files_load() -> None:
    """What is mutated is right as it stands: all of the files, and each of them with the organisation's."""
    for files in [GOOD, *({**FLOOR, name: text} for name, text in GOOD.items())]:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            assert load(folder).departments or files == FLOOR


@settings(max_examples=10_000 if DEEP else 300)
@given(mutated())
def test_a_mutated_file_loads_or_is_refused_with_a_place(file: tuple[str, str]) -> None:
    """Deleting, doubling, renaming and replacing parts of a good file never breaks the loader."""
    name, text = file
    with tempfile.TemporaryDirectory() as folder:
        content = {**FLOOR, name: text}
        try_to_load(folder, {key: value.encode("utf-8", "replace") for key, value in content.items()})


@given(st.text(max_size=200))
def test_any_text_is_refused_with_a_place(text: str) -> None:
    """No text whatever gets another exception out of the loader than `PolicyError`."""
    with tempfile.TemporaryDirectory() as folder:
        try_to_load(folder, {"a.yaml": text.encode("utf-8", "replace")})
