"""The figures on the terminal, as JSON, and as the README's tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.machine import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console

    from benchmarks.timing import Result

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def show(console: Console, results: Iterable[Result], machine: dict[str, str]) -> None:
    """Print one table per result, and the machine below them."""
    for result in results:
        table = Table(title=result.title, title_justify="left", title_style="bold")
        for index, column in enumerate(result.columns):
            table.add_column(column, justify="right" if index else "left")
        for row in result.rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    console.print(sentence(machine))


def write_json(path: Path, results: Sequence[Result], machine: dict[str, str]) -> None:
    """Write every figure, unrounded, in seconds, ratios or per second."""
    figures = {result.title: result.figures for result in results}
    path.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n", encoding="utf-8")


def write_markdown(path: Path, results: Iterable[Result], machine: dict[str, str]) -> None:
    """Put the tables in place of what stands between the two marks in *path*.

    Raises:
        ValueError: The file lacks the marks.
    """
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for the tables: put {BEGIN} and {END} on lines of their own")
    tables = "\n\n".join(_markdown(result) for result in results)
    path.write_text(f"{head}{BEGIN}\n\n{tables}\n\n{_wrapped(machine)}\n\n{END}{tail}", encoding="utf-8")


def _markdown(result: Result) -> str:
    heads = (result.title, *result.columns[1:]) if not result.columns[0] else result.columns
    lines = [heads, tuple(["---"] + ["---:"] * (len(heads) - 1)), *result.rows]
    title = f"{result.title}:\n\n" if result.columns[0] else ""
    return title + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _wrapped(machine: dict[str, str]) -> str:
    return f"Measured on: {sentence(machine)}."
