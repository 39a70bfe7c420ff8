"""Who may spend what? Policy files in, budgets and rules of one request out."""

from __future__ import annotations

from governor.policy.load import load
from governor.policy.resolve import Policies
from governor.policy.terms import LINES, Attribution, BudgetRow, BudgetTerm, Notice, Rules

__all__ = ["LINES", "Attribution", "BudgetRow", "BudgetTerm", "Notice", "Policies", "Rules", "load"]
