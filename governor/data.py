"""Where the data files are: inside the installed package, or at the root of a checkout."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_CHECKOUT = Path(__file__).resolve().parent.parent


def data_file(name: str) -> Path | Traversable:
    """Find a data file or folder that ships with the governor.

    A wheel carries `pricing/` and `policies/` under `governor/_data/`; a checkout has them at its root. The
    wheel's place is tried first.

    Args:
        name: A path with forward slashes below either place, for example `pricing/anthropic.yaml`.

    Raises:
        FileNotFoundError: Neither place has it; the message names both.
    """
    packaged = files("governor").joinpath(f"_data/{name}")
    if packaged.is_file() or packaged.is_dir():
        return packaged
    checkout = _CHECKOUT / name
    if checkout.exists():
        return checkout
    raise FileNotFoundError(
        f"{name} ships with claude-governor but is neither {packaged} nor {checkout}; reinstall the package"
    )
