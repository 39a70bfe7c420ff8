"""`python -m governor.cli` is the `governor` command."""

from __future__ import annotations

from governor.cli.app import main

main()
