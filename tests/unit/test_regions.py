"""Regions, told by a cloud's ARN, by an alias for one, or by the workspace of the policy files."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from support.governed import NOON_MS, department

from governor.policy import Attribution, load
from governor.pricing import PriceTable, Usage, Way, ceiling, cost_nanos
from governor.pricing.server_tools import Bounds

ARN = "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:application-inference-profile"
OTHER_ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile"
OWN = f"""\
version: 1
extends: anthropic
aliases:
  "{ARN}/bare": anthropic.claude-sonnet-5-5
  "{ARN}/prefixed": us-gov.anthropic.claude-sonnet-5-5
  "{ARN}/unpriced": anthropic.claude-opus-4-6-v1
  "{OTHER_ARN}/bare": anthropic.claude-sonnet-5-5
  "{OTHER_ARN}/worldwide": global.anthropic.claude-sonnet-5-5
"""
INPUT = 2_000
"""Nano-dollars a token of Sonnet 5.5."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The shipped prices under a company's own names."""
    path = tmp_path_factory.mktemp("prices") / "own.yaml"
    path.write_text(OWN, encoding="utf-8")
    return PriceTable.load(path)


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        (f"{ARN}/bare", 120),
        (f"{ARN}/prefixed", 120),
        (f"{OTHER_ARN}/bare", 110),
        (f"{OTHER_ARN}/worldwide", 100),
    ],
)
def test_an_alias_that_is_an_arn_is_priced_in_its_partition(table, name, percent):
    """A profile of `arn:aws-us-gov` costs what that partition costs, though its model's name is bare."""
    usage = Usage(input_tokens=1_000)
    assert cost_nanos(table, name, usage, NOON_MS) == 10 * INPUT * percent
    tariff = table.tariff(name, NOON_MS, Way())
    assert Fraction(tariff.base.input, tariff.unit) == Fraction(INPUT * percent, 100)


def test_a_model_without_a_price_there_is_refused_by_its_alias(table):
    """A government region that has no price is refused, not priced as another region."""
    with pytest.raises(Exception, match="no price for a cloud's government region"):
        cost_nanos(table, f"{ARN}/unpriced", Usage(input_tokens=1), NOON_MS)


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("anthropic.claude-sonnet-5-5", 120),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-5-5", 120),
        ("claude-sonnet-5-5@default", 120),
        ("claude-sonnet-5-5", 120),
        ("us-gov.anthropic.claude-sonnet-5-5", 120),
        ("us.anthropic.claude-sonnet-5-5", 110),
        ("eu.anthropic.claude-sonnet-5-5", 110),
        ("global.anthropic.claude-sonnet-5-5", 100),
        (f"{OTHER_ARN}/worldwide", 100),
    ],
)
def test_a_workspace_in_a_government_region_changes_bare_names_only(table, name, percent):
    """A prefix says where it is served, whatever the policy says; what is held and what is paid agree."""
    paid = cost_nanos(table, name, Usage(input_tokens=1_000), NOON_MS, endpoint="us-gov")
    bounds = Bounds(endpoint="us-gov")
    body = {"max_tokens": 0}
    held = ceiling(table, name, input_tokens=1_000, counted=False, body=body, at_ms=NOON_MS, bounds=bounds)
    assert paid == held.nanos == 10 * INPUT * percent


@pytest.mark.parametrize(
    ("shared", "own", "geo"),
    [
        ("us", "global", "us"),
        ("global", "us", "us"),
        ("us", None, "us"),
        (None, "us", "us"),
        ("global", None, "global"),
        (None, None, None),
    ],
)
def test_the_dearer_region_of_two_files_counts(tmp_path, shared, own, geo):
    """What the organisation says is served in the US no department makes cheaper, nor the other way round."""
    firm = {"version": 1, "organization": "firm"}
    team = department({"per": "department", "usd": 1, "window": "day"})
    for name, content, said in (("organization", firm, shared), ("team", team, own)):
        workspace = {"workspace": {"inference_geo": said}} if said else {}
        (tmp_path / f"{name}.yaml").write_text(json.dumps({**content, **workspace}), encoding="utf-8")
    assert load(tmp_path).rules(Attribution("team", "ada")).inference_geo == geo
