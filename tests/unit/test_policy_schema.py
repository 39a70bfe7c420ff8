"""The JSON schema for editors says what the loader says."""

from __future__ import annotations

import json
from operator import attrgetter
from pathlib import Path

import jsonschema
import pytest

from governor.policy.positions import read_yaml
from governor.policy.schema import json_schema
from governor.rehearsal.language import json_schema as sidecar_schema

POLICIES = Path(__file__).parents[2] / "policies"
TESTS = sorted(POLICIES.glob("*.tests.yaml"))
REFERENCE = sorted({*POLICIES.glob("*.yaml")} - {*TESTS, POLICIES / "alerts.yaml"})


def read(name: str) -> dict:
    """A policy as plain JSON values."""
    text = (POLICIES / name).read_text(encoding="utf-8")
    return json.loads(json.dumps(read_yaml(name, text).root.plain(), default=float))


def test_the_schema_in_the_repository_is_the_generated_one() -> None:
    """`policies/schema.json` is what `json_schema()` gives, indented by 2."""
    written = (POLICIES / "schema.json").read_text(encoding="utf-8")
    assert written == json.dumps(json_schema(), indent=2) + "\n"


@pytest.mark.parametrize("file", REFERENCE, ids=attrgetter("name"))
def test_the_reference_files_fit_the_schema(file: Path) -> None:
    """An editor finds nothing wrong with the files of the repository."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(read(file.name), json_schema())


def test_the_schema_of_tests_files_is_the_generated_one() -> None:
    """`policies/tests.schema.json` is what the tests files' `json_schema()` gives, indented by 2."""
    written = (POLICIES / "tests.schema.json").read_text(encoding="utf-8")
    assert written == json.dumps(sidecar_schema(), indent=2) + "\n"


@pytest.mark.parametrize("file", TESTS, ids=attrgetter("name"))
def test_the_tests_files_fit_their_schema(file: Path) -> None:
    """An editor finds nothing wrong with them either."""
    jsonschema.Draft202012Validator.check_schema(sidecar_schema())
    jsonschema.validate(read(file.name), sidecar_schema())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tests", 0, "expct"), {}),
        (("tests", 0, "expect", "decision"), "allowed"),
        (("tests", 0, "request", "usr"), "ada"),
        (("tests", 0, "spent", "department/month"), "some"),
        (("tests", 0, "name"), None),
        (("version",), 2),
    ],
)
def test_the_schema_of_tests_files_refuses_what_the_reader_refuses(path: tuple, value: object) -> None:
    """An editor underlines wrong words, amounts and unknown keys in tests, too."""
    tests = read("engineering.tests.yaml")
    inner = tests
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tests, sidecar_schema())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("budgets", 0, "usd"), -1),
        (("budgets", 0, "window"), "fortnight"),
        (("budgets", 0, "tokens"), 5),
        (("budgets", 0, "usdd"), 5),
        (("thresholds", "80"), "warn"),
        (("thresholds", "80%"), "wran"),
        (("routing", "lines", "sonet"), "x"),
        (("mode",), "enforced"),
        (("owner",), None),
        (("version",), 2),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(path: tuple, value: object) -> None:
    """An editor underlines wrong words, units, windows and unknown keys."""
    policy = read("engineering.yaml")
    inner = policy
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(policy, json_schema())
