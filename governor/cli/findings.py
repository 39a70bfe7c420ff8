"""What `governor doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, WRONG = "ok", "note", "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        state: `ok`, `note` (worth knowing) or `wrong`.
        about: What was looked at.
        text: What was found.
        advice: What to do; may be empty.
    """

    state: str
    about: str
    text: str
    advice: str = ""
