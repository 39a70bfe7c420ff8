"""What is said of a request's data gets into its record by every door, and its content by none."""

from __future__ import annotations

import asyncio
import json

import pytest

import governor
from governor import AsyncGovernor, Governor, PolicyViolation
from governor.findings import read_findings
from governor.journal.fold import Fold
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.testing import FakeClaude

SECRET = "my account is DE02 1203 0000 0000 2020 51"
QUESTION = [{"role": "user", "content": SECRET}]
WHO = {"user": "ada@example.com", "department": "legal"}
DATA = {"classification": "confidential", "region": "eu", "pii": ["iban", "email"]}
POLICIES = {
    "organization.yaml": "version: 1\norganization: acme\n",
    "legal.yaml": "version: 1\ndepartment: legal\nbudgets:\n  - {per: department, usd: 10, window: life}\n"
    "routing:\n  lines: {haiku: claude-haiku-5-5}\n",
}


@pytest.fixture
def place(tmp_path):
    """Policies, and a ledger's URL."""
    folder = tmp_path / "policies"
    folder.mkdir()
    for name, text in POLICIES.items():
        (folder / name).write_text(text)
    return folder, f"sqlite:///{tmp_path}/governor.db"


@pytest.fixture
def api():
    """A fake Claude API."""
    with FakeClaude() as made:
        yield made


def records(place):
    """The journal's records."""
    ledger = open_ledger(place[1], "acme")
    try:
        return ledger.execute(c.ReadJournal())
    finally:
        ledger.close()


def found(place):
    """What the newest decision's record says of the data; it is its last member, and no content is in any."""
    entries = records(place)
    assert not any("1203" in part for entry in entries for part in (entry.record, entry.detail))
    record = [entry.record for entry in entries if entry.kind == "reserve" and "asked" in entry.record][-1]
    told = json.loads(record)
    assert "findings" not in told or list(told)[-1] == "findings"
    return told.get("findings")


def test_a_calls_data_is_in_its_record_and_in_the_row_that_is_made_of_it(place, api):
    """Kinds sorted; nothing where nothing is said."""
    with Governor.load(place[0], ledger=place[1], client=api.client()) as gov:
        gov.call(**WHO, max_tokens=50, messages=QUESTION, data=DATA)
        assert found(place) == {"classification": "confidential", "region": "eu", "pii": ["email", "iban"]}
        fold = Fold()
        fold.take(records(place))
        (call,) = fold.rows()
        assert (call.classification, call.region, call.pii) == ("confidential", "eu", "email,iban")
        gov.call(**WHO, max_tokens=50, messages=QUESTION)
        assert found(place) is None


def test_a_stream_and_the_middleware_say_it_too(place, api):
    """By `stream()`, by headers, by `attribute` around the code, each adding to the one around."""
    with Governor.load(place[0], ledger=place[1], client=api.client()) as gov:
        with gov.stream(**WHO, max_tokens=50, messages=QUESTION, data={"region": "us"}) as stream:
            stream.until_done()
        assert found(place) == {"region": "us"}
        client = api.client(middleware=[gov.middleware(**WHO, data={"region": "eu"})])
        ask = {"model": "haiku", "max_tokens": 50, "messages": QUESTION}
        headers = {"governor-data-pii": "email, phone", "governor-data-classification": "secret"}
        client.messages.create(**ask, extra_headers=headers)
        assert found(place) == {"classification": "secret", "region": "eu", "pii": ["email", "phone"]}
        with (
            governor.attribute(data={"classification": "public"}),
            governor.attribute(data={"pii": ["name"]}),
        ):
            client.messages.create(**ask)
        assert found(place) == {"classification": "public", "region": "eu", "pii": ["name"]}
        assert not any("governor-data" in name for name in api.requests[-1].headers)


def test_an_items_data_goes_over_its_batchs(place, api):
    """Each item has its own record."""
    with Governor.load(place[0], ledger=place[1], client=api.client()) as gov:
        params = {"model": "haiku", "max_tokens": 50, "messages": QUESTION}
        items = [{"custom_id": "a", "params": params}, {"custom_id": "b", "params": params, "data": DATA}]
        gov.batches.create(requests=items, **WHO, data={"classification": "public"})
    told = [json.loads(e.record).get("findings") for e in records(place) if '"asked"' in e.record]
    assert told[0] == {"classification": "public"}
    assert told[1]["classification"] == "confidential"


def test_an_inspector_adds_what_it_finds(place, api):
    """It gets the body and who asks; the caller's word goes first, the kinds of both are kept."""
    seen = []

    def look(body, who):
        seen.append((body["messages"], who.user))
        return {"classification": "internal", "pii": ["iban"]}

    with Governor.load(place[0], ledger=place[1], client=api.client(), inspect=look) as gov:
        gov.call(**WHO, max_tokens=50, messages=QUESTION, data={"classification": "secret", "pii": ["name"]})
    assert seen == [(QUESTION, "ada@example.com")]
    assert found(place) == {"classification": "secret", "pii": ["iban", "name"]}


def test_an_async_governor_waits_for_an_async_inspector(place, api):
    """As for a plain one."""

    async def look(body, who):
        await asyncio.sleep(0)
        return {"region": "eu"}

    async def main():
        client = api.async_client()
        async with AsyncGovernor.load(place[0], ledger=place[1], client=client, inspect=look) as gov:
            await gov.call(**WHO, max_tokens=50, messages=QUESTION)
        await client.close()

    asyncio.run(main())
    assert found(place) == {"region": "eu"}


@pytest.mark.parametrize(
    ("answer", "why"),
    [(ValueError(SECRET), "it raised ValueError"), ({"pii": [SECRET]}, "it answered what are no findings")],
)
def test_an_inspector_that_fails_stops_no_call_and_says_nothing_of_the_data(place, api, caplog, answer, why):
    """The record says that the call was not inspected, and why; the log does not repeat what it read."""

    def look(body, who):
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Governor.load(place[0], ledger=place[1], client=api.client(), inspect=look) as gov:
        gov.call(**WHO, max_tokens=50, messages=QUESTION)
    assert found(place) == {"unchecked": why}
    assert "the inspector failed" in caplog.text
    assert "1203" not in caplog.text


def test_a_hash_of_the_content_tells_the_same_question_again(place, api):
    """On by option; the same for every model, another for another question."""
    told = []
    with Governor.load(place[0], ledger=place[1], client=api.client(), hash_content=True) as gov:
        for text, most in ((SECRET, 50), (SECRET, 60), ("Why?", 50)):
            gov.call(**WHO, max_tokens=most, messages=[{"role": "user", "content": text}])
            told.append(found(place)["content"])
    assert told[0] == told[1] != told[2]
    assert all(len(one) == 64 for one in told)


@pytest.mark.parametrize(
    "data",
    [
        "secret",
        {"colour": "red"},
        {"pii": "email"},
        {"pii": ["ada@example.com"]},
        {"region": 7},
        {"pii": [""]},
    ],
)
def test_data_that_is_none_is_refused_without_repeating_it(place, api, data):
    """Nothing is held or sent; an address where a kind should be is not in the message."""
    with Governor.load(place[0], ledger=place[1], client=api.client()) as gov:
        with pytest.raises(PolicyViolation, match="data") as refused:
            gov.call(**WHO, max_tokens=50, messages=QUESTION, data=data)
        assert "ada@" not in str(refused.value)
        with pytest.raises(PolicyViolation):
            governor.attribute(data=data)
    assert read_findings(None).as_json() == {}
