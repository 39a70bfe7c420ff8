"""The policies that simulations run under. A scene is one folder of files and how its calls come.

A new kind of window or a new posture is simulated by adding a scene here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.policy import Policies, load
from support.governed import LADDER, NOON_MS, department, usd

if TYPE_CHECKING:
    from pathlib import Path

SONNET_CEILING = 1_166_000
"""Nano-dollars that one of the simulations' requests (19 tokens in, 100 out) may cost on Sonnet, about."""


@dataclass(frozen=True)
class Scene:
    """Policies and the calls that come under them.

    Attributes:
        name: For messages.
        team: The department's file.
        organization: What the organisation's file has besides its name.
        calls: How many in one run.
        spread_s: Over how many seconds they begin.
        max_wait_s: As the department's file says.
        feature: Of every call, if any.
        start_ms: The ledger's clock at the beginning.
        step_ms: A step takes less than this.
    """

    name: str
    team: dict[str, Any]
    organization: dict[str, Any] | None = None
    calls: int = 14
    spread_s: float = 20.0
    max_wait_s: float = 1.0
    feature: str | None = None
    start_ms: int = NOON_MS
    step_ms: int = 3

    def load(self, folder: Path) -> Policies:
        """Write the files into *folder* and read them as the governor does."""
        folder.mkdir()
        shared = {"version": 1, "organization": self.name, **(self.organization or {})}
        for file, content in (("organization", shared), ("team", self.team)):
            (folder / f"{file}.yaml").write_text(json.dumps(content), encoding="utf-8")
        return load(folder)


def _waits(seconds: float) -> dict[str, Any]:
    return {"when_contended": {"max_wait": seconds}}


LADDER_SCENE = Scene(
    "ladder",
    department(
        {"per": "department", "usd": usd(5 * SONNET_CEILING), "window": "life"},
        {"per": "user", "concurrent": 3},
        {"per": "user", "requests": 100, "window": "life"},
        thresholds=LADDER,
        routing=_waits(1),
        estimate="auto",
    ),
)

WINDOWS_SCENE = Scene(
    "windows",
    department(
        {"per": "department", "usd": usd(6 * SONNET_CEILING), "window": "hour"},
        {"per": "user", "usd": usd(4 * SONNET_CEILING), "window": "minute"},
        {"per": "user", "requests": 4, "window": "minute"},
        {"per": "user", "tokens": 900, "window": "day"},
        timezone="Europe/Berlin",
        thresholds={"50%": "warn", "70%": {"downgrade": "sonnet"}, "90%": ["warn", {"downgrade": "haiku"}]},
        routing=_waits(2),
    ),
    {
        "timezone": "America/New_York",
        "budgets": [{"per": "organization", "usd": usd(20 * SONNET_CEILING), "window": "month"}],
        "thresholds": {"30%": "warn", "60%": "warn"},
    },
    spread_s=90.0,
    max_wait_s=2.0,
    start_ms=1_796_075_970_000,  # 2026-11-30, half a minute before midnight in Berlin, of the last of a month
)

GIVEN_BACK_SCENE = Scene(
    "given-back",
    department(
        {"per": "user", "usd": usd(7 * SONNET_CEILING), "window": "day"},
        {"per": "feature", "usd": usd(9 * SONNET_CEILING), "window": "week"},
        {"per": "run", "usd": usd(3 * SONNET_CEILING)},
        {"per": "model", "name": "claude-opus-5-5", "requests": 3, "window": "hour"},
        {"per": "department", "concurrent": 5},
        thresholds={"40%": "warn", "80%": {"downgrade": "haiku"}},
        routing={**_waits(1), "floors": {"opus": usd(2 * SONNET_CEILING), "sonnet": usd(SONNET_CEILING)}},
        on_expiry="release",
        features={"review": {"max_tokens": 120}},
    ),
    feature="review",
)

QUEUE_SCENE = Scene(
    "queue",
    department(
        {"per": "department", "usd": 1, "window": "day"},
        {"per": "department", "concurrent": 2},
        {"per": "user", "tokens": 100_000, "window": "hour"},
        routing=_waits(1.5),
        estimate="auto",
    ),
    calls=12,
    spread_s=6.0,
    max_wait_s=1.5,
)

ROLLING_SCENE = Scene(
    "rolling",
    department(
        {"per": "department", "usd": usd(6 * SONNET_CEILING), "window": "rolling 1h"},
        {"per": "user", "usd": usd(3 * SONNET_CEILING), "window": "rolling 1m"},
        {"per": "user", "requests": 5, "window": "rolling 1m"},
        thresholds=LADDER,
        routing=_waits(1),
    ),
    spread_s=90.0,
)

SCENES = (LADDER_SCENE, WINDOWS_SCENE, GIVEN_BACK_SCENE, QUEUE_SCENE, ROLLING_SCENE)

CROWD_SCENE = Scene(
    "crowd",
    department(
        {"per": "department", "usd": usd(700 * SONNET_CEILING), "window": "day"},
        {"per": "department", "concurrent": 300},
        {"per": "user", "requests": 600, "window": "hour"},
        thresholds=LADDER,
        routing=_waits(2),
        estimate="auto",
    ),
    calls=2_000,
    spread_s=2.0,
    max_wait_s=2.0,
    step_ms=1,
)
"""Everybody at once; not among the scenes that every seed may get."""
