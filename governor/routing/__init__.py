"""Which models would do for a request, in which order?"""

from governor.routing.candidates import AUTO, Candidate, plan
from governor.routing.complexity import Complexity, score
from governor.routing.fit import Fitted, Unfit, fit
from governor.routing.limits import read as rate_limits
from governor.routing.lines import LINES, at_or_below, rank
from governor.routing.prefer import line_of, roomy
from governor.routing.traffic import Heard, Traffic
from governor.routing.value import best

__all__ = [
    "AUTO",
    "LINES",
    "Candidate",
    "Complexity",
    "Fitted",
    "Heard",
    "Traffic",
    "Unfit",
    "at_or_below",
    "best",
    "fit",
    "line_of",
    "plan",
    "rank",
    "rate_limits",
    "roomy",
    "score",
]
