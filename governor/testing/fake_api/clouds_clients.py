"""The SDK's clients of the clouds, unmodified, with credentials that only a fake API takes."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import anthropic
    from anthropic.lib.bedrock import (
        AnthropicBedrock,
        AnthropicBedrockMantle,
        AsyncAnthropicBedrock,
        AsyncAnthropicBedrockMantle,
    )
    from anthropic.lib.vertex import AnthropicVertex, AsyncAnthropicVertex

_Client = TypeVar("_Client")

_PROJECT = "fake-project"
_WORKSPACE = "wrkspc_fake"
_AWS_REGION = "us-east-1"
_AWS_CREDENTIALS = ("api_key", "aws_access_key", "aws_secret_key", "aws_profile", "aws_session_token")


def transport() -> dict[str, Any]:
    """Arguments of an HTTP client that talks to loopback only.

    Reading the certificate store costs more than a call; a context without one suits plain HTTP and trusts
    nobody, should a redirect ever lead elsewhere. Proxies of the environment are not used.
    """
    return {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}


class CloudClients:
    """Constructors of clients; each takes any argument of the client's own, which wins over the fake's.

    AWS clients send the key as a bearer token. One that is given `aws_access_key` and `aws_secret_key` signs
    its requests as it always does: the access key is to be the fake's `api_key`, and the signature is not
    verified. Blocking clients are closed by `stop`, async ones by their user. Those of AWS need boto3.
    """

    api_key: str
    _clients: list[Any]
    _vertex_region: str

    @property
    def url(self) -> str:
        """The base URL of the fake API."""
        raise NotImplementedError

    def bedrock_client(self, **options: Any) -> AnthropicBedrock:
        """A client of Bedrock's InvokeModel, the older way, which streams in AWS's binary event stream."""
        from anthropic.lib.bedrock import AnthropicBedrock  # noqa: PLC0415 - loads without the SDK

        return self._blocking(AnthropicBedrock, self._aws("", options))

    def async_bedrock_client(self, **options: Any) -> AsyncAnthropicBedrock:
        """As `bedrock_client`, async."""
        from anthropic.lib.bedrock import AsyncAnthropicBedrock  # noqa: PLC0415 - loads without the SDK

        return self._async(AsyncAnthropicBedrock, self._aws("", options))

    def mantle_client(self, **options: Any) -> AnthropicBedrockMantle:
        """A client of Bedrock's Messages API (Mantle)."""
        from anthropic.lib.bedrock import AnthropicBedrockMantle  # noqa: PLC0415 - loads without the SDK

        return self._blocking(AnthropicBedrockMantle, self._aws("/anthropic", options))

    def async_mantle_client(self, **options: Any) -> AsyncAnthropicBedrockMantle:
        """As `mantle_client`, async."""
        from anthropic.lib.bedrock import AsyncAnthropicBedrockMantle  # noqa: PLC0415 - loads without the SDK

        return self._async(AsyncAnthropicBedrockMantle, self._aws("/anthropic", options))

    def aws_client(self, **options: Any) -> anthropic.AnthropicAWS:
        """A client of Claude Platform on AWS."""
        import anthropic  # noqa: PLC0415 - loads without the SDK

        return self._blocking(anthropic.AnthropicAWS, self._aws("", {"workspace_id": _WORKSPACE, **options}))

    def async_aws_client(self, **options: Any) -> anthropic.AsyncAnthropicAWS:
        """As `aws_client`, async."""
        import anthropic  # noqa: PLC0415 - loads without the SDK

        return self._async(
            anthropic.AsyncAnthropicAWS, self._aws("", {"workspace_id": _WORKSPACE, **options})
        )

    def vertex_client(self, **options: Any) -> AnthropicVertex:
        """A client of Vertex AI.

        Args:
            options: Its arguments. `region="global"` is billed at the global price, any other at the regional
                one; the default is the fake's `vertex_endpoint`.
        """
        from anthropic.lib.vertex import AnthropicVertex  # noqa: PLC0415 - loads without the SDK

        return self._blocking(AnthropicVertex, self._vertex(options))

    def async_vertex_client(self, **options: Any) -> AsyncAnthropicVertex:
        """As `vertex_client`, async."""
        from anthropic.lib.vertex import AsyncAnthropicVertex  # noqa: PLC0415 - loads without the SDK

        return self._async(AsyncAnthropicVertex, self._vertex(options))

    def foundry_client(self, **options: Any) -> anthropic.AnthropicFoundry:
        """A client of Microsoft Foundry, where the deployments are named as the models are."""
        import anthropic  # noqa: PLC0415 - loads without the SDK

        return self._blocking(anthropic.AnthropicFoundry, self._foundry(options))

    def async_foundry_client(self, **options: Any) -> anthropic.AsyncAnthropicFoundry:
        """As `foundry_client`, async."""
        import anthropic  # noqa: PLC0415 - loads without the SDK

        return self._async(anthropic.AsyncAnthropicFoundry, self._foundry(options))

    def google_cloud_client(self, **options: Any) -> anthropic.AnthropicGoogleCloud:
        """A client of Claude on Google Cloud (Anthropic managed)."""
        import anthropic  # noqa: PLC0415 - loads without the SDK

        return self._blocking(anthropic.AnthropicGoogleCloud, self._google_cloud(options))

    def async_google_cloud_client(self, **options: Any) -> anthropic.AsyncAnthropicGoogleCloud:
        """As `google_cloud_client`, async."""
        import anthropic  # noqa: PLC0415 - loads without the SDK

        return self._async(anthropic.AsyncAnthropicGoogleCloud, self._google_cloud(options))

    def _blocking(self, kind: Callable[..., _Client], options: dict[str, Any]) -> _Client:
        import anthropic  # noqa: PLC0415 - loads without the SDK

        if "http_client" not in options:
            options["http_client"] = anthropic.DefaultHttpxClient(**transport())
        client = kind(**options)
        self._clients.append(client)
        return client

    def _async(self, kind: Callable[..., _Client], options: dict[str, Any]) -> _Client:
        import anthropic  # noqa: PLC0415 - loads without the SDK

        if "http_client" not in options:
            options["http_client"] = anthropic.DefaultAsyncHttpxClient(**transport())
        return kind(**options)

    def _aws(self, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
        own = {"base_url": f"{self.url}{path}", "aws_region": _AWS_REGION}
        if not any(options.get(name) for name in (*_AWS_CREDENTIALS, "skip_auth")):
            own["api_key"] = self.api_key
        return {**own, **options}

    def _vertex(self, options: Mapping[str, Any]) -> dict[str, Any]:
        own = {"base_url": f"{self.url}/v1", "region": self._vertex_region, "project_id": _PROJECT}
        if not options.get("credentials"):
            own["access_token"] = self.api_key
        return {**own, **options}

    def _foundry(self, options: Mapping[str, Any]) -> dict[str, Any]:
        own = {"base_url": f"{self.url}/anthropic/"}
        if not options.get("azure_ad_token_provider"):
            own["api_key"] = self.api_key
        return {**own, **options}

    def _google_cloud(self, options: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/v1/projects/{_PROJECT}/locations/global/workspaces/{_WORKSPACE}/invoke"
        own: dict[str, Any] = {"base_url": f"{self.url}{path}"}
        if not (options.get("credentials") or options.get("skip_auth")):
            own["token_provider"] = lambda: self.api_key
        return {**own, **options}
