"""What is said of a request's data: how secret it is, where it may be, whose it tells. Pure.

Kinds and names only, never the data: the words are as short and plain as identifiers, so that no address and
no number of anybody's gets into the journal by way of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from governor.errors import PolicyViolation

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")
_NAMES = ("classification", "region", "pii")

MOST_KINDS = 32
"""So many kinds of personal data are kept of one request."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the caller, or an inspector, says of a request's data.

    Attributes:
        classification: How secret it is, in the company's words: `confidential`; or ''.
        region: Where it belongs: `eu`; or ''.
        pii: What kinds of personal data are in it, sorted: `email`, `iban`.
        unchecked: Why the inspector did not say anything; or ''.
    """

    classification: str = ""
    region: str = ""
    pii: tuple[str, ...] = ()
    unchecked: str = ""

    def plus(self, other: Findings) -> Findings:
        """Both: what this one says goes first, and every kind that either found."""
        return Findings(
            self.classification or other.classification,
            self.region or other.region,
            tuple(sorted({*self.pii, *other.pii})),
            self.unchecked or other.unchecked,
        )

    def as_json(self) -> dict[str, Any]:
        """What there is to say, for a record."""
        told = {
            "classification": self.classification,
            "region": self.region,
            "pii": list(self.pii),
            "unchecked": self.unchecked,
        }
        return {name: value for name, value in told.items() if value}


def read_findings(said: object) -> Findings:
    """Findings as somebody wrote them: a mapping of some of `classification`, `region` and `pii`.

    Raises:
        PolicyViolation: It is none. What it has in it is not repeated: it may be the data itself.
    """
    if said is None:
        return Findings()
    if isinstance(said, Findings):
        return said
    if not isinstance(said, Mapping):
        raise PolicyViolation(
            f"data is a {type(said).__name__}: give a mapping such as "
            "{'classification': 'confidential', 'region': 'eu', 'pii': ['email']}"
        )
    if any(name not in _NAMES for name in said):
        raise PolicyViolation(f"data has a name that is none of {', '.join(_NAMES)}: correct it")
    kinds = said.get("pii") or ()
    if isinstance(kinds, str) or not isinstance(kinds, Iterable):
        raise PolicyViolation("data has pii that is no list: give kinds, such as ['email', 'iban']")
    listed = tuple(sorted({_word("pii", kind) for kind in kinds}))
    if len(listed) > MOST_KINDS:
        raise PolicyViolation(f"data has {len(listed)} kinds of pii, and {MOST_KINDS} are kept: name fewer")
    return Findings(
        _word("classification", said.get("classification") or ""),
        _word("region", said.get("region") or ""),
        listed,
    )


def _word(name: str, value: object) -> str:
    if value == "" and name != "pii":
        return ""
    if not isinstance(value, str) or _WORD.fullmatch(value) is None:
        raise PolicyViolation(
            f"data has a {name} that is no plain word (a letter, then up to 63 of a-z, A-Z, 0-9, _ . : -): "
            "give its kind, never the data itself"
        )
    return value
