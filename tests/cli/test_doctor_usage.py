"""`governor doctor` with an admin key: spend that Anthropic has and the ledger does not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from governor import Governor, Money
from governor.clients import usage
from governor.testing import FakeClaude, Reply, cut_before_head, status_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADMIN_KEY = "fake-admin-key"
HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"
QUESTION = [{"role": "user", "content": "Why?"}]
OWN = """\
version: 1
extends: anthropic
discounts:
  - {percent: "10", from: 2026-01-01, until: 2027-01-01, source: "Order form 4711"}
"""


def at(day: int, hour: int = 12) -> time_machine.travel:
    """That hour of that day of November, and time goes on from there."""
    return time_machine.travel(datetime(2026, 11, day, hour, tzinfo=UTC), tick=True)


@dataclass
class Scene:
    """A firm whose ledger began on the 10th, the API that it calls, and the doctor at noon of the 13th."""

    api: FakeClaude
    policies: Path
    ledger: Path
    run: Callable[..., Any]

    @property
    def options(self) -> list[str]:
        return ["--policies", str(self.policies), "--ledger", f"sqlite:///{self.ledger}", "--days", "3"]

    def governed(self, model: str, **options: Any) -> int:
        """One governed call; what it cost, in nano-dollars."""
        options |= {"ledger": f"sqlite:///{self.ledger}", "client": self.api.client(max_retries=0)}
        who = {"user": "ada@example.com", "department": "engineering"}
        with Governor.load(self.policies, **options) as governor:
            message = governor.call(**who, model=model, pin=True, max_tokens=100, messages=QUESTION)
        return message.receipt.cost.nanos

    def around(self, model: str) -> int:
        """One call of a client that nobody governs; what it cost, in nano-dollars."""
        self.api.client().messages.create(model=model, max_tokens=100, messages=QUESTION)
        return self.api.bill[-1].nanos

    def doctor(self, *more: str, day: int = 13) -> Any:
        with at(day):
            return self.run("doctor", *self.options, "--admin-url", self.api.url, *more)

    def usage(self, *more: str, day: int = 13) -> list[tuple[str, str]]:
        """States and texts of the doctor's findings on usage."""
        found = self.doctor(*more, "--json", day=day).json["findings"]
        return [(one["state"], one["text"]) for one in found if one["about"] == "usage"]


@pytest.fixture
def scene(tmp_path: Path, policies: Path, run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-an-application")
    monkeypatch.setenv("ANTHROPIC_ADMIN_KEY", ADMIN_KEY)
    ledger = tmp_path / "governor.db"
    with FakeClaude() as api:
        api.replies(lambda _: Reply(output_tokens=50))
        with at(10):
            assert run("ledger", "create", f"sqlite:///{ledger}", "--policies", str(policies)).code == 0
        yield Scene(api, policies, ledger, run)


def records(ledger: Path) -> int:
    with closing(sqlite3.connect(ledger)) as db:
        return db.execute("SELECT count(*) FROM journal").fetchone()[0]


def test_the_doctor_finds_exactly_what_went_around_the_governor(scene):
    """By day and model, to the nano-dollar; the key is not said, and the ledger stays as it was."""
    with at(11):
        scene.governed("haiku")
        scene.governed("opus")
        around_opus = scene.around(OPUS)
    with at(12):
        around_haiku = scene.around(HAIKU) + scene.around(HAIKU)
        scene.governed("haiku")
    before = records(scene.ledger)
    said = scene.doctor("--json")
    assert said.code == 1
    assert said.json["usage"]["outside_nanos"] == around_opus + around_haiku
    outside = {
        (row["day"], row["model"]): row["outside_nanos"]
        for row in said.json["usage"]["rows"]
        if row["verdict"] == "outside"
    }
    assert outside == {("2026-11-11", OPUS): around_opus, ("2026-11-12", HAIKU): around_haiku}
    told = scene.doctor()
    assert f"{Money(around_opus + around_haiku)} that Anthropic has and the ledger has not" in told.out
    assert "apikey_fake" in told.out
    assert ADMIN_KEY not in said.out + told.out
    assert records(scene.ledger) == before


def test_without_a_way_around_all_is_accounted_for(scene):
    """Where every call was governed the doctor says so, with the sum."""
    with at(11):
        total = scene.governed("haiku") + scene.governed("opus")
    assert (
        "ok",
        f"2026-11-10 to 2026-11-12: all of the {Money(total)} that Anthropic has is in the ledger",
    ) in (scene.usage())
    assert scene.doctor().code == 0


def test_the_day_on_which_the_ledger_began_is_not_judged(scene):
    """What was spent before there was a ledger is no way around it."""
    with at(10, 3):
        scene.around(OPUS)
    with at(11):
        scene.governed("haiku")
    found = scene.usage()
    assert [state for state, _ in found] == ["note", "ok"]
    assert "2026-11-10 not judged" in found[0][1]


def test_whose_spend_it_is(scene):
    """Spend of another key, workspace and product is named with them."""
    with at(11):
        scene.governed("haiku")
        whose = {"workspace_id": "wrkspc_lab", "product": "claude_code"}
        spent = scene.api.organization.spend(HAIKU, {"input_tokens": 10, "output_tokens": 20}, **whose)
    (row,) = scene.doctor("--json").json["usage"]["rows"]
    assert row["outside_nanos"] == spent.nanos
    assert {
        "api_key_id": "apikey_other",
        "workspace_id": "wrkspc_lab",
        "product": "claude_code",
        "nanos": spent.nanos,
    } in row["sources"]
    assert "apikey_other  wrkspc_lab  claude_code" in scene.doctor().out


def test_one_workspace_alone(scene):
    """With --workspace, what other workspaces spent is nobody's business."""
    with at(11):
        scene.api.organization.spend(HAIKU, {"input_tokens": 1, "output_tokens": 1}, workspace_id="wrkspc_a")
        mine = scene.api.organization.spend(
            OPUS, {"input_tokens": 1, "output_tokens": 1}, workspace_id="wrkspc_b"
        )
    report = scene.doctor("--workspace", "wrkspc_b", "--json").json["usage"]
    assert {row["model"]: row["outside_nanos"] for row in report["rows"]} == {OPUS: mine.nanos}


def test_spend_without_a_model_is_outside_too(scene):
    """Sessions and code execution are told without a model; the ledger has none of it."""
    with at(11):
        spent = scene.api.organization.spend(HAIKU, {"input_tokens": 5, "output_tokens": 5})
        scene.api.organization.add(type(spent)(spent.at_ms, None, 70_000, {}))
    rows = scene.doctor("--json").json["usage"]["rows"]
    assert {row["model"]: row["outside_nanos"] for row in rows} == {HAIKU: spent.nanos, "(no model)": 70_000}


def test_without_an_admin_key_nobody_is_asked(scene, monkeypatch):
    """One line says that it was not compared, and how to have it; no request is made."""
    monkeypatch.delenv("ANTHROPIC_ADMIN_KEY")
    (found,) = scene.usage()
    assert found[0] == "note"
    assert "ANTHROPIC_ADMIN_KEY or --admin-key-file" in found[1]
    assert scene.api.requests == []
    assert scene.doctor().code == 0


def test_a_key_in_a_file(scene, monkeypatch, tmp_path):
    """A file's key goes before the environment's; one that cannot be read is a finding, and asks nobody."""
    monkeypatch.setenv("ANTHROPIC_ADMIN_KEY", "sk-ant-admin-of-somebody-else")
    with at(11):
        scene.governed("haiku")
    file = tmp_path / "key"
    file.write_text(f"{ADMIN_KEY}\n")
    assert ("ok", True) in [
        (state, "all of the" in text) for state, text in scene.usage("--admin-key-file", str(file))
    ]
    asked = len(scene.api.requests)
    file.write_text("two\nlines")
    for name in (str(file), str(tmp_path / "none"), str(tmp_path)):
        (found,) = scene.usage("--admin-key-file", name)
        assert found[0] == "wrong"
    assert len(scene.api.requests) == asked


@pytest.mark.parametrize(("key", "status"), [("fake-key", 403), ("sk-ant-admin-of-nobody", 401)])
def test_a_refused_key(scene, monkeypatch, key, status):
    """A key for messages, and one that nobody has, are refused: a finding says which key to give."""
    monkeypatch.setenv("ANTHROPIC_ADMIN_KEY", key)
    said = scene.doctor()
    assert said.code == 1
    assert f"answered {status} at page 1" in said.out
    assert "give an admin key" in said.out
    assert key not in said.out


def test_an_api_that_does_not_answer(scene):
    """An unreachable API is one finding, not a traceback."""
    (found,) = scene.usage("--admin-url", "http://127.0.0.1:9")
    assert found[0] == "wrong"
    assert "http://127.0.0.1:9 does not answer" in found[1]


def test_the_key_goes_nowhere_without_encryption(scene):
    """A URL without TLS, but for this host, is refused before anything is sent."""
    (found,) = scene.usage("--admin-url", "http://api.anthropic.example")
    assert found == ("wrong", "Anthropic's figures cannot be read: the admin key goes over https:// only")


def test_pages_and_an_error_half_way(scene, monkeypatch):
    """Many pages are read to the end; where the second fails, nothing of the first is judged."""
    monkeypatch.setattr(usage, "ROWS", 1)
    with at(11):
        total = scene.around(OPUS) + scene.around(HAIKU)
    with at(12):
        total += scene.around(HAIKU)
    assert scene.doctor("--json").json["usage"]["outside_nanos"] == total
    scene.api.organization.break_page(2, status_error(500))
    said = scene.doctor("--json")
    assert said.json["usage"] is None
    assert "answered 500 at page 2" in said.out
    scene.api.organization.break_page(2, cut_before_head())
    (found,) = scene.usage()
    assert "does not answer" in found[1]
    assert "at page 2" in found[1]


def test_days_still_being_refreshed_are_not_judged(scene):
    """A day is judged an hour after the figures were refreshed beyond its end, and no sooner."""
    with at(11):
        scene.governed("haiku")
    with at(12):
        spent = scene.around(HAIKU)
    for hour, minute, judged in ((0, 59, False), (1, 1, True)):
        refreshed = datetime(2026, 11, 13, hour, minute, tzinfo=UTC)
        scene.api.organization.refreshed_ms = int(refreshed.timestamp() * 1000)
        report = scene.doctor("--json").json["usage"]
        assert report["outside_nanos"] == (spent if judged else 0)
        assert ("2026-11-12" in report["not_judged"]) is not judged


def test_uncertain_charges_are_told_apart(scene):
    """A call that was never answered is charged its whole hold; that Anthropic billed nothing is a note."""
    with at(11):
        scene.api.inject(cut_before_head())
        with pytest.raises(Exception, match="Connection"):
            scene.governed("haiku")
    said = scene.doctor("--json")
    assert said.code == 0
    (row,) = said.json["usage"]["rows"]
    assert row["verdict"] == "uncertain"
    assert row["uncertain_nanos"] == row["ledger_nanos"] > 0
    assert "within its uncertain charges" in said.out


def test_a_ledger_that_has_more(scene):
    """With the admin key of an organization that never served the calls, a note asks whether it is right."""
    with at(11):
        scene.governed("haiku")
    scene.api.reset()
    said = scene.doctor()
    assert said.code == 0
    assert "no uncertain charge explains it" in said.out
    assert "is it the admin key of the organization" in said.out


def test_a_discount_that_no_price_file_has_changes_nothing(scene):
    """List prices are compared with list prices where no price file has a discount."""
    with at(11):
        total = scene.governed("haiku")
    scene.api.organization.discount_bp = 1000
    assert ("ok", True) in [(state, str(Money(total)) in text) for state, text in scene.usage()]


def test_negotiated_prices_are_compared_with_what_was_billed(scene, tmp_path):
    """With discounts in --prices, a ledger at list price differs from the bill, for the same tokens."""
    prices = tmp_path / "own.yaml"
    prices.write_text(OWN)
    with at(11):
        scene.governed("haiku")
    scene.api.organization.discount_bp = 1000
    said = scene.doctor("--prices", str(prices))
    assert said.code == 0
    assert "the same tokens cost" in said.out
    assert "less at Anthropic" in said.out


def test_prices_that_are_too_low_are_wrong(scene, tmp_path):
    """A discount that Anthropic does not give: the same tokens cost more than the budgets were charged."""
    prices = tmp_path / "own.yaml"
    prices.write_text(OWN)
    with at(11):
        charged = scene.governed("haiku", prices=prices)
    said = scene.doctor("--prices", str(prices))
    assert said.code == 1
    more = Money(scene.api.billed_nanos - charged)
    assert f"the same tokens cost {more} more at Anthropic than in the ledger" in said.out


def test_the_archive_counts_where_the_ledger_was_trimmed(scene, tmp_path):
    """Records that are in the archive alone count as the ledger's; without it those days are not judged."""
    archive = str(tmp_path / "journal.jsonl")
    with at(11):
        total = scene.governed("haiku") + scene.governed("opus")
    with at(12):
        said = scene.run("ledger", "archive", archive, "--trim", "--keep", "0s", *scene.options[:4])
        assert said.code == 0, said.err
        total += scene.governed("haiku")
    assert ("ok", True) in [(s, str(Money(total)) in text) for s, text in scene.usage("--archive", archive)]
    assert not [text for state, text in scene.usage() if state == "wrong"]
    assert "2026-11-11" in str(scene.doctor("--json").json["usage"]["not_judged"])


def test_either_ledger_is_read(run, firm, monkeypatch):
    """On Redis, too: two days later its first day is looked at, and not judged, for it was not whole."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-an-application")
    monkeypatch.setenv("ANTHROPIC_ADMIN_KEY", ADMIN_KEY)
    today = datetime.now(UTC)
    with FakeClaude() as api, time_machine.travel(today + timedelta(days=2), tick=True):
        said = run("doctor", *firm.options, "--admin-url", api.url, "--json")
    assert said.code == 0, said.out
    assert str(today.date()) in said.json["usage"]["not_judged"]
    assert said.json["usage"]["last"] == str(today.date() + timedelta(days=1))


def test_what_cannot_be_compared_is_a_finding(scene, tmp_path):
    """Without policies, prices or a ledger there is nothing to compare: that is said, and nobody is asked."""
    missing = str(tmp_path / "missing")
    for option in ("--policies", "--prices", "--archive"):
        value = "redis://localhost" if option == "--archive" else missing
        assert [state for state, _ in scene.usage(option, value)] == ["wrong"]
    assert scene.usage("--ledger", f"sqlite:///{missing}.db")[0][0] == "wrong"
    assert scene.api.requests == []


@pytest.mark.parametrize("days", ["0", "32", "many"])
def test_days_that_cannot_be_asked_for(scene, days):
    """Anthropic answers for 1 to 31 days; anything else is wrong usage."""
    assert scene.doctor("--days", days).code == 2


def test_the_sdks_own_methods_read_the_fakes_figures(scene):
    """The fake's answers are what the SDK's types say, on every page, where this SDK has them."""
    client = scene.api.client(api_key=ADMIN_KEY)
    analytics = getattr(getattr(client.beta, "organization", None), "analytics", None)
    if not hasattr(analytics, "cost"):
        pytest.skip("this SDK has no methods for these figures")
    with at(11):
        scene.around(OPUS)
        scene.around(HAIKU)
    asked = {
        "starting_at": datetime(2026, 11, 11, tzinfo=UTC),
        "ending_at": datetime(2026, 11, 12, tzinfo=UTC),
        "time_bucket_width": "1d",
        "group_by": ["model"],
        "limit": 1,
    }
    costs = {row.group.model: row.cost.list_amount for row in analytics.cost.list(**asked)}
    assert sum(float(cents) for cents in costs.values()) * 10**7 == pytest.approx(scene.api.billed_nanos)
    tokens = {row.group.model: row.usage.total_tokens for row in analytics.usage.list(**asked)}
    assert set(costs) == set(tokens) == {OPUS, HAIKU}


def test_a_batch_as_a_whole_is_no_call_that_cannot_be_read(scene):
    """What is noted of a batch beside its items counts as nothing, and nothing is said of it."""
    with at(11):
        options = {"ledger": f"sqlite:///{scene.ledger}", "client": scene.api.client(max_retries=0)}
        params = {"model": "haiku", "max_tokens": 100, "messages": QUESTION}
        with Governor.load(scene.policies, **options) as governor:
            batch = governor.batches.create(
                user="ada@example.com",
                department="engineering",
                requests=[{"custom_id": name, "params": params} for name in ("a", "b")],
            )
            governor.batches.retrieve(batch.id)
            assert governor.batches.drain().settled == 2
    total = sum(line.nanos for line in scene.api.bill)
    found = scene.usage("--days", "2")
    assert (
        "ok",
        f"2026-11-11 to 2026-11-12: all of the {Money(total)} that Anthropic has is in the ledger",
    ) in found
    assert not [text for _, text in found if "cannot be read" in text]
