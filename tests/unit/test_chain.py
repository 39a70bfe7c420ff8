"""The chain of an archive's hashes: every field counts, and findings may go without breaking it."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from governor.journal.chain import join, link, split
from governor.ledger.commands import JournalEntry

ENTRY = JournalEntry("17-3", "reserve", "call-1", 1_795_176_000_000, "held", "0 1:2:3:0", '{"v":1}')
text = st.text(max_size=12)
values = st.recursive(st.none() | st.integers() | text, lambda x: st.lists(x, max_size=3), max_leaves=4)
tags = st.dictionaries(text | st.just("findings"), text, max_size=3)


def dumped(**record):
    """A record as the flow writes it."""
    return json.dumps(record, separators=(",", ":"))


def chained(entry=ENTRY, *, before="b", org="acme", epoch="e", after="17-2", found="f", key=b""):
    """The hash of a record."""
    return link(before, org, epoch, entry, after, found, key)


@given(tags, st.dictionaries(text, values, max_size=3))
def test_findings_are_cut_out_and_put_back_to_the_byte(some_tags, findings):
    """Whatever a caller names their tags, the record is whole again, and what is kept has none of it."""
    record = dumped(v=1, tags=some_tags, findings=findings)
    parts = split(record)
    assert json.loads(parts.findings) == findings
    assert json.loads(parts.record) == {"v": 1, "tags": some_tags}
    assert join(parts.record, parts.findings) == record


@given(tags, text)
def test_a_record_without_findings_is_left_as_it_is(some_tags, more):
    """A tag of that name, or text that looks like it, is not taken for findings."""
    for record in (dumped(v=1, tags=some_tags), dumped(a=f',"findings":{more}', tags=some_tags), more):
        assert split(record) == (record, None)
        assert join(record, None) == record


def test_every_field_changes_the_hash():
    """No field, neighbour or key may be another one."""
    others = [
        *(chained(replace(ENTRY, **{name: f"{getattr(ENTRY, name)}x"})) for name in ("seq", "kind", "id")),
        *(chained(replace(ENTRY, **{name: "other"})) for name in ("outcome", "detail", "record")),
        chained(replace(ENTRY, at_ms=ENTRY.at_ms + 1)),
        *(chained(**{name: "other"}) for name in ("before", "org", "epoch", "after", "found")),
        chained(after=None),
        chained(found=None),
        chained(key=b"secret"),
    ]
    assert len({chained(), *others}) == len(others) + 1


def test_fields_cannot_be_moved_into_one_another():
    """What ends one field and begins the next counts."""
    one = replace(ENTRY, outcome="ab", detail="c")
    other = replace(ENTRY, outcome="a", detail="bc")
    assert chained(one) != chained(other)
