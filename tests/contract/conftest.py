"""The suite under governor.testing is written with plain asserts; let pytest explain them."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("governor.testing.ledger_contract")
