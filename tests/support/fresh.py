"""Programs run as by an interpreter of their own, but one that has loaded the SDK already.

To load the SDK takes longer than most of what the pages and examples do with it. A process loads it once, and
each program is run in a fork of that process, and ends as any interpreter does. `governor` is loaded anew.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Done:
    """How a program ended, and what it wrote."""

    code: int
    out: str
    err: str


class Fresh:
    """Runs programs, as a context manager; one at a time."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Done:
        """Run Python with these *arguments*: `-c code`, `-m module …` or a file.

        Raises:
            TimeoutError: It did not end in two minutes; nothing more can be run.
        """
        out, err = (folder.parent / f"{folder.name}.{name}" for name in ("out", "err"))
        job = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**job, "out": str(out), "err": str(err)}) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], TIMEOUT_S)
        if not ready:
            raise TimeoutError(f"{arguments[-1]} did not end in {TIMEOUT_S:.0f} s: {err.read_text('utf-8')}")
        return Done(int(self._process.stdout.readline()), out.read_text("utf-8"), err.read_text("utf-8"))


def _serve() -> dict[str, str] | None:
    """In the process that forks: wait for jobs; in a fork of it: the job."""
    import anthropic.types.beta  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return json.loads(line)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    return None


def _become(job: dict[str, str]) -> None:
    """Take on the job's surroundings, and run it as the main program."""
    for name, number in ((os.devnull, 0), (job["out"], 1), (job["err"], 2)):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    first, *rest = job["arguments"]
    if first == "-m":
        sys.argv, sys.path[0] = rest, job["folder"]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    code, name = (rest[0], "<string>") if first == "-c" else (Path(first).read_text("utf-8"), first)
    sys.argv, sys.path[0] = [first], "" if first == "-c" else str(Path(first).parent)
    main = types.ModuleType("__main__")
    if first != "-c":
        main.__file__ = name
    sys.modules["__main__"] = main
    exec(compile(code, name, "exec"), main.__dict__)


if __name__ == "__main__" and (found := _serve()) is not None:
    _become(found)
