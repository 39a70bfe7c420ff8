"""When it is at the fake API of the unit tests, and tools that run at the API."""

from __future__ import annotations

NOW_MS = 1_795_228_230_000  # 2026-11-21T02:30:30Z
SEARCH = {"type": "web_search_20260318", "name": "web_search"}
FETCH = {"type": "web_fetch_20260318", "name": "web_fetch"}
CODE = {"type": "code_execution_20260521", "name": "code_execution"}
FIND = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
