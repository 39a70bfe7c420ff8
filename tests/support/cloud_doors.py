"""The SDK's clients of the clouds, each with its paths and its names of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.governed import HAIKU

if TYPE_CHECKING:
    from governor.testing import FakeClaude

BEDROCK_HAIKU = f"global.anthropic.{HAIKU}"


@dataclass(frozen=True)
class Door:
    """One cloud's client: the fake's constructors of it, a model's name there, and the path of a message."""

    name: str
    model: str
    path: str
    streamed_path: str = ""

    @property
    def sonnet(self) -> str:
        """Sonnet's name there."""
        return self.model.replace("haiku", "sonnet")

    def client(self, api: FakeClaude, *, is_async: bool, **options: Any) -> Any:
        """A client of the door, without retries."""
        make = getattr(api, f"async_{self.name}_client" if is_async else f"{self.name}_client")
        return make(**{"max_retries": 0, **options})


VERTEX_PATH = f"/v1/projects/fake-project/locations/global/publishers/anthropic/models/{HAIKU}@default"
GATEWAY_PATH = "/v1/projects/fake-project/locations/global/workspaces/wrkspc_fake/invoke/v1/messages"
BEDROCK = Door(
    "bedrock",
    BEDROCK_HAIKU,
    f"/model/{BEDROCK_HAIKU}/invoke",
    f"/model/{BEDROCK_HAIKU}/invoke-with-response-stream",
)
MANTLE = Door("mantle", BEDROCK_HAIKU, "/anthropic/v1/messages")
AWS = Door("aws", HAIKU, "/v1/messages")
VERTEX = Door("vertex", f"{HAIKU}@default", f"{VERTEX_PATH}:rawPredict", f"{VERTEX_PATH}:streamRawPredict")
FOUNDRY = Door("foundry", HAIKU, "/anthropic/v1/messages")
GOOGLE_CLOUD = Door("google_cloud", HAIKU, GATEWAY_PATH)
DOORS = [BEDROCK, MANTLE, AWS, VERTEX, FOUNDRY, GOOGLE_CLOUD]

each_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
