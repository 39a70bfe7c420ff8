"""`governor policy simulate` and `governor policy diff`, as people and programs call them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.journals import HOUR_MS, Crowd, Firm, write_journal
from governor import BudgetExceeded, Governor
from governor.policy import load
from governor.pricing import PriceTable
from governor.testing import FakeClaude, Reply


@pytest.fixture
def archive(policies: Path, tmp_path: Path) -> Path:
    """A journal of 60 calls of two users in two departments, made under the firm's policies."""
    path = tmp_path / "journal.jsonl"
    crowd = Crowd((("engineering", "ada", None), ("legal", "<b>bob</b>", None)))
    write_journal(path, Firm(load(policies), PriceTable.load(), crowd), 60, length_ms=HOUR_MS)
    return path


@pytest.fixture
def tighter(policies: Path, tmp_path: Path) -> Path:
    """The firm's policies with a cent for legal, and half of a user's in engineering."""
    folder = tmp_path / "tighter"
    shutil.copytree(policies, folder)
    for name, old, new in (("legal", "usd: 6,", "usd: 0.01,"), ("engineering", "usd: 0.5,", "usd: 0.25,")):
        file = folder / f"{name}.yaml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    return folder


def test_the_policies_in_force_change_nothing(run, policies, archive):
    """The sentence, and nothing saved; the exit code is 0."""
    said = run("policy", "simulate", str(policies), "--journal", str(archive))
    assert said.code == 0
    assert "nothing changes: every call would have gone as it went; $0.00 saved" in said.out
    total = run("policy", "simulate", str(policies), "--journal", str(archive), "--json").json["total"]
    assert (total["calls"], total["saved_nanos"], total["blocked"]) == (60, 0, 0)


def test_real_calls_change_nothing_either(run, firm):
    """The journal of governed calls, read from the ledger itself, under its own policies."""
    found = run("policy", "simulate", str(firm.policies), "--journal", firm.ledger, "--json").json
    total = found["total"]
    assert total["calls"] > 0
    assert (total["downgraded"], total["blocked"], total["freed"], total["saved_nanos"]) == (0, 0, 0, 0)
    assert found["left_out"]["unreadable"] == 0


PACED = """\
version: 1
department: paced
budgets:
  - {per: department, usd: 1, window: month, pace: even, keep: 50%, for: [urgent]}
thresholds: {1%: {downgrade: haiku}, 100%: block}
routing:
  lines: {haiku: claude-haiku-5-5, opus: claude-opus-5-5}
  tiers: {standard: {prefer: opus}}
  when_contended: {max_wait: 0}
"""
WATCHED = """\
version: 1
department: watched
mode: shadow
budgets:
  - {per: department, usd: 0.001, window: month}
routing:
  lines: {haiku: claude-haiku-5-5, opus: claude-opus-5-5}
features: {triage: {max_tokens: 100, lines: [haiku]}}
users: {nobody: {}}
limits: {cost_per_request: 0.0001, input_tokens: 1}
"""
TOLD = """\
version: 1
department: told
budgets:
  - {per: user, usd: 0.05, window: month}
users_from: application
routing:
  lines: {opus: claude-opus-5-5}
"""


def call(governor, **request):
    return governor.call(user="ada@example.com", messages=[{"role": "user", "content": "Why?"}], **request)


@pytest.fixture
def odd(tmp_path: Path) -> tuple[str, str]:
    """Policies with pace, a kept part, shadow, and users of the application's; and a ledger of calls."""
    folder, url = tmp_path / "odd", f"sqlite:///{tmp_path}/odd.db"
    folder.mkdir()
    for name, text in (("paced", PACED), ("watched", WATCHED), ("told", TOLD)):
        (folder / f"{name}.yaml").write_text(text)
    with FakeClaude() as api:
        api.replies(lambda _: Reply(output_tokens=1000))
        with Governor.load(folder, ledger=url, client=api.client(), users=lambda *_: {}) as governor:
            asked = {"department": "paced", "max_tokens": 1000}
            for number in range(
                1, 26
            ):  # $0.02 each: past half of it, of which only urgent ones may spend more
                call(governor, **asked, request_id=f"urgent-{number}", model="opus", priority="urgent")
            with pytest.raises(BudgetExceeded):
                call(governor, **asked, request_id="other", model="haiku")
            call(governor, **asked, request_id="one-more", model="haiku", priority="urgent")
            for number in range(3):
                watched = {"department": "watched", "request_id": f"watched-{number}"}
                call(governor, **watched, model="opus", feature="triage", max_tokens=1000)
            for number in range(2):
                call(governor, department="told", request_id=f"told-{number}", max_tokens=1000)
            with pytest.raises(BudgetExceeded):
                call(governor, department="told", request_id="told-2", max_tokens=1000)
    return str(folder), url


def test_pace_kept_parts_shadow_and_users_of_the_application_decide_as_they_did(run, odd):
    """Nothing changes under the policies of then, whatever they say; and the sum is what was posted."""
    folder, url = odd
    found = run("policy", "simulate", folder, "--journal", url, "--json").json
    assert found["total"]["calls"] == 33
    changed = {name: found["total"][name] for name in ("downgraded", "raised", "blocked", "freed")}
    assert (set(changed.values()), found["total"]["saved_nanos"]) == ({0}, 0), (changed, found["causes"])
    assert found["total"]["still_refused"] == 2
    options = ["--policies", folder, "--ledger", url, "--json"]
    balances = run("budget", "list", *options).json["budgets"]
    assert found["total"]["then_nanos"] == sum(one["posted"] for one in balances)


def test_a_tier_that_only_the_application_knows_is_not_guessed(run, odd):
    """Where budgets depend on it, the calls of such users are posted as they went, and said to be."""
    folder, url = odd
    with_tiers = TOLD.replace("per: user,", "per: user, user_tier: gold,")
    Path(folder, "told.yaml").write_text(with_tiers)
    found = run("policy", "simulate", folder, "--journal", url, "--json").json
    assert "told" not in found["departments"]
    assert found["left_out"]["tierless"] == 3
    assert found["total"]["blocked"] == 0
    told = run("policy", "simulate", folder, "--journal", url).out
    assert "3 calls of users whose tier only the application knows: posted as they went" in told


@pytest.mark.parametrize("command", [["simulate", "ledger:x", "--journal", "j"], ["diff", ".", "ledger:x"]])
def test_policies_without_files_are_not_compared(run, command):
    """They would look as if every department had lost its file: tighter, and nobody served."""
    said = run("policy", *command)
    assert said.code == 2
    assert "ledger:x names no files" in said.err


def test_an_archive_of_real_calls_is_the_same_journal(run, firm, tmp_path):
    """From lines, from a database and from the ledger: the same report."""
    reports = []
    for where in (str(tmp_path / "a.jsonl"), f"sqlite:///{tmp_path}/a.db", firm.ledger):
        if where != firm.ledger:
            assert run("ledger", "archive", where, *firm.options).code == 0
        report = run("policy", "simulate", str(firm.policies), "--journal", where, "--json").json
        assert report.pop("journal")
        reports.append(report)
    assert reports[0] == reports[1] == reports[2]


def test_tighter_policies_block_and_save(run, archive, tighter, tmp_path):
    """Who, how often, since when, because of which budget; as a table, as JSON and as a page."""
    page = tmp_path / "page.html"
    arguments = ["policy", "simulate", str(tighter), "--journal", str(archive)]
    said = run(*arguments, "--html", str(page))
    assert said.code == 0
    report = run(*arguments, "--json").json
    legal = report["departments"]["legal"]
    assert legal["blocked"] > 0
    assert legal["saved_nanos"] > 0
    assert legal["first_blocked"].startswith("2026-11-01T")
    assert {cause["source"].rpartition("/")[2] for cause in report["causes"]} <= {
        "legal.yaml:4",
        "engineering.yaml:6",
    }
    for words in ("<b>bob</b>", "first blocked", "department, usd in all", "$0.01", "2026-11-01"):
        assert words in said.out
    text = page.read_text()
    assert "&lt;b&gt;bob&lt;/b&gt;" in text
    assert "<b>bob" not in text
    assert "<script" not in text
    assert "http" not in text
    assert "<svg" in text


def test_departments_and_instants_narrow_it(run, archive, tighter):
    """--department shows one; --from and --until look at some calls, and a wrong one says what to write."""
    arguments = ["policy", "simulate", str(tighter), "--journal", str(archive)]
    assert set(run(*arguments, "--department", "legal", "--json").json["departments"]) == {"legal"}
    half = run(*arguments, "--from", "2026-11-01T00:30", "--json").json["total"]["calls"]
    other = run(*arguments, "--until", "2026-11-01T00:30", "--json").json["total"]["calls"]
    assert (half, other) == (30, 30)
    for wrong in (
        ["--from", "noon"],
        ["--until", "2020-01-01", "--from", "2021-01-01"],
        ["--department", "nobody"],
    ):
        said = run(*arguments, *wrong)
        assert said.code == 2
        assert "error: " in said.err


def test_one_file_is_for_its_department(run, archive, tighter):
    """Under one file the other departments' calls go as they went."""
    found = run("policy", "simulate", str(tighter / "legal.yaml"), "--journal", str(archive), "--json").json
    assert set(found["departments"]) == {"legal"}
    assert found["left_out"]["uncovered"] > 0


def test_a_journal_that_is_not_there_is_a_failure(run, policies, tmp_path):
    """A missing file, a damaged one, a ledger that does not exist: one sentence each, and no file is made."""
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text("{}\n")
    for where in (str(tmp_path / "none.jsonl"), str(damaged), f"sqlite:///{tmp_path}/none.db"):
        said = run("policy", "simulate", str(policies), "--journal", where, "--json")
        assert said.code == 1
        assert said.err.startswith("error: ")
    assert not (tmp_path / "none.db").exists()
    unwritable = ["--journal", str(damaged), "--html", str(tmp_path)]
    assert run("policy", "simulate", str(tmp_path / "none"), *unwritable).code == 3


def test_diff_says_which_way(run, policies, tighter):
    """Tighter, looser, the same; for CI the exit code says whether anything is not tighter."""
    there = ["policy", "diff", str(policies), str(tighter)]
    back = ["policy", "diff", str(tighter), str(policies)]
    assert run(*there).out.startswith("tighter: ")
    assert run(*back).out.startswith("looser: ")
    assert [run(*way, "--exit-code").code for way in (there, back)] == [0, 1]
    assert run(*back).code == 0
    assert run("policy", "diff", str(policies), str(policies), "--exit-code", "--json").json["way"] == "same"


def test_diff_shows_requests(run, policies, tighter):
    """Each difference comes with a request, its balances, and what becomes of it before and after."""
    found = run("policy", "diff", str(policies), str(tighter), "--json").json
    assert {name: told["way"] for name, told in found["departments"].items()} == {
        "engineering": "tighter",
        "legal": "tighter",
    }
    for told in found["departments"].values():
        for difference in told["differences"]:
            (example,) = difference["examples"]
            assert example["way"] == "tighter"
            assert example["before"] != example["after"]
            assert example["balances"]
    said = run("policy", "diff", str(policies), str(tighter)).out
    for words in ("for example ", "before: ", "after:  refused: ", "limit $6.00 → $0.01"):
        assert words in said


def test_diff_of_a_broken_file_is_an_invalid_policy(run, policies, tmp_path):
    """Exit code 3 with the file and the line, whichever of the two it is."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("version: 1\ndepartment: x\nbugdets: []\n")
    for arguments in ((policies, broken), (broken, policies)):
        said = run("policy", "diff", *map(str, arguments), "--json")
        assert said.code == 3
        assert json.loads(said.out)["error"]["problems"]
