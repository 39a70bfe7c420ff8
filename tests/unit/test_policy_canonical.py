"""The canonical form of policy files: nothing that is said changes, and formatting again changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import PolicyError
from governor.policy import layout
from governor.policy.canonical import canonical
from governor.policy.positions import read_yaml

ROOT = Path(__file__).parents[2]
FOLDERS = ("policies", "governor/cli/demo_policies", "governor/cli/starter", "benchmarks/policies")
SHIPPED = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for folder in FOLDERS
    for file in sorted((ROOT / folder).glob("*.yaml"))
}
LOOSE = """\
# The file.

# whose it is
department: 'research'
routing:
    # which models
    default:   auto
    lines: { opus:   claude-opus-5-5,haiku: "claude-haiku-5-5" }
budgets:
- {window: month, per: department,usd: 5}   # a
# before the second
- {per: "user", usd: 10, window: day}
  # behind it


thresholds: {100%: block, 80%: [warn]}
version: 1 # the language
# the end
"""
EVEN = """\
# The file.
version: 1  # the language

# whose it is
department: research
budgets:
  - {per: department, usd: 5, window: month}  # a
  # before the second
  - {per: user, usd: 10, window: day}
  # behind it

thresholds: {80%: [warn], 100%: block}
routing:
  lines: {haiku: claude-haiku-5-5, opus:   claude-opus-5-5}
  # which models
  default:   auto
# the end
"""


def test_a_loose_file_becomes_even() -> None:
    """Order, indentation, spaces, quotes and blank lines, each once; comments go with what they are about."""
    assert canonical("research.yaml", LOOSE.replace("5}   # a", "5}   # a   ")) == EVEN


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_canonical(name: str) -> None:
    """Every policy file of the repository is in canonical form, the reference file with its columns."""
    assert canonical(name, SHIPPED[name], ordered=".tests." not in name) == SHIPPED[name]


def test_a_long_row_is_broken_after_commas() -> None:
    """A row in braces above 110 columns goes on below its first word, its comment behind it."""
    users = ", ".join(f"user-{number}@example.com: {{user_tier: premium}}" for number in range(5))
    text = canonical("a.yaml", f"users: {{{users}}}  # all of them\n")
    assert text.count("\n") == 3
    assert all(len(line) <= layout.WIDTH for line in text.splitlines())
    assert [line.index("user-") for line in text.splitlines()] == [8, 8, 8]
    assert text.endswith("}  # all of them\n")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('"claude-haiku-5-5"', "claude-haiku-5-5"),
        ("'Europe/Berlin'", "Europe/Berlin"),
        ('"rolling 7d"', "rolling 7d"),
        ("'it''s'", '"it\'s"'),
        *((word, word) for word in ('"yes"', '"null"', '"3"', '"1e5"', '"<3"', '"3-7"', '"*"', '"tag:x"')),
    ],
)
def test_quotes_only_where_they_help(written: str, kept: str) -> None:
    """Plain words lose their quotes; what could be taken for something else keeps them, doubled."""
    assert canonical("a.yaml", f"owner: {written}\n") == f"owner: {kept}\n"


@pytest.mark.parametrize(
    "text",
    [
        "a: |\n    two\n      lines  \n\n    more\nb: >-\n  folded\n",
        'a: "in two\n\n   lines" # said\nb: plain\n   words\n',
        "a: &x {per: user}\nb: *x\nversion: 1\n",
        "? a\n: b\n",
        "a: [1,\n 2,\n] # c\n",
        "a:\n- - b\n  - c\n-\n  d: e\n  f: g\n",
        "{version: 1, department: x}\n",
        "%YAML 1.2\n---\nb: 1\n...\n",
        "\ufeffa: 1\r\nb: 2\r\n",
    ],
)
def test_the_rest_of_yaml_keeps_its_meaning(text: str) -> None:
    """Scalars over several lines, anchors, nested lists and what else the reader takes."""
    text = text.removeprefix("\ufeff")
    holds(text, canonical("a.yaml", text))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("a: [1\nb: 2\n", 2, 2), ("a: 1\na: 2\n", 2, 1), ("a: !x 1\n", 1, 4), ("a: 'b\u2028c'\n", 1, 6)],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, line: int, column: int) -> None:
    """Broken YAML, a key written twice, a tag, a line break that is none."""
    with pytest.raises(PolicyError) as refused:
        canonical("a.yaml", text)
    problem = refused.value.problems[0]
    assert (problem.file, problem.line, problem.column) == ("a.yaml", line, column)


@pytest.mark.parametrize(("old", "new"), [("usd: 5", "usd: 6"), ("  # a", ""), ("# the end", "# an end")])
def test_a_fault_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Should the layout ever change a value or lose a comment, the file is refused rather than written."""
    even = layout.even
    monkeypatch.setattr(layout, "even", lambda text: even(text).replace(old, new))
    with pytest.raises(PolicyError, match="cannot be formatted without changing what it says"):
        canonical("research.yaml", LOOSE)


def holds(before: str, after: str) -> None:
    """The promises: the same values and comments, no trailing blanks, and formatted for good."""
    assert read_yaml("a", after).root.plain() == read_yaml("a", before).root.plain()
    assert layout.comments(after) == layout.comments(before)
    assert canonical("a", after) == after


SPACES = st.sampled_from(
    ["", " ", "  ", "   ", "\n", "\n\n", "  # why\n", " # \u00fc\n  ", "\t", "\n# at the margin\n"]
)


@st.composite
def loosened(draw: st.DrawFn) -> str:
    """A shipped file, its lines and sections moved, indented, quoted, commented or blank in other ways."""
    text = SHIPPED[draw(st.sampled_from(sorted(SHIPPED)))]
    for _ in range(draw(st.integers(1, 6))):
        lines = text.split("\n")
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 6)):
            case 0:
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case 1:
                step = draw(st.integers(1, 8))
                lines = [" " * (step * (len(line) - len(line.lstrip()))) + line.lstrip() for line in lines]
            case 2:
                lines = [line.removeprefix("  ") if line.startswith("  - ") else line for line in lines]
            case 3:
                lines[at] = re.sub(r"[A-Za-z][\w.@/-]+", lambda found: f'"{found[0]}"', lines[at], count=1)
            case 4:
                places = [found.start() for found in re.finditer(r"[{}\[\],:] ?|$", lines[at])]
                place = draw(st.sampled_from(places)) + 1
                lines[at] = lines[at][:place] + draw(SPACES) + lines[at][place:]
            case 5:
                lines[at:at] = [draw(st.sampled_from(["", "# note", "  # note", "    # note", "   "]))]
            case _:
                sections = re.split(r"\n(?=\w)", text)
                lines = "\n".join(draw(st.permutations(sections))).split("\n")
        text = "\n".join(lines)
    return text


def formatted(text: str) -> str | None:
    """The file in canonical form; `None` where it was refused, each problem with its place."""
    problems: list = []
    try:
        return canonical("a.yaml", text)
    except PolicyError as refused:
        problems = refused.problems
    assert problems
    assert all(problem.line >= 1 and "without changing" not in problem.message for problem in problems)
    return None


@given(loosened())
def test_formatting_changes_nothing_that_is_said(text: str) -> None:
    """Whatever becomes of a shipped file, it is formatted for good with the same meaning, or refused."""
    done = formatted(text)
    if done is not None:
        holds(text, done)


@given(st.lists(st.sampled_from(SHIPPED["policies/engineering.yaml"].split("\n")), max_size=12))
def test_any_lines_are_formatted_for_good_or_refused(lines: list[str]) -> None:
    """Lines of the reference file in any order and number: formatted for good, or refused with a place."""
    text = "\n".join([*lines, ""])
    done = formatted(text)
    if done is not None:
        holds(text, done)
