"""Which models would do for a request, in which order?"""

from governor.routing.candidates import AUTO, Candidate, plan
from governor.routing.lines import LINES, at_or_below, rank

__all__ = ["AUTO", "LINES", "Candidate", "at_or_below", "plan", "rank"]
