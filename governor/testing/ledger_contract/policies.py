"""Contract: policies that are pushed to the ledger: versions, who made them, and what is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.errors import LedgerUnavailable, ReservationConflict
from governor.journal.records import administration
from governor.ledger import commands as c
from governor.ledger.policies import KEPT_TEXTS, MOST_BYTES

if TYPE_CHECKING:
    from governor.ledger import Ledger
    from governor.testing.ledger_contract.bench import Bench

FILES = {"organization.yaml": "version: 1\n", "legal.yaml": "# naïve: {é}\nversion: 1\n"}


def push(name: str, base: int, files: dict[str, str] | None = None, digest: str = "abc") -> c.PushPolicies:
    """A push by ada."""
    return c.PushPolicies(name, base, FILES if files is None else files, digest, administration("ada", "why"))


class PoliciesContract:
    """Pushing, reading back, rolling back and withdrawing."""

    def test_nothing_was_pushed_to_a_new_ledger(self, bench: Bench) -> None:
        """There is no newest version, no version, and no list."""
        assert bench.ledger.execute(c.ReadPolicyHead()) is None
        assert bench.ledger.execute(c.ReadPolicies()) is None
        assert bench.ledger.execute(c.ReadPolicies(1)) is None
        assert bench.ledger.execute(c.ListPolicyVersions()) == ()

    def test_what_was_pushed_is_read_back(self, bench: Bench) -> None:
        """The texts come back as they were, with who pushed them, when, why and their hash."""
        made = bench.ledger.execute(push("p1", 0))
        assert isinstance(made, c.PolicyVersion)
        assert (made.version, made.at_ms, made.what, made.hash) == (1, bench.clock.now_ms, "push", "abc")
        assert (made.actor, made.reason, made.withdrawn) == ("ada", "why", False)
        assert bench.ledger.execute(c.ReadPolicyHead()) == c.PolicyHead(1, "p1")
        whole = c.PushedPolicies(made, FILES)
        assert bench.ledger.execute(c.ReadPolicies()) == bench.ledger.execute(c.ReadPolicies(1)) == whole
        assert bench.ledger.execute(c.ReadPolicies(2)) is None

    def test_a_push_is_one_record(self, bench: Bench) -> None:
        """The journal says which version, what it was based on, its hash, and who and why."""
        for command in (push("p1", 0), push("p1", 0), c.PushPolicies("w", 1, {})):
            bench.ledger.execute(command)
        found = [entry for entry in bench.ledger.execute(c.ReadJournal()) if entry.kind == "policy"]
        assert [(entry.id, entry.outcome, entry.detail) for entry in found] == [
            ("p1", "push", "version=1 base=0 hash=abc of=0"),
            ("w", "withdraw", "version=2 base=1 hash= of=0"),
        ]
        assert found[0].record == administration("ada", "why")

    def test_a_repeated_push_changes_nothing(self, bench: Bench) -> None:
        """The same id gives the same answer, later versions or not; with other texts it is a conflict."""
        made = bench.ledger.execute(push("p1", 0))
        bench.clock.advance(1000)
        bench.ledger.execute(push("p2", 1, {"a.yaml": "x"}))
        assert bench.ledger.execute(push("p1", 0)) == made
        assert bench.ledger.execute(c.ReadPolicyHead()) == c.PolicyHead(2, "p2")
        with pytest.raises(ReservationConflict, match="p1"):
            bench.ledger.execute(push("p1", 0, {"a.yaml": "other"}))

    def test_a_push_that_was_overtaken_changes_nothing(self, bench: Bench) -> None:
        """Based on a version that is not the newest any more, it is told which one is."""
        assert bench.ledger.execute(push("early", 3)) == c.Overtaken(None)
        first = bench.ledger.execute(push("p1", 0))
        assert isinstance(first, c.PolicyVersion)
        assert bench.ledger.execute(push("p2", 0, {"a.yaml": "x"})) == c.Overtaken(first)
        assert bench.ledger.execute(c.ReadPolicies()) == c.PushedPolicies(first, FILES)

    def test_every_change_is_a_version(self, bench: Bench) -> None:
        """A rollback has the old texts under a new number; a withdrawal has none."""
        for command in (
            push("p1", 0),
            push("p2", 1, {"a.yaml": "x"}, "def"),
            c.PushPolicies("r", 2, FILES, "abc", of=1),
            c.PushPolicies("w", 3, {}),
        ):
            bench.ledger.execute(command)
        listed = bench.ledger.execute(c.ListPolicyVersions())
        assert [(one.version, one.what, one.hash, one.of) for one in listed] == [
            (4, "withdraw", "", 0),
            (3, "rollback", "abc", 1),
            (2, "push", "def", 0),
            (1, "push", "abc", 0),
        ]
        assert bench.ledger.execute(c.ListPolicyVersions(2)) == listed[:2]
        assert bench.ledger.execute(c.ReadPolicies()) == c.PushedPolicies(listed[0], {})
        assert bench.ledger.execute(c.ReadPolicies(3)) == c.PushedPolicies(listed[1], FILES)

    def test_the_texts_of_the_newest_versions_are_kept(self, bench: Bench) -> None:
        """Older ones lose their texts and keep their place in the list; numbers go on."""
        for base in range(KEPT_TEXTS + 2):
            bench.ledger.execute(push(f"p{base}", base))
        for version, files in ((1, None), (2, None), (3, FILES), (KEPT_TEXTS + 2, FILES)):
            found = bench.ledger.execute(c.ReadPolicies(version))
            assert found is not None
            assert found.files == files
        assert len(bench.ledger.execute(c.ListPolicyVersions(1000))) == KEPT_TEXTS + 2

    def test_a_version_is_1_mib_at_most(self, bench: Bench) -> None:
        """So many bytes are kept as they are; more cannot be asked for."""
        most = {"a.yaml": "x" * (MOST_BYTES - len('{"a.yaml":""}'))}
        assert isinstance(bench.ledger.execute(push("p1", 0, most)), c.PolicyVersion)
        found = bench.ledger.execute(c.ReadPolicies())
        assert found is not None
        assert found.files == most
        with pytest.raises(ValueError, match=r"1,048,577 bytes"):
            push("p2", 1, {"a.yaml": most["a.yaml"] + "x"})

    def test_a_store_that_was_never_created_takes_no_push(self, empty_ledger: Ledger) -> None:
        """As it takes no hold."""
        with pytest.raises(LedgerUnavailable):
            empty_ledger.execute(push("p1", 0))
