"""The `governor` command."""

from __future__ import annotations

from governor.cli.app import app, main

__all__ = ["app", "main"]
