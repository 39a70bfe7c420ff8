"""The stages on which faults are played."""

from support.stages import shared_api, stage

__all__ = ["shared_api", "stage"]
