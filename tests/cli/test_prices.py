"""`governor prices`: what a token costs, whether the file is right, and what genai-prices says of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import governor
from governor.data import data_file
from governor.pricing import PriceTable

DAY = "2026-11-21"
OWN = """\
version: 1
extends: anthropic
discounts:
  - percent: "12.5"
    models: [claude-haiku-4-5]
    from: 2026-11-01
    until: 2026-12-31
    source: "contract 8"
"""
WRITTEN = """\
# Our prices.
version: 1
extends: anthropic
models:
  - id: claude-opus-4-8   # the old one
    prices:
      - from: 2026-11-01
        source: "genai-prices 0.2.2"
        listed: true
        checked: 2026-11-01
        input: "4.5"
        output: "25"
        cache_write_5m: "6.25"
        cache_write_1h: "10"
        cache_read: "0.50"
        fast: {input: "9", output: "50"}
        batch_percent: 50
"""


@pytest.fixture(autouse=True)
def _no_prices_from_outside(monkeypatch):
    monkeypatch.delenv("GOVERNOR_PRICES", raising=False)


@pytest.fixture
def own(tmp_path):
    """A company's own file with a discount."""
    path = tmp_path / "prices.yaml"
    path.write_text(OWN)
    return path


@pytest.fixture
def written(tmp_path):
    """A company's own file in which an earlier update wrote a price that is no more."""
    path = tmp_path / "prices.yaml"
    path.write_text(WRITTEN)
    return path


def row(said, name):
    """The cells of the first row that begins with *name*."""
    return next(line.split() for line in said.out.splitlines() if line.split()[:1] == [name])


# show


def test_show_lists_every_model(run):
    """Each model's prices of the day, its batch, fast, us and regional prices, source and day of checking."""
    said = run("prices", "show", "--at", DAY)
    assert said.code == 0
    assert row(said, "claude-opus-5-5") == [
        *("claude-opus-5-5", "2026-09-22", "4", "20", "5", "8", "0.20"),
        *("2/10", "8/40", "4.40/22", "4.40/22", "active", "[1]"),
    ]
    assert "deprecated, retires 2026-11-30" in said.out
    assert (
        "[1] Anthropic pricing documentation; genai-prices 0.2.3; litellm 1.106.2; checked 2026-11-20"
        in said.out
    )
    assert "web search: $10 per 1,000" in said.out
    for model in PriceTable.load().models():
        assert row(said, model.id)


def test_show_has_the_step(run):
    """Haiku 5.5's prices above its step stand in a row of their own."""
    said = run("prices", "show", "claude-haiku-5-5", "--at", DAY)
    assert row(said, "above")[:7] == ["above", "100,000", "0.50", "2.50", "0.625", "1", "0.05"]


@pytest.mark.parametrize(
    ("name", "price", "batch"),
    [
        ("claude-haiku-4-5-20251001", "1", "0.50"),
        ("anthropic.claude-haiku-4-5", "1.10", "0.55"),
        ("us.anthropic.claude-haiku-4-5", "1.10", "0.55"),
        ("global.anthropic.claude-haiku-4-5", "1", "0.50"),
        ("us-gov.anthropic.claude-haiku-4-5", "1.20", "0.60"),
        ("claude-haiku-4-5@20251001", "1", "0.50"),
    ],
)
def test_show_takes_any_name(run, name, price, batch):
    """A model is shown under any of its names; a Bedrock name shows its endpoint's price."""
    (model,) = run("prices", "show", name, "--at", DAY, "--json").json["models"]
    assert (model["model"], model["id"]) == (name, "claude-haiku-4-5")
    (entry,) = model["entries"]
    assert entry["prices"]["standard"]["input"] == price
    assert entry["prices"]["batch"]["input"] == batch


def test_show_a_region_without_a_price(run):
    """A government region that has no price is shown as such, not at another region's price."""
    said = run("prices", "show", "us-gov.anthropic.claude-opus-4-6-v1", "--at", DAY)
    assert row(said, "us-gov.anthropic.claude-opus-4-6-v1")[2:7] == ["-"] * 5


def test_show_takes_discounts_off(run, own):
    """A discount is taken off every price and named with its end; before it begins, the list price stands."""
    options = ("prices", "show", "claude-haiku-4-5", "--prices", str(own), "--json", "--at")
    (entry,) = run(*options, DAY).json["models"][0]["entries"]
    assert entry["discount"] == {"percent": "12.50", "until": "2026-12-31", "source": "contract 8"}
    assert entry["prices"]["standard"]["output"] == "4.375"
    (entry,) = run(*options, "2026-10-31").json["models"][0]["entries"]
    assert (entry["discount"], entry["prices"]["standard"]["output"]) == (None, "5")
    assert "12.50 %" in run(*options[:-2], "--at", DAY).out


def test_show_history(run):
    """Every dated entry, oldest first: Sonnet 5.5's cache read before and after 2026-10-07."""
    (model,) = run("prices", "show", "claude-sonnet-5-5", "--history", "--json").json["models"]
    reads = [(entry["from"], entry["prices"]["standard"]["cache_read"]) for entry in model["entries"]]
    assert reads == [("2026-09-28", "0.20"), ("2026-10-07", "0.10")]


def test_show_before_the_first_price(run):
    """A model without a price yet on the day is shown as that."""
    said = run("prices", "show", "claude-haiku-5-5", "--at", "2026-10-06")
    assert row(said, "claude-haiku-5-5")[1:4] == ["no", "price", "yet"]


@pytest.mark.parametrize("arguments", [["claude-haiku-55"], ["--at", "tomorrow"], ["--at", "2026-13-01"]])
def test_show_usage(run, arguments):
    """A model nobody knows and a day that is none are usage errors."""
    assert run("prices", "show", *arguments).code == 2


# the file


@pytest.mark.parametrize("command", [["show"], ["check"], ["diff"], ["update"]])
def test_a_bad_file(run, own, command):
    """A malformed price file is exit code 3 with file:line:column: message (hint), in JSON too."""
    own.write_text(OWN.replace("haiku-4-5", "haiku-45"))
    said = run("prices", *command, "--prices", str(own), "--json")
    assert said.code == 3
    assert said.err.startswith(f"{own}:4:5: a discount on 'claude-haiku-45', which is no model's id")
    assert said.json["error"]["problems"][0]["line"] == 4


@pytest.mark.parametrize("command", [["show"], ["check"], ["diff"]])
def test_a_missing_file(run, tmp_path, command):
    """A price file that is not there is exit code 3."""
    said = run("prices", *command, "--prices", str(tmp_path / "none.yaml"))
    assert (said.code, "none.yaml: cannot be read" in said.err) == (3, True)


def test_the_file_may_come_from_the_environment(run, own, monkeypatch):
    """GOVERNOR_PRICES stands for --prices."""
    monkeypatch.setenv("GOVERNOR_PRICES", str(own))
    assert run("prices", "show", "--json").json["source"] == str(own)


def test_other_commands_take_the_file_too(run, policies, tmp_path):
    """A model that only the company's own file prices passes `policy check` and `doctor` with --prices."""
    file = policies / "engineering.yaml"
    file.write_text(file.read_text().replace("claude-opus-5-5", "our-opus"))
    own = tmp_path / "prices.yaml"
    own.write_text("version: 1\nextends: anthropic\naliases: {our-opus: claude-opus-5}\n")
    assert run("policy", "check", str(policies)).code == 3
    assert run("policy", "check", str(policies), "--prices", str(own)).code == 0
    options = ["doctor", "--policies", str(policies), "--json"]
    assert "our-opus has no price" in run(*options).out
    assert "our-opus, claude" not in run(*options, "--prices", str(own)).out
    assert "our-opus has no price" not in run(*options, "--prices", str(own)).out


# check


def found(said):
    """State and text by what each finding is about."""
    return {finding["about"]: (finding["state"], finding["text"]) for finding in said.json["findings"]}


def test_check_warns_of_models_that_go(run):
    """Deprecated and soon retiring models are warnings; what is gone, or a promise's end, is a remark."""
    said = run("prices", "check", "--at", DAY, "--json")
    assert said.code == 0
    assert not said.json["ok"]
    findings = found(said)
    assert findings["claude-sonnet-4-5"] == ("warning", "it is deprecated and retires on 2026-11-30")
    assert findings["claude-mythos-preview"] == ("remark", "it was retired on 2026-06-30")
    assert findings["claude-opus-4-1"] == ("remark", "it is retired")
    assert findings["claude-opus-4-5"] == ("remark", "the promise not to retire it ends on 2026-11-24")
    assert "claude-opus-5-5" not in findings


def test_check_looks_60_days_ahead(run, tmp_path):
    """A retirement 60 days away is warned of, one 61 days away is not."""
    text = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8")
    path = tmp_path / "table.yaml"
    path.write_text(text.replace("retires: null", "retires: 2027-01-20", 1))
    options = ("prices", "check", "--prices", str(path), "--json", "--at")
    assert found(run(*options, DAY))["claude-haiku-5-5"] == ("warning", "it retires on 2027-01-20")
    assert "claude-haiku-5-5" not in found(run(*options, "2026-11-20"))


@pytest.mark.parametrize(("day", "stale"), [("2027-01-19", False), ("2027-01-20", True)])
def test_check_warns_of_prices_not_checked(run, day, stale):
    """What in force was checked more than 60 days ago is named: prices with the fees, and `accepts`."""
    texts = [text for _, text in found(run("prices", "check", "--at", day, "--json")).values()]
    assert any("61 days ago; `governor prices diff`" in text for text in texts) is stale
    assert any("61 days ago; compare it with Anthropic's" in text for text in texts) is stale


def test_strict_fails_on_warnings_alone(run, tmp_path):
    """--strict is exit code 1 where there is a warning, and 0 where there are remarks only."""
    assert run("prices", "check", "--at", DAY, "--strict").code == 1
    text = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8")
    for old in ("deprecated", "retired"):
        text = text.replace(f"lifecycle: {old}", "lifecycle: active")
    path = tmp_path / "table.yaml"
    path.write_text(text.replace("not_before: 2027-10-07", "not_before: 2026-02-01"))
    said = run("prices", "check", "--prices", str(path), "--at", "2026-01-01", "--strict", "--json")
    ends = ("remark", "the promise not to retire it ends on 2026-02-01")
    assert (said.code, found(said)) == (0, {"claude-haiku-5-5": ends})


def test_check_compares_with_the_sdk(run, tmp_path):
    """A model the SDK lists without a price, and one that it retires on another day, are warnings."""
    text = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8")
    path = tmp_path / "table.yaml"
    path.write_text(
        text.replace("claude-haiku-5-5", "claude-haiku-9").replace(
            "2026-11-30\n    ret", "2026-12-24\n    ret"
        )
    )
    findings = found(run("prices", "check", "--prices", str(path), "--at", DAY, "--json"))
    assert findings["claude-haiku-5-5"][0] == "warning"
    assert "lists it, and it has no price" in findings["claude-haiku-5-5"][1]
    assert (
        "says that it retires on 2026-11-30; the table says 2026-12-24"
        in findings["claude-sonnet-4-5-20250929"][1]
    )


def test_check_reads_policies(run, policies):
    """A line that names a model that goes is a warning with its place in the file."""
    file = policies / "engineering.yaml"
    file.write_text(
        file.read_text()
        .replace("claude-sonnet-5-5", "claude-sonnet-4-5")
        .replace("budgets:\n", "budgets:\n  - {per: model, name: claude-opus-4-1, usd: 1, window: day}\n")
    )
    said = run("prices", "check", "--policies", str(policies), "--at", DAY)
    assert said.code == 0
    place = f"{policies}/engineering.yaml"
    line = f"warning  {place}:13:44: routing.lines.sonnet: claude-sonnet-4-5: it is deprecated"
    assert line in said.out
    assert f"{place}:5:24: budgets[0]: claude-opus-4-1: it is retired" in said.out


def test_check_refuses_policies_without_a_price(run, policies):
    """A policy that names an unpriced model is exit code 3, as in `policy check`."""
    file = policies / "engineering.yaml"
    file.write_text(file.read_text().replace("claude-sonnet-5-5", "claude-sonnet-55"))
    assert run("prices", "check", "--policies", str(policies)).code == 3


# diff


def test_diff_of_the_shipped_table(run):
    """Nothing differs but what is known, which is shown with its reason; one-sided models are named."""
    said = run("prices", "diff", "--at", DAY)
    assert said.code == 0
    assert "known disagreements (10), not counted:" in said.out
    assert "claude-opus-4-1: batch not in genai-prices: " in said.out
    assert "only here: claude-mythos-5-1" in said.out
    assert "only in genai-prices: claude-2" in said.out
    assert said.out.endswith(": 0 differences\n")


def test_diff_counts_what_is_not_known(run, written):
    """A price that differs is exit code 1, model by model and unit by unit, ours beside theirs."""
    said = run("prices", "diff", "--prices", str(written), "--at", DAY)
    assert said.code == 1
    assert ["claude-opus-4-8", "input", "4.50", "5"] in [line.split() for line in said.out.splitlines()]
    said = run("prices", "diff", "--prices", str(written), "--at", DAY, "--json")
    told = {one["price"]: (one["ours"], one["theirs"]) for one in said.json["differences"]}
    assert told["batch input"] == ("2.25", "2.50")
    assert told["fast input"] == ("9", "10")
    assert "output" not in told


def test_an_agreed_price_is_no_difference(run, written):
    """A price of one's own is shown as known, with its source, unless it is marked as the list price."""
    written.write_text(
        WRITTEN.replace("genai-prices 0.2.2", "contract 7").replace("        listed: true\n", "")
    )
    said = run("prices", "diff", "--prices", str(written), "--at", DAY)
    assert said.code == 0
    assert "claude-opus-4-8: input 4.50 (theirs 5)" in said.out
    assert "your own price: contract 7" in said.out


@pytest.mark.parametrize("command", ["diff", "update"])
def test_without_genai_prices(run, own, monkeypatch, command):
    """Where the extra is not installed, the failure says what to install."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    said = run("prices", command, "--prices", str(own))
    assert said.code == 1
    assert "pip install 'claude-governor[prices]'" in said.err


# update


def test_update_appends(run, written):
    """A difference is appended behind what stands, with source and day; then there is nothing to do."""
    said = run("prices", "update", "--prices", str(written), "--from", DAY)
    assert said.code == 0
    assert "1 entry appended to " in said.out
    text = written.read_text()
    assert text.startswith(WRITTEN)
    assert '      - from: 2026-11-21\n        source: "genai-prices ' in text
    end = '        fast: {input: "10", output: "50"}\n        batch_percent: 50\n        listed: true\n'
    assert text.endswith(end)
    assert run("prices", "diff", "--prices", str(written), "--at", DAY).code == 0
    again = run("prices", "update", "--prices", str(written), "--from", DAY)
    assert (again.code, "nothing to do" in again.out) == (0, True)
    assert written.read_text() == text


def test_update_only_says_what_it_would_do(run, written):
    """--dry-run prints the entries and writes nothing; JSON has them too."""
    options = ("prices", "update", "--prices", str(written), "--from", DAY, "--dry-run")
    said = run(*options)
    assert '  - from: 2026-11-21\n    source: "genai-prices ' in said.out
    assert "1 entry would be appended" in said.out
    told = run(*options, "--json").json
    assert told["prices"]["claude-opus-4-8"][0]["input"] == "5"
    assert not told["written"]
    assert "claude-sonnet-4-0" in told["only_theirs"]
    assert written.read_text() == WRITTEN


def test_update_makes_the_file(run, tmp_path):
    """A file that does not exist yet begins as one that extends the shipped table."""
    path = tmp_path / "new.yaml"
    said = run("prices", "update", "--prices", str(path), "--from", "2026-10-01")
    assert said.code == 0
    assert path.read_text().startswith("version: 1\nextends: anthropic\nmodels:\n  - id: claude-sonnet-5-5\n")
    table = PriceTable.load(path)
    assert [price.own for price in table.prices("claude-sonnet-5-5")] == [False, True, True]


def test_update_names_models_it_cannot_add(run, written):
    """Models only genai-prices lists are named with what to write, not guessed."""
    said = run("prices", "update", "--prices", str(written), "--from", DAY)
    assert "claude-sonnet-4-0" in said.err
    assert "context, max_output" in said.err
    assert "claude-sonnet-4-0" not in written.read_text()


def test_update_says_what_it_refuses(run, written):
    """A difference that cannot be appended is named with its reason, exit code 1, and nothing is written."""
    said = run("prices", "update", "--prices", str(written), "--from", "2026-11-01")
    assert said.code == 1
    assert "claude-opus-4-8: not appended: there is an entry from 2026-11-01 already" in said.err
    assert written.read_text() == WRITTEN


def test_update_of_a_whole_table(run, tmp_path):
    """A whole table gets the entry of its changed model, and no other byte changes."""
    text = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8")
    old = text.replace('fast: {input: "8", output: "40"}', 'fast: {input: "9", output: "40"}')
    path = tmp_path / "table.yaml"
    path.write_text(old)
    said = run("prices", "update", "--prices", str(path), "--from", DAY)
    assert said.code == 0
    start, _, end = old.partition("\n  - id: claude-opus-5\n")
    new = path.read_text()
    assert new.startswith(start.rstrip("\n"))
    assert new.endswith(end)
    assert len(new.splitlines()) == len(old.splitlines()) + 13
    assert PriceTable.load(path).prices("claude-opus-5-5")[-1].fast == (2, 2)


def test_update_that_cannot_be_written(run, written):
    """Where the folder takes no file, the failure says so and the old file stays."""
    folder = written.parent / "gone"
    said = run("prices", "update", "--prices", str(folder / "x.yaml"), "--from", "2026-10-01")
    assert (said.code, "cannot be written: No such file or directory" in said.err) == (1, True)
    assert not folder.exists()


def test_update_refuses_an_installed_table(shell, tmp_path):
    """The table inside an installed package is not written to; --prices is asked for, exit code 2."""
    package = tmp_path / "governor"
    shutil.copytree(Path(governor.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pricing", "policies"):
        shutil.copytree(Path(str(data_file(name))), package / "_data" / name, dirs_exist_ok=True)
    said = shell("prices", "update", cwd=tmp_path)
    assert said.code == 2
    assert f"{tmp_path}/governor/_data/pricing/anthropic.yaml belongs to the installed package" in said.err
    assert "give --prices PATH" in said.err


@pytest.mark.parametrize("command", [["prices", name] for name in ("show", "check", "diff", "update")])
def test_help(run, command):
    """Every command explains itself."""
    said = run(*command, "--help")
    assert (said.code, "--prices" in said.out) == (0, True)
