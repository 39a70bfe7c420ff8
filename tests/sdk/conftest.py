"""The stages on which governed calls are tested."""

from support.stages import shared_api, stage

__all__ = ["shared_api", "stage"]
