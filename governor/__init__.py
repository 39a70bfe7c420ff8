"""The budget-enforcing cost governor for Anthropic's Claude API.

Names are loaded on first use, so that `import governor` costs next to nothing; their types stand in
`__init__.pyi`.
"""

from importlib import import_module

_HOMES = {
    "clients.aio": ("AsyncGovernor",),
    "clients.attribution": ("attribute",),
    "clients.batch_items": ("Drained",),
    "clients.default": ("acall", "aoutcome", "call", "outcome"),
    "clients.governor": ("Governor",),
    "clients.request": ("Message",),
    "errors": (
        *("BudgetContended", "BudgetExceeded", "Deferred", "GovernorError", "LedgerUnavailable"),
        *("PolicyError", "PolicyViolation", "ReservationConflict", "UnknownModel"),
    ),
    "money": ("Money",),
    "story.decision": (
        "BatchItem",
        "BatchReceipt",
        "BudgetView",
        "CandidateView",
        "Decision",
        "Leg",
        "ModelReplaced",
        "Receipt",
        "ThresholdCrossed",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - derived, so that it cannot drift


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'governor' has no attribute {name!r}")
    return getattr(import_module(f"governor.{_HOME_OF[name]}"), name)
