"""Commands that are imported when they are asked for: a line imports its own, and not all there are."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.examples import epilog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Makers = Mapping[str, Callable[[], Any]]


class Commands(MutableMapping[str, Any]):
    """A group's commands by name, each made when it is first looked up.

    Args:
        makers: What makes each, in the order of `--help`.
    """

    def __init__(self, makers: Makers) -> None:
        self._makers = dict(makers)
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command
        self._makers.setdefault(name, lambda: command)

    def __delitem__(self, name: str) -> None:
        del self._makers[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        return name in self._makers


def command(place: str, *path: str) -> Callable[[], Any]:
    """What makes one command.

    Args:
        place: Its function, as `report.today`: a module of `governor.cli`, and the name there.
        path: What is typed: `report`, `today`.
    """

    def make() -> Any:
        module, _, name = place.partition(".")
        alone = typer.Typer(add_completion=False)
        alone.command(path[-1], epilog=epilog(*path))(getattr(import_module(f"governor.cli.{module}"), name))
        return typer.main.get_command(alone)

    return make


def group(name: str, about: str, places: Mapping[str, str]) -> Callable[[], Any]:
    """What makes a group of commands; see `command`."""

    def make() -> Any:
        made = typer.main.get_group(typer.Typer(name=name, no_args_is_help=True, help=about))
        made.commands = Commands({verb: command(place, name, verb) for verb, place in places.items()})
        return made

    return make
