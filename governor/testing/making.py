"""Governors for tests: a policy, the fake API, a ledger in memory and a frozen clock, put together."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor.clients.aio import AsyncGovernor
from governor.clients.governor import Governor
from governor.policy.load import is_policy_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from governor.testing.fake_api import FakeClaude

    PolicySource = str | Path | Mapping[str, str]


class _Maker:
    """What governors of one test share.

    Args:
        api: The API that they call.
        ledger: The URL of their ledger.
        clock: Unix milliseconds.
        folder: Where texts of policies are written, and the spools.
    """

    def __init__(self, api: FakeClaude, ledger: str, clock: Callable[[], int], folder: Path) -> None:
        self._api = api
        self._shared = {"ledger": ledger, "clock": clock, "spool": folder / "spool"}
        self._folder = folder

    def _path(self, policies: PolicySource | None) -> str | Path | None:
        """Where *policies* are; texts are written to a folder of their own first."""
        if isinstance(policies, str) and "\n" in policies:
            policies = {"policy.yaml": policies}
        if not isinstance(policies, Mapping):
            return policies
        odd = next((name for name in policies if Path(name).name != name or not is_policy_name(name)), None)
        if odd is not None:
            raise ValueError(f"{odd!r} is no policy file's name: write {{'legal.yaml': …}}")
        folder = Path(tempfile.mkdtemp(prefix="policies-", dir=self._folder))
        for name, text in policies.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder


class MakeGovernor(_Maker):
    """Makes governors that share one fake API, one ledger and one clock: the fixture `make_governor`."""

    def __init__(self, api: FakeClaude, ledger: str, clock: Callable[[], int], folder: Path) -> None:
        super().__init__(api, ledger, clock, folder)
        self._made: list[Governor] = []

    def __call__(self, policies: PolicySource | None = None, **options: Any) -> Governor:
        """A governor, closed after the test.

        Args:
            policies: A text of several lines, texts by file name, or where they are; else, as
                `Governor.load`, `GOVERNOR_POLICIES` or `policies/`.
            options: Other arguments of `Governor.load`, in place of the fixture's or beside them.

        Raises:
            PolicyError: A file is malformed or missing.
            ValueError: A name in *policies* is no policy file's.
        """
        client = options.pop("client", None) or self._api.client()
        made = Governor.load(self._path(policies), client=client, **{**self._shared, **options})
        self._made.append(made)
        return made

    def close(self) -> None:
        """Close every governor made here."""
        for governor in self._made:
            governor.close()
        self._made.clear()


class MakeAsyncGovernor(_Maker):
    """The same for an event loop: the fixture `make_async_governor`."""

    @asynccontextmanager
    async def __call__(
        self, policies: PolicySource | None = None, **options: Any
    ) -> AsyncIterator[AsyncGovernor]:
        """`async with make_async_governor(policies) as gov`; closed where the block ends.

        Arguments and errors are those of `MakeGovernor`; a client that is given stays open.
        """
        path = self._path(policies)
        given = options.pop("client", None)
        async with (
            self._api.async_client() if given is None else nullcontext(given) as client,
            AsyncGovernor.load(path, client=client, **{**self._shared, **options}) as governor,
        ):
            yield governor
