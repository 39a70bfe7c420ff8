"""What `import governor` adds to a program that imports the SDK anyway."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.timing import Options, Result, Step, micros, times

REPETITIONS = 15
STATEMENTS = {
    "import anthropic": "import anthropic",
    "import governor": "import governor",
    "import governor; governor.Governor": "import governor; governor.Governor",
    "import anthropic; anthropic.Anthropic": "import anthropic; anthropic.Anthropic",
}
_PROGRAM = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def steps(options: Options) -> int:
    """How many steps `imports` will tell."""
    return options.times(REPETITIONS) * len(STATEMENTS)


def imports(options: Options, step: Step) -> Result:
    """Each statement in a fresh interpreter, in turns; the time is taken inside it."""
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(options.times(REPETITIONS)):
        for name, statement in STATEMENTS.items():
            command = [sys.executable, "-c", _PROGRAM.format(statement)]
            shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds[name].append(float(shown))
            step()
    yardstick = median(seconds["import anthropic"])
    result = Result("Import, median of fresh interpreters", ("", "p50", "against import anthropic"))
    for name, measured in seconds.items():
        result.rows.append((f"`{name}`", micros(median(measured)), times(median(measured) / yardstick)))
        result.figures[f"{name}.p50_s"] = median(measured)
    return result
