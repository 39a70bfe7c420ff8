"""Write docs/commands.md from what the commands say of themselves; with --check, only compare it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.app import app
from governor.cli.context import JSON, LEDGER, POLICIES, PRICES
from governor.cli.examples import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

HEAD = """\
# The `governor` command

Made by `make docs` from what `--help` says; a test holds the two equal.

Every command that prints data takes `--json`: one JSON document on stdout, `{"error": …}` where it failed.
Messages go to stderr. Commands that cannot be taken back ask first, or take `--yes`.

| exit code | means                                                   |
| --------- | ------------------------------------------------------- |
| 0         | ok                                                      |
| 1         | failure                                                 |
| 2         | usage: an argument that cannot be meant                 |
| 3         | invalid policy or prices, with file, line and column    |
| 4         | refused: by a budget, a policy, or a rule of the ledger |
| 130       | interrupted                                             |

## Completion

```console
governor --install-completion        # for the shell that runs it: bash 4.4 or newer, zsh, fish
governor --show-completion           # the same script, to put where you keep yours
```

It holds in every shell opened afterwards. Commands and options complete, and so do values: departments, users
and budgets as the policy files tell them (`--policies`, else GOVERNOR_POLICIES, else `policies/`), policy
files, and time zones. No ledger is asked, so a user or a tag that the files do not name is not offered.

## Options of many commands

"""

SHARED = {"policies": POLICIES, "ledger": LEDGER, "prices": PRICES, "as_json": JSON}
"""Options that are told once, where a command has them with the same text."""


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every group and command that is not hidden, with the words it is called by; the whole command first."""
    found = typer.main.get_command(app) if group is None else group
    yield path, found
    for name, inner in getattr(found, "commands", {}).items():
        if not inner.hidden:
            yield from commands(inner, (*path, name))


def parameters(command: Any) -> tuple[list[Any], list[Any]]:
    """A command's arguments and its options, those that are hidden left out."""
    found = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [param for param in found if param.param_type_name == "argument"]
    return arguments, [param for param in found if param.param_type_name == "option"]


def page() -> str:
    """The whole page."""
    parts = [HEAD + _shared()]
    for path, command in commands():
        if not path:
            continue
        title = f"governor {' '.join(path)}"
        if hasattr(command, "commands"):
            parts.append(f"## {title}\n\n{_text(command.help)}\n")
            continue
        level = "##" if len(path) == 1 else "###"
        parts.append(
            f"{level} {title}\n\n{_text(command.help)}\n\n{_usage(title, command)}{_tables(command)}"
        )
    return "\n".join(parts)


def _text(text: str | None) -> str:
    """Paragraphs, as the command's own text has them."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _usage(title: str, command: Any) -> str:
    arguments, _ = parameters(command)
    words = [title, "[OPTIONS]", *(_argument(param) for param in arguments)]
    example = EXAMPLES.get(title.removeprefix("governor "), "")
    return f"```text\n{' '.join(words)}\n```\n" + (f"\n```console\n{example}\n```\n" if example else "")


def _name(param: Any) -> str:
    return (param.metavar or param.name.upper()).strip("[].…")


def _argument(param: Any) -> str:
    name = _name(param) + ("…" if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _tables(command: Any) -> str:
    arguments, options = parameters(command)
    own = [param for param in options if not _is_shared(param)]
    rows = [(_argument(param), _cell(param)) for param in arguments]
    rows += [(_option(param), _cell(param)) for param in own]
    also = ", ".join(f"`{param.opts[0]}`" for param in options if param not in own)
    return ("\n" + _table(rows) if rows else "") + (f"\nAlso {also}.\n" if also else "")


def _is_shared(param: Any) -> bool:
    return param.name in SHARED and param.help == SHARED[param.name].help


def _shared() -> str:
    """The table of the options that many commands have."""
    found: dict[str, Any] = {}
    for _, command in commands():
        found.update({param.name: param for param in parameters(command)[1] if _is_shared(param)})
    return _table([(_option(found[name]), _cell(found[name])) for name in SHARED])


def _table(rows: list[tuple[str, str]]) -> str:
    cells = [(f"`{name}`".replace("|", "\\|"), text) for name, text in rows]
    width = max(len(name) for name, _ in cells)
    lines = [f"| {'':{width}} | means |", f"| {'-' * width} | ----- |"]
    return "\n".join([*lines, *(f"| {name:{width}} | {text} |" for name, text in cells)]) + "\n"


def _option(param: Any) -> str:
    names = ", ".join([*param.opts, *param.secondary_opts])
    return names if param.is_flag else f"{names} {param.metavar or param.name.upper()}"


def _cell(param: Any) -> str:
    notes = []
    if param.param_type_name == "option" and param.required:
        notes.append("required")
    if param.envvar:
        notes.append(f"environment: {param.envvar}")
    if param.show_default and not getattr(param, "is_flag", False) and param.default not in (None, "", ...):
        notes.append(f"default: `{param.default}`")
    text = " ".join((param.help or "").split()).replace("|", "\\|")
    return text + (f" ({'; '.join(notes)})" if notes else "")


def main() -> int:
    """Write the page, or with --check look whether it is current."""
    made = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == made:
        return 0
    print("docs/commands.md is not what the commands say now: run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
