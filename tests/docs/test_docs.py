"""The README and the docs say what is true: their links, their code, their commands and their tables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import governor
from governor.budgets import Unit
from governor.cli import app
from governor.journal.alerts.expectations import read_tests
from governor.journal.alerts.reading import read_rules
from governor.ledger import commands as c
from governor.ledger import lifecycle, open_ledger
from governor.ledger.keys import Keys
from governor.ledger.migration import FindOld
from governor.ledger.recovery import Mark, ReadSince, TrimJournal
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.testing import FakeClaude

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.fresh import Fresh
    from support.redis_server import RedisServer

    from governor.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIRST_STEPS = "## From nothing to a refusal"
"""A section of the README whose blocks go together: `test_first_steps` runs them."""

LATER = "## Not there yet"
"""What stands below it in the README is not built, so it is not held to."""

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^governor((?: [a-z]+(?![\w/:.]))+)", re.MULTILINE)


def name_of(page: Path) -> str:
    """The page's path from the root."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The page's fenced blocks in *language*."""
    text = re.sub(
        rf"^{FIRST_STEPS}$.*?(?=^## )", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return [text for found, text in FENCE.findall(text) if found == language]


def all_blocks(language: str) -> list[object]:
    """Every page's blocks in *language*, as pytest parameters."""
    return [
        pytest.param(text, id=f"{name_of(page)}:{index}")
        for page in PAGES
        for index, text in enumerate(blocks(page, language))
    ]


def commands() -> list[str]:
    """Every `governor …` shown in a block or a code span, without its arguments."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8").partition(LATER)[0]
        shown = [*(body for _, body in FENCE.findall(text)), *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]
        found.update(words.strip() for part in shown for words in COMMAND.findall(part))
    return sorted(found)


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below *heading*, without its head."""
    below = (ROOT / page).read_text(encoding="utf-8").partition(heading)[2]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert lines, f"no table below {heading!r} in {page}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_internal_links_resolve(page: Path) -> None:
    """Every relative link names a file of the repository."""
    targets = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
    inside = [target for target in targets if target and "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("block", all_blocks("python"))
def test_python_block_runs(block: str, tmp_path: Path, fresh: Fresh) -> None:
    """Every Python block runs as it stands, on the fake API, configured by the environment.

    One that defines tests is a file of tests, which pass.
    """
    arguments = ["-c", block]
    if "\ndef test_" in block:
        (tmp_path / "test_block.py").write_text(block, encoding="utf-8")
        arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_block.py"]
    with FakeClaude() as api:
        environment = {
            **os.environ,
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": api.api_key,
            "GOVERNOR_POLICIES": str(ROOT / "policies"),
            "GOVERNOR_LEDGER": f"sqlite:///{tmp_path}/governor.db",
        }
        done = fresh.run(arguments, tmp_path, environment)
    assert done.code == 0, done.out + done.err


def test_the_readme_example_is_ten_lines_and_is_billed(tmp_path: Path) -> None:
    """The first block of the README has at most ten lines, makes one call, and prints what the API billed."""
    block = blocks(ROOT / "README.md", "python")[0]
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    with FakeClaude() as api:
        environment = {
            **os.environ,
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": api.api_key,
            "GOVERNOR_POLICIES": str(ROOT / "policies"),
            "GOVERNOR_LEDGER": f"sqlite:///{tmp_path}/governor.db",
        }
        shown = subprocess.run(
            [sys.executable, "-c", block], env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert len(api.bill) == 1
        assert str(governor.Money(api.billed_nanos)) in shown


@pytest.mark.parametrize("block", all_blocks("yaml"))
def test_yaml_block_is_a_file_that_loads(block: str, tmp_path: Path) -> None:
    """Every YAML block is a policy or alert file, a company's own prices, or tests, without a mistake."""
    file = tmp_path / "file.yaml"
    file.write_text(block, encoding="utf-8")
    if "\nrules:\n" in block:
        assert read_rules(file, "UTC").rules
    elif "\n  - journal:" in block:
        assert read_tests(file)
    elif "\ntests:\n" in block:
        file.rename(tmp_path / "research.tests.yaml")
        policy = blocks(ROOT / "docs" / "policy-testing.md", "yaml")[0]
        (tmp_path / "research.yaml").write_text(policy, encoding="utf-8")
        said = CliRunner().invoke(app, ["policy", "test", str(tmp_path)])
        assert said.exit_code == 0, said.output
    elif "extends: anthropic" in block:
        assert PriceTable.load(file).version != PriceTable.load().version
    else:
        assert load(tmp_path).departments


@pytest.mark.parametrize("command", commands())
def test_command_exists(command: str) -> None:
    """Every `governor` command that a page shows has a help text."""
    done = subprocess.run(
        [sys.executable, "-m", "governor.cli", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_commands_are_found() -> None:
    """The search finds commands in blocks and in the text, so that the test above cannot be empty."""
    assert {"demo", "policy check", "budget grant", "why", "ledger create"} <= set(commands())


def test_shop_window_and_its_types_agree() -> None:
    """`__init__.pyi` re-exports each name from the very home that `__init__.py` loads it from, sorted."""
    stub = Path(governor.__path__[0], "__init__.pyi").read_text(encoding="utf-8")
    typed = re.findall(r"^from governor\.([\w.]+) import (\w+) as \2$", stub, re.MULTILINE)
    assert len(typed) == len(stub.splitlines())
    loaded = [(home, name) for home, names in governor._HOMES.items() for name in names]
    assert typed == loaded == sorted(loaded)
    assert sorted(name for _, name in loaded) == governor.__all__


@pytest.mark.parametrize("name", governor.__all__)
def test_public_name_is_documented(name: str) -> None:
    """Every public name has a docstring of its own, and so has each of its public methods."""
    thing = getattr(governor, name)
    assert thing.__doc__
    if isinstance(thing, type):
        assert "__doc__" in vars(thing)
        own = [member for key, member in vars(thing).items() if not key.startswith("_") and callable(member)]
        assert [member for member in own if not member.__doc__] == []


def test_every_policy_key_is_explained() -> None:
    """Each key that the schema of policy files knows stands in docs/policies.md."""
    schema = json.loads((ROOT / "policies" / "schema.json").read_text(encoding="utf-8"))
    keys = {key for kind in schema["$defs"].values() for key in kind.get("properties", {})}
    known = set(re.findall(r"\w+", (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")))
    assert "max_wait" in keys
    # Below the accepted keys of `routing` that are not in force yet.
    assert keys - known <= {"when", "tier", "min_tokens"}


def test_every_key_of_tests_files_is_explained() -> None:
    """Each key that the schema of tests files knows stands in docs/policy-testing.md."""
    schema = json.loads((ROOT / "policies" / "tests.schema.json").read_text(encoding="utf-8"))
    keys = {key for kind in (schema, *schema["$defs"].values()) for key in kind.get("properties", {})}
    page = (ROOT / "docs" / "policy-testing.md").read_text(encoding="utf-8")
    assert "output_tokens" in keys
    assert keys <= set(re.findall(r"\w+", page))


def test_what_is_not_in_force_is_listed() -> None:
    """Each key that the reference policies get a notice for stands in the docs' table of such keys."""
    listed = " ".join(row[0] for row in rows("docs/policies.md", "## Accepted, not in force"))
    notices = load(ROOT / "policies").not_in_force
    assert [notice.path for notice in notices if f"`{notice.path}`" not in listed] == []


@pytest.mark.parametrize("row", rows("docs/policies.md", "### What a balance is called"), ids=str)
def test_identities_are_as_shown(row: list[str], tmp_path: Path) -> None:
    """Each budget of the table makes, for a request of ada's for atlas, the balance shown beside it."""
    whose, budget = row[0].split(": ", 1)
    own = "{per: run, usd: 1}" if whose == "everybody" else budget.strip("`")
    lines = "routing: {lines: {haiku: claude-haiku-5-5}}"
    research = f"version: 1\ndepartment: research\nbudgets: [{own}]\n{lines}\n"
    (tmp_path / "research.yaml").write_text(research, encoding="utf-8")
    if whose == "everybody":
        shared = f"version: 1\norganization: acme\nbudgets: [{budget.strip('`')}]\n"
        (tmp_path / "organization.yaml").write_text(shared, encoding="utf-8")
    who = Attribution("research", "ada@example.com", tags=(("project", "atlas"),))
    (term,) = load(tmp_path).budgets(who, ["claude-haiku-5-5"])
    assert term.identity == row[1].strip("`")


def test_states_of_a_hold_are_the_ledgers() -> None:
    """The table of states in docs/ledger.md is the one that both ledgers follow."""
    table = rows("docs/ledger.md", "## The life of a hold")
    shown = {(before, verb): after.strip("`") for before, verb, after, _ in table}
    assert shown == lifecycle.NEXT


def test_every_error_is_explained() -> None:
    """Each error of `governor.errors`, and each of its attributes, stands in docs/errors.md."""
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    errors = [thing for name in governor.__all__ if issubclass_of_error(thing := getattr(governor, name))]
    assert len(errors) == 9
    for error in errors:
        assert f"`{error.__name__}`" in page or f"governor.{error.__name__}`" in page
        for attribute in re.findall(r"^        (\w+): ", error.__doc__ or "", re.MULTILINE):
            assert f"`{attribute}`" in page


def issubclass_of_error(thing: object) -> bool:
    """Whether *thing* is one of the governor's errors."""
    return isinstance(thing, type) and issubclass(thing, governor.GovernorError)


def test_documented_redis_user_can_do_what_an_application_does(redis_server: RedisServer, org: str) -> None:
    """The ACL of docs/ledger.md is enough to hold, settle, release, extend, expire and look, and no more."""
    shown = next(text for text in blocks(ROOT / "docs" / "ledger.md", "text") if text.startswith("ACL"))
    with acl_user(redis_server, org, shown) as url:
        open_ledger(redis_server.url, org).execute(c.Create("an epoch"))
        act(open_ledger(url, org))


def test_documented_redis_administrator_can_do_what_is_theirs(redis_server: RedisServer, org: str) -> None:
    """The second ACL of docs/ledger.md makes a ledger, changes limits, pushes, archives and trims."""
    shown = [text for text in blocks(ROOT / "docs" / "ledger.md", "text") if text.startswith("ACL")][1]
    with acl_user(redis_server, org, shown) as url:
        ledger = open_ledger(url, org)
        ledger.execute(c.Create("an epoch"))
        identity = "department=legal/usd/month"
        for command in (
            c.Grant("g", identity, "2026-11", 5),
            c.FindGrant("g"),
            c.SetLimit("s", identity, 2000),
            c.Freeze("f", identity, "a test"),
            c.Unfreeze("u", identity),
            c.PushPolicies("p", 0, {"legal.yaml": "version: 1"}, "abc"),
            FindOld(),
            c.ListBalances(past=True),
        ):
            ledger.execute(command)
        page = ledger.execute(ReadSince())
        *older, last = page.entries
        assert ledger.execute(TrimJournal(page.epoch, older[-1].seq, Mark.of(last))) == len(older)
        ledger.close()


def test_documented_redis_users_ask_for_more_and_approve_it(
    redis_server: RedisServer, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By commands: the first user asks, sees and withdraws, the second approves, and the first cannot."""
    (tmp_path / "organization.yaml").write_text(f"version: 1\norganization: {org}\n", encoding="utf-8")
    policy = "version: 1\ndepartment: legal\nbudgets: [{per: department, usd: 1, window: month}]\n"
    lines = "routing: {lines: {haiku: claude-haiku-5-5}}\n"
    (tmp_path / "legal.yaml").write_text(policy + lines, encoding="utf-8")
    open_ledger(redis_server.url, org).execute(c.Create("an epoch"))
    with redis_server.client() as client:
        client.hset(Keys(org).requests, "r:old", "1 2 swept away by the first request")
    identity, why = "department=legal/usd/month", ["--reason", "a test"]
    first, second = [text for text in blocks(ROOT / "docs" / "ledger.md", "text") if text.startswith("ACL")]

    def budget(url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        options = ["--policies", str(tmp_path), "--ledger", url, "--json"]
        said = CliRunner().invoke(app, ["budget", *arguments, *options])
        return said.exit_code, json.loads(said.stdout)

    with acl_user(redis_server, org, first) as url:
        asked, other = (budget(url, "request", identity, "5", *why)[1] for _ in range(2))
        assert budget(url, "deny", other["id"], *why)[1]["state"] == "withdrawn"
        assert budget(url, "requests")[1]["requests"] == [asked]
        monkeypatch.setattr("socket.gethostname", lambda: "another-host")
        for verb in (["approve", asked["id"]], ["deny", asked["id"], *why]):
            code, told = budget(url, *verb, "--actor", "Grace")
            assert (code, "with the rights of `admin`" in told["error"]["message"]) == (1, True)
        assert budget(url, "show", identity)[1]["requests"] == [asked]
    with acl_user(redis_server, org, second) as url:
        assert budget(url, "approve", asked["id"], "--actor", "Grace")[0] == 0
        assert budget(url, "show", identity)[1]["limit"] == 6 * 10**9


@pytest.mark.parametrize("user", [0, 1], ids=["application", "administrator"])
def test_the_doctor_is_content_with_a_documented_redis_user(
    redis_server: RedisServer, org: str, user: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What either may do is enough to look at the ledger, its holds and its journal."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    (tmp_path / "organization.yaml").write_text(f"version: 1\norganization: {org}\n", encoding="utf-8")
    (tmp_path / "legal.yaml").write_text(
        "version: 1\ndepartment: legal\nbudgets: [{per: user, usd: 1, window: day}]\n"
        "routing: {lines: {haiku: claude-haiku-5-5}}\n",
        encoding="utf-8",
    )
    shown = [text for text in blocks(ROOT / "docs" / "ledger.md", "text") if text.startswith("ACL")][user]
    with acl_user(redis_server, org, shown) as url:
        open_ledger(redis_server.url, org).execute(c.Create("an epoch"))
        options = ["--policies", str(tmp_path), "--ledger", url, "--archive", str(tmp_path / "none.jsonl")]
        said = CliRunner().invoke(app, ["doctor", *options])
    assert said.exit_code == 0, said.stdout
    assert "1 records since" in said.stdout


@contextmanager
def acl_user(server: RedisServer, org: str, shown: str) -> Iterator[str]:
    """A user with the rights that a document shows, and the URL to come in with."""
    words = shown.replace("{acme}", f"{{{org}}}").replace("PASSWORD", "secret").split()
    words[2] = user = f"user-{org}"
    with server.client() as client:
        client.execute_command(*words)
        try:
            yield f"redis://{user}:secret@127.0.0.1:{server.port}/0"
        finally:
            client.execute_command("ACL", "DELUSER", user)


def act(ledger: Ledger) -> None:
    """Everything that an application asks of a ledger; and what only an administrator may."""
    row = c.BudgetRow("department=legal/usd/life", "life", 0, 0, Unit.USD, 1000, (5000,))
    for name in ("a", "b"):
        ledger.execute(c.Reserve(name, (row,), ((c.Ask(600 if name == "a" else 100),),), ttl_ms=60_000))
    ledger.execute(c.Extend("a", 60_000))
    closed = ledger.execute(c.Settle("a", (c.Posting(row, 600),), notice=c.Notice("one", "busy")))
    assert [crossing.step_bp for crossing in closed.crossings] == [5000]
    released = ledger.execute(c.Release("b", (c.Posting(row, 0),), notice=c.Notice("two")))
    assert [line.text for line in released.board] == ["busy"]
    ledger.execute(c.Release("b", (c.Posting(row, 0),), notice=c.Notice("one")))
    assert ledger.execute(c.Release("b", (c.Posting(row, 0),), notice=c.Notice("two"))).board == ()
    ledger.execute(c.Reserve("c", (row,), ((c.Ask(1),),), ttl_ms=0))
    overdue = c.DueHold("c", ((row.identity, row.window),))
    assert ledger.execute(c.Expire((overdue,))).ids == ("c",)
    with pytest.raises(governor.LedgerUnavailable, match="refuses this user"):
        ledger.execute(c.Grant("g", row.identity, row.window, 5))
    assert ledger.execute(c.Read((row,))).balances[0].limit == 1000
    assert len(ledger.execute(c.ListBalances())) == 1
    assert ledger.execute(c.ListChanged()) == ()
    assert ledger.execute(c.ListHolds()) == ()
    assert ledger.execute(c.ReadPolicyHead()) is None
    assert ledger.execute(c.ReadPolicies()) is None
    with pytest.raises(governor.LedgerUnavailable, match="refuses this user"):
        ledger.execute(c.PushPolicies("p", 0, {"legal.yaml": "version: 1"}, "abc"))
    assert ledger.execute(c.ReadJournal())
    assert ledger.execute(c.Inspect()).created
    ledger.close()
