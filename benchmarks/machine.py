"""Where the figures were measured."""

from __future__ import annotations

import datetime as dt
import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path


def facts(redis_version: str) -> dict[str, str]:
    """The machine and the versions, as words, in the order in which they are shown."""
    load = f"{os.getloadavg()[0]:.1f}"
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "system": f"{platform.system()} {platform.machine()}",
        "load before": load,
        "python": platform.python_version(),
        "redis": redis_version,
        "sqlite": sqlite3.sqlite_version,
        "claude-governor": version("claude-governor"),
        "anthropic": version("anthropic"),
        "redis-py": version("redis"),
        "hiredis": version("hiredis"),
    }


def sentence(known: dict[str, str]) -> str:
    """The facts in one line."""
    return ", ".join(f"{name} {value}" for name, value in known.items())


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
