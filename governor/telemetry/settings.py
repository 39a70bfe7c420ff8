"""What an application may say of its telemetry."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.errors import PolicyViolation

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

LABELS_VARIABLE = "GOVERNOR_METRIC_LABELS"
MAY_BE = ("user", "run", "priority", "tier", "endpoint")


def _labels() -> tuple[str, ...]:
    words = os.environ.get(LABELS_VARIABLE, "").replace(",", " ").split()
    return tuple(words)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What an application may say of its telemetry: `Governor.load(telemetry=Telemetry(labels=["user"]))`.

    Attributes:
        labels: More labels of the governor's own metrics: `user`, `run`, `priority`, `tier`, `endpoint`, or
            `tag:NAME`. Each value of each makes series of its own, which is why users and runs are none
            unless asked for. Default: those named in `GOVERNOR_METRIC_LABELS`, else none.
        spans: Whether calls are told to traces.
        metrics: Whether calls are told to metrics.
        tracer_provider: Of OpenTelemetry; `None`: the one registered in the process, if any.
        meter_provider: The same for metrics.

    Raises:
        PolicyViolation: A label is none of these.
    """

    labels: tuple[str, ...] = field(default_factory=_labels)
    spans: bool = True
    metrics: bool = True
    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        for label in self.labels:
            if label not in MAY_BE and not (label.startswith("tag:") and label != "tag:"):
                raise PolicyViolation(
                    f"{label!r} is no label of a metric: use {', '.join(MAY_BE)} or tag:NAME in "
                    f"Telemetry(labels=…) or {LABELS_VARIABLE}; department and feature are labels already"
                )
