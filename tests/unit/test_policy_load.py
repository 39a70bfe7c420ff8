"""Loading: the files of the repository load, and everything malformed is refused with its place."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from governor.errors import PolicyError
from governor.policy import Attribution, Policies, load

POLICIES = Path(__file__).parents[2] / "policies"

MINIMAL = """\
version: 1
department: research
budgets:
  - {per: department, usd: 100, window: month}
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}
"""


def write(folder: Path, **files: str) -> Path:
    """Write `name=content` as `name.yaml` files."""
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    return folder


def refusal(path: Path) -> PolicyError:
    """The error that loading *path* raises."""
    with pytest.raises(PolicyError) as caught:
        load(path)
    return caught.value


def places(error: PolicyError) -> list[tuple[str, int, int]]:
    """File name, line and column of every problem."""
    return [(Path(problem.file).name, problem.line, problem.column) for problem in error.problems]


def test_the_reference_files_load_as_they_are() -> None:
    """The files of the repository load, and bear the names and owners written in them."""
    policies = load(POLICIES)
    assert isinstance(policies, Policies)
    assert policies.organization == "example"
    assert policies.departments == ("engineering", "legal", "support")
    assert [Path(source).name for source in policies.sources] == [
        "organization.yaml",
        "engineering.yaml",
        "legal.yaml",
        "support.yaml",
    ]


def test_what_is_not_in_force_is_listed_with_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a file says and nothing goes by is returned, and logged as one warning."""
    text = MINIMAL.replace("per: department", "per: user") + "if_ledger_is_down: lease\n"
    with caplog.at_level(logging.WARNING, logger="governor"):
        policies = load(write(tmp_path, research=text))
    (notice,) = policies.not_in_force
    assert (notice.path, notice.column) == ("if_ledger_is_down", 1)
    (record,) = caplog.records
    assert record.name == "governor"
    assert str(notice) in record.getMessage()


def test_the_reference_files_are_in_force_as_a_whole() -> None:
    """Nothing in the repository's policies is said ahead of its time."""
    assert load(POLICIES).not_in_force == ()


FLOORS = MINIMAL + "  floors: {sonnet: 5}\n"
EVERYBODY = "budgets:\n  - {per: user, usd: 9, window: rolling 7d}\n"
TWO_TIERS = 'users:\n  ada: {user_tier: premium}\n  bob: {}\n  "*": {user_tier: basic}\n'
PREMIUM = "budgets:\n  - {per: user, user_tier: premium, usd: 9, window: day}\n"


@pytest.mark.parametrize(
    ("budgets", "users", "whom"),
    [
        (EVERYBODY, "", []),
        (EVERYBODY, "users:\n  ada: {}\n", []),
        (PREMIUM, 'users:\n  ada: {user_tier: premium}\n  "*": {}\n', ["users without a user_tier"]),
        (
            PREMIUM + "  - {per: user, user_tier: basic, usd: 9, window: rolling 1d}\n",
            TWO_TIERS,
            ["users without a user_tier"],
        ),
        (
            PREMIUM + '  - {per: [user, "tag:project"], user_tier: basic, usd: 9, window: day}\n',
            TWO_TIERS,
            ["users without a user_tier", "users of the user_tier 'basic'"],
        ),
        (PREMIUM, "users:\n  ada: {user_tier: premium}\n", []),
    ],
)
def test_floors_in_force_for_nobody_of_a_tier_are_listed(
    tmp_path: Path, budgets: str, users: str, whom: list[str]
) -> None:
    """Where no usd budget of a tier's users is counted, its floors are said not to hold for them."""
    policies = load(write(tmp_path, research=FLOORS.replace("budgets:\n", budgets) + users))
    listed = [notice for notice in policies.not_in_force if notice.path == "routing.floors"]
    assert [notice.text.split(", who")[0] for notice in listed] == [f"not in force for {who}" for who in whom]
    assert all(str(notice).startswith(f"{tmp_path}/research.yaml:") for notice in listed)
    assert all(notice.column == 3 for notice in listed)


def test_floors_on_a_budget_of_the_organisation_are_in_force(tmp_path: Path) -> None:
    """The organisation's usd budget of a user bears the floors, where it is for the department's users."""
    shared = ORGANIZATION.replace("user_tier: basik, ", "")
    assert load(write(tmp_path, organization=shared, research=FLOORS)).not_in_force == ()


def test_floors_that_no_user_of_the_department_can_meet_are_refused(tmp_path: Path) -> None:
    """A usd budget for the tier of another department's users is none that floors could be judged on."""
    sales = TIERED.replace("research", "sales")
    error = refusal(write(tmp_path, organization=ORGANIZATION, research=FLOORS, sales=sales))
    assert places(error) == [("research.yaml", 7, 3)]
    assert "longest usd budget" in str(error)


def test_a_file_in_force_as_a_whole_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where everything is enforced, nothing is logged."""
    policies = load(write(tmp_path, research=MINIMAL))
    assert policies.not_in_force == ()
    assert caplog.records == []


def test_one_file_may_be_loaded_alone(tmp_path: Path) -> None:
    """A path to a file loads that file, under the organisation `default`."""
    policies = load(write(tmp_path, research=MINIMAL, broken="[") / "research.yaml")
    assert (policies.organization, policies.departments) == ("default", ("research",))


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Tests, hidden files, folders and other endings are not policies."""
    write(tmp_path, research=MINIMAL)
    for name in ("research.tests.yaml", ".#research.yaml", "README.md", "schema.json"):
        (tmp_path / name).write_text("[not: a policy", encoding="utf-8")
    (tmp_path / "old.yaml").mkdir()
    assert load(tmp_path).departments == ("research",)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A folder that is not there is refused by its path."""
    error = refusal(tmp_path / "policies")
    assert str(tmp_path / "policies") in str(error)
    assert "no such" in str(error)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """A folder without a policy is an error, not an empty policy."""
    assert "no policy file" in str(refusal(tmp_path))


def test_a_path_with_a_nul_is_refused() -> None:
    """A path no file system knows is a policy error too."""
    assert "cannot be read" in str(refusal(Path("poli\0cies")))


def test_two_files_for_one_department_are_refused(tmp_path: Path) -> None:
    """The second file is refused at its department, naming the first."""
    error = refusal(write(tmp_path, a=MINIMAL, b=MINIMAL))
    assert places(error) == [("b.yaml", 2, 13)]
    assert str(tmp_path / "a.yaml") in error.hint


def test_two_organisations_are_refused(tmp_path: Path) -> None:
    """There is one organisation, whatever the files call it."""
    error = refusal(write(tmp_path, a="version: 1\norganization: one\n", b="version: 1\norganization: two\n"))
    assert places(error) == [("b.yaml", 2, 15)]


ORGANIZATION = """\
version: 1
organization: acme
budgets:
  - {per: user, user_tier: basik, usd: 10, window: day}
"""
TIERED = MINIMAL + 'users:\n  "*": {user_tier: basik}\n'


def test_the_organisations_tiers_must_be_those_of_some_department(tmp_path: Path) -> None:
    """A tier that one department knows is enough; one that none knows is refused with the nearest name."""
    write(tmp_path, organization=ORGANIZATION, research=TIERED, sales=MINIMAL.replace("research", "sales"))
    assert load(tmp_path).departments == ("research", "sales")
    budget = "budgets:\n  - {per: user, user_tier: basic, usd: 5, window: day}\n"
    renamed = TIERED.replace("basik", "basic").replace("budgets:\n", budget)
    error = refusal(write(tmp_path, research=renamed))
    assert places(error) == [("organization.yaml", 4, 28)]
    assert "no user in any department's file" in str(error)
    assert "did you mean 'basic'?" in error.hint


def test_what_a_file_that_was_not_read_may_hold_is_not_missed(tmp_path: Path) -> None:
    """Tiers are held against each other once every file is read: a typo elsewhere causes no further error."""
    broken = write(tmp_path, organization=ORGANIZATION, research=TIERED.replace("usd: 100", "usd: -1"))
    assert places(refusal(broken)) == [("research.yaml", 4, 28)]
    assert places(refusal(write(tmp_path, research="["))) == [("research.yaml", 1, 2)]
    own = TIERED.replace("budgets:\n", "budgets:\n  - {per: user, user_tier: pro, usd: 5, window: day}\n")
    own += "  ada: {user_tier: pro}\n"
    broken = write(tmp_path, organization=ORGANIZATION.replace("usd: 10", "usd: -1"), research=own)
    assert places(refusal(broken)) == [("organization.yaml", 4, 40)]
    assert load(write(tmp_path, organization=ORGANIZATION)).organization == "acme"


def test_one_file_is_not_refused_for_tiers_of_departments_that_were_not_read(tmp_path: Path) -> None:
    """With one file alone, the tiers of `organization.yaml` beside it may be those of other departments."""
    other = MINIMAL.replace("research", "sales")
    write(tmp_path, organization=ORGANIZATION, research=TIERED, sales=other)
    assert load(tmp_path / "sales.yaml").departments == ("sales",)


def test_the_organisations_file_may_be_loaded_alone(tmp_path: Path) -> None:
    """Without any department's file nothing is known of users, and no tier is refused."""
    assert load(write(tmp_path, organization=ORGANIZATION)).departments == ()


@pytest.mark.parametrize(
    ("head", "line", "column", "hint"),
    [
        ("version: 1\ndeparment: research\n", 2, 1, "did you mean 'department'?"),
        ("version: 1\n", 1, 1, "add `department: NAME`"),
        ("version: 1\ndepartment: research\norganization: acme\n", 3, 1, "file of its own"),
    ],
)
def test_a_file_must_say_whose_it_is(tmp_path: Path, head: str, line: int, column: int, hint: str) -> None:
    """A file of nobody, or of two, is refused with what was probably meant."""
    error = refusal(write(tmp_path, research=head + MINIMAL.split("\n", 2)[2]))
    assert (error.line, error.column) == (line, column)
    assert hint in error.hint


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A link that leads nowhere is a problem of that file."""
    write(tmp_path, research=MINIMAL)
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")
    error = refusal(tmp_path)
    assert Path(error.file).name == "gone.yaml"
    assert "cannot be read" in str(error)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A named pipe among the files is refused, not opened."""
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "not a regular file" in str(refusal(tmp_path))


def test_text_that_is_not_utf8_is_refused_at_its_place(tmp_path: Path) -> None:
    """The first byte that is not UTF-8 is pointed at."""
    (tmp_path / "a.yaml").write_bytes(MINIMAL.encode() + b"owner: caf\xe9\n")
    assert places(refusal(tmp_path)) == [("a.yaml", 7, 11)]


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    """A file of 10 MB is not read."""
    (tmp_path / "a.yaml").write_bytes(b"# padding\n" * 1_000_000)
    assert "1 MiB" in str(refusal(tmp_path))


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    """Nine lines of aliases that would unfold to a billion values are refused where they get too many."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 10):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    error = refusal(write(tmp_path, a=bomb))
    assert "more than 200000 values" in str(error)
    assert 4 <= error.line <= 7


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """A file of brackets only does not exhaust the stack, nor does a tower of aliases."""
    assert "nested deeper" in str(refusal(write(tmp_path, a="[" * 500_000)))
    tower = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000))
    assert "nested deeper" in str(refusal(write(tmp_path, a=tower)))


def test_an_alias_saves_typing(tmp_path: Path) -> None:
    """Anchors and aliases within reason mean what YAML says they mean."""
    text = MINIMAL + "features:\n  a: &small {max_tokens: 64}\n  b: *small\n"
    assert load(write(tmp_path, research=text)).departments == ("research",)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "empty"),
        ("# nothing\n", 2, 1, "empty"),
        ("- a\n", 1, 1, "mapping of keys"),
        ("version: 1\n\tdepartment: x\n", 2, 1, "not valid YAML"),
        ("version: [1\n", 2, 1, "not valid YAML"),
        ("version: 1\ndepartment: a: b\n", 2, 14, "not valid YAML"),
        ('version: "\\UFFFFFFFF"\n', 1, 1, "not valid YAML"),
        ("version: 1\nowner: a\x07b\n", 2, 9, "not valid YAML"),
        ('version: 1\nowner: "\\ud800"\n', 2, 8, "surrogate"),
        ("version: 1\nowner: *nobody\n", 2, 8, "no anchor"),
        ("a: &a [*a]\n", 1, 8, "no anchor"),
        ("version: 1\n? [a]\n: b\n", 2, 3, "plain text"),
        ("version: 1\n---\nversion: 1\n", 2, 1, "second document"),
    ],
)
def test_what_is_not_yaml_is_refused_at_its_place(
    tmp_path: Path, text: str, line: int, column: int, message: str
) -> None:
    """Every way in which a text fails to be one YAML document is refused where it fails."""
    error = refusal(write(tmp_path, a=text))
    assert message in str(error)
    assert (error.line, error.column) == (line, column)


def test_problems_of_every_file_come_together(tmp_path: Path) -> None:
    """One load names all problems of all files, in the order of files and lines."""
    wrong = MINIMAL.replace("usd: 100", "usd: -1").replace("haiku:", "haikku:")
    other = wrong.replace("department: research", "department: Sales!")
    error = refusal(write(tmp_path, a=wrong, b=other, c="["))
    assert places(error) == [
        ("a.yaml", 4, 28),
        ("a.yaml", 6, 11),
        ("b.yaml", 2, 13),
        ("b.yaml", 4, 28),
        ("b.yaml", 6, 11),
        ("c.yaml", 1, 2),
    ]


def test_the_hash_is_of_the_meaning(tmp_path: Path) -> None:
    """Comments and layout leave the hash alone; a changed limit does not."""
    one = load(write(tmp_path, research=MINIMAL)).hash
    commented = "# a comment\n" + MINIMAL.replace("usd: 100,", 'usd: "100.00",  ')
    assert load(write(tmp_path, research=commented)).hash == one
    assert load(write(tmp_path, research=MINIMAL.replace("100", "101"))).hash != one
    assert len(one) == 12


def test_the_parser_is_imported_when_a_file_is_read() -> None:
    """Importing the room costs neither the YAML parser nor the building of its models."""
    code = (
        "import sys, governor.policy; "
        "print([name for name in ('ruamel.yaml', 'governor.policy.schema') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_file_is_read_with_the_organizations_floor_beside_it(tmp_path: Path) -> None:
    """Naming a single file does not drop what `organization.yaml` beside it says for everybody."""
    (tmp_path / "organization.yaml").write_text(
        "version: 1\norganization: acme\nbudgets: [{per: organization, usd: 5, window: month}]\n",
        encoding="utf-8",
    )
    team = tmp_path / "team.yaml"
    team.write_text(
        "version: 1\ndepartment: team\nbudgets: [{per: department, usd: 9, window: month}]\n"
        "routing: {lines: {haiku: claude-haiku-5-5}}\n",
        encoding="utf-8",
    )
    policies = load(team)
    assert policies.organization == "acme"
    assert [term.identity for term in policies.budgets(Attribution("team", "u"), [])] == [
        "org/usd/month",
        "department=team/usd/month",
    ]
