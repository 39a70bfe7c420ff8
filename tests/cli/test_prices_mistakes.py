"""Mistakes in a price file, as `governor prices` tells them: its file, exit code 3, and never a traceback."""

from __future__ import annotations

import pytest

PLAIN = "version: 1\nextends: anthropic\n"
RATES = 'input: "1", output: "5", cache_write_5m: "1.25", cache_write_1h: "2", cache_read: "0.10"'
DEEP = 3_000

MISTAKES = {
    "a day that is none": (
        f'{PLAIN}discounts: [{{percent: "5", from: 2026-02-30, source: "x"}}]\n',
        "holds a value that is none",
    ),
    "an hour that is none": (f"{PLAIN}currency: 2026-02-01T99:00:00Z\n", "holds a value that is none"),
    "merged keys": (
        f'{PLAIN}discounts:\n  - &one {{percent: "5", from: 2026-01-01, source: "x"}}\n  - {{<<: *one}}\n',
        ":5:5: merged keys (<<) are not read",
    ),
    "merged keys at the top": (f"x: &x {{version: 1}}\n<<: *x\n{PLAIN}", "merged keys (<<) are not read"),
    "merged aliases": (
        f"{PLAIN}aliases:\n  <<: {{a: claude-opus-5}}\n  b: claude-opus-5\n",
        "merged keys (<<) are not read",
    ),
    "a number as a key": (f"{PLAIN}123: x\n", "the key '123' is no text"),
    "a truth value as a key": (f"{PLAIN}true: x\n", "the key 'True' is no text"),
    "nothing as a key": (f"{PLAIN}~: x\n", "the key 'None' is no text"),
    "a number as an alias": (f"{PLAIN}aliases: {{123: claude-opus-5}}\n", "the key '123' is no text"),
    "a truth value as an alias": (f"{PLAIN}aliases: {{true: claude-opus-5}}\n", "the key 'True' is no text"),
    "nothing as an alias": (f"{PLAIN}aliases: {{~: claude-opus-5}}\n", "the key 'None' is no text"),
    "a list as a key": (f"{PLAIN}? [a, b]\n: x\n", "is no text"),
    "a list as an id": (f"{PLAIN}models: [{{id: [a], prices: []}}]\n", "expected a text, got a list"),
    "a mapping as an id": (f"{PLAIN}models: [{{id: {{a: b}}, prices: []}}]\n", "expected a text, got a map"),
    "an endless integer": (f"{PLAIN}currency: {'9' * 5_000}\n", "5000 digits"),
    "an endless integer as a version": (f"version: {'9' * 5_000}\nextends: anthropic\n", "5000 digits"),
    "deep lists": (f"{PLAIN}aliases: {'[' * DEEP}{']' * DEEP}\n", "recursion"),
    "deep mappings": (f"{PLAIN}aliases: {'{a: ' * DEEP}{'}' * DEEP}\n", "recursion"),
    "an ordered mapping": (f"{PLAIN}aliases: !!omap\n  - a: claude-opus-5\n", "is YAML of a kind"),
    "a whole file of one": ("!!omap\n- version: 1\n- extends: anthropic\n", "is YAML of a kind"),
    "a set": (f"{PLAIN}aliases: !!set {{a, b}}\n", "expected a mapping of names to names"),
    "an unknown tag": (f"{PLAIN}aliases: !thing {{a: claude-opus-5, b: 5}}\n", "expected a text"),
    "a list at the top": ("- version: 1\n", "expected version"),
    "nothing at all": ("", "got nothing"),
    "two documents": (f"{PLAIN}---\n{PLAIN}", "is not YAML"),
    "a key that stands twice": (f"{PLAIN}version: 1\n", "is not YAML"),
}


@pytest.fixture
def told(run, tmp_path):
    """Checks a file of this text; returns what the command said."""

    def check(text, *options):
        path = tmp_path / "own.yaml"
        path.write_text(text, encoding="utf-8")
        return run("prices", "check", "--prices", str(path), *options)

    return check


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_a_problem_of_the_file(told, tmp_path, name):
    """Whatever YAML can hold is refused as a mistake in that file, and as JSON where that is asked for."""
    text, message = MISTAKES[name]
    said = told(text, "--json")
    assert said.code == 3
    assert said.err.startswith(f"{tmp_path}/own.yaml")
    assert message in said.err
    (problem, *_) = said.json["error"]["problems"]
    assert problem["file"] == f"{tmp_path}/own.yaml"
    assert problem["message"] in said.err


@pytest.mark.parametrize("word", ["haiku", "sonnet", "opus", "fable", "mythos", "auto"])
def test_an_alias_that_is_a_word_of_the_policy_language_is_refused(told, word):
    """`model="haiku"` means a line, so an alias of that name would never be asked for."""
    said = told(f"{PLAIN}aliases:\n  mine: claude-opus-5\n  {word}: claude-haiku-5-5\n")
    assert said.code == 3
    assert f"own.yaml:5:3: '{word}' is a word of the policy language" in said.err


def priced(*more: str, model: str = "claude-haiku-5-5") -> str:
    """A file with one price of a model, a line each for what is beside its rates."""
    inside = ", ".join(('from: 2026-12-01, source: "x", checked: 2026-11-01', RATES, *more))
    return f"{PLAIN}models:\n  - id: {model}\n    prices:\n      - {{{inside}}}\n"


def test_a_price_that_would_lose_its_step_is_refused(told):
    """Haiku 5.5 costs more above 100,000 tokens: an own price says how much, or that it does not."""
    said = told(priced())
    assert said.code == 3
    assert "own.yaml:6:9: claude-haiku-5-5 costs more above 100,000 prompt tokens" in said.err
    assert "`above: null` if the price has no step" in said.err


@pytest.mark.parametrize(
    "text",
    [
        priced("above: null"),
        priced(f"above: {{prompt_tokens: 200000, {RATES}}}"),
        priced(model="claude-sonnet-5-5"),
    ],
    ids=["none", "its own", "a model without one"],
)
def test_a_price_that_says_what_its_step_is_is_taken(told, text):
    """With `above`, or with `above: null`, or where there was no step before, the file is right."""
    assert told(text, "--at", "2026-12-02").code == 0


def test_prices_are_checked_to_the_end_of_days(run):
    """The last day that a calendar has is as good as any other."""
    said = run("prices", "check", "--at", "9999-12-31", "--json")
    assert said.code == 0
    assert said.json["at"] == "9999-12-31"
    told = {finding["about"]: finding["text"] for finding in said.json["findings"]}
    assert told["claude-sonnet-4-5"] == "it was retired on 2026-11-30"


def test_a_line_that_has_no_price_yet_is_refused(run, policies, tmp_path):
    """`policy check` and `prices check` name the day from which a model has a price, and its place."""
    own = tmp_path / "own.yaml"
    model = (
        "{id: claude-ours-1, line: opus, aliases: [], bedrock: [], vertex: [], context: 1000, "
        "max_output: 100, tokenizer: 2026, lifecycle: active, retires: null, retires_not_before: null, "
        f'prices: [{{from: 9000-01-01, source: "x", checked: 2026-11-01, {RATES}}}]}}'
    )
    own.write_text(f"{PLAIN}models:\n  - {model}\n", encoding="utf-8")
    file = policies / "engineering.yaml"
    file.write_text(file.read_text().replace("claude-opus-5-5", "claude-ours-1"))
    for command in (("policy", "check", str(policies)), ("prices", "check", "--policies", str(policies))):
        said = run(*command, "--prices", str(own))
        assert said.code == 3
        assert f"{file}:12:" in said.err
        assert "model 'claude-ours-1' has no price before 9000-01-01" in said.err


def test_an_update_beside_another_writer_writes_nothing(run, tmp_path):
    """Where somebody else is writing the file, the failure names what to delete if nobody is."""
    path, beside = tmp_path / "own.yaml", tmp_path / ".own.yaml.new"
    for file in (path, beside):
        file.write_text(PLAIN, encoding="utf-8")
    said = run("prices", "update", "--prices", str(path), "--from", "2026-10-01")
    assert said.code == 1
    assert f"nothing was appended: somebody else is changing it (if nobody is, delete {beside})" in said.err
    assert path.read_text(encoding="utf-8") == beside.read_text(encoding="utf-8") == PLAIN
