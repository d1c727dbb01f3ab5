"""openai: OpenAI, or a server that speaks its chat completions, Azure's included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from graphs.connections._auth import Address
from graphs.definition import Closed
from graphs.nodetype import Failure

if TYPE_CHECKING:
    from graphs.connections import Connection
    from graphs.outbound import Answer, Outbound

SUMMARY = "OpenAI, or a server that speaks its API (vLLM, llama.cpp, OpenRouter, Azure): its address and key, for models of the registry."
SECRETS = {"api_key?": "the API key; a server of your own may want none"}
HOME = "https://api.openai.com/v1"


class Settings(Closed):
    base_url: Address = Field(default=HOME, description="of the API; of an Azure resource for models azure:<deployment>")
    api_version: str | None = Field(default=None, max_length=40, pattern=r"^[0-9a-z-]+$", description="of Azure, such as 2024-10-21")


async def check(connection: Connection, outbound: Outbound) -> str:
    """Lists the models, which costs nothing."""
    key = connection.secret("api_key")
    azure = connection.settings.get("api_version")
    url = connection.address(f"openai/models?api-version={azure}" if azure else "models")
    given = ({"api-key": key} if azure else {"authorization": f"Bearer {key}"}) if key else {}
    return told(await outbound.request("GET", url, headers=given, timeout=15, max_bytes=5_000_000))


def told(answer: Answer) -> str:
    """A sentence about an answer to a list of models. Raises Failure."""
    status = answer.status
    if status in (401, 403):
        raise Failure("connection_unusable", f"it answered {status}: the key is not accepted; set the secret api_key again")
    if status != 200:
        raise Failure("connection_unusable", f"it answered {status} to a list of its models; check base_url", retryable=status >= 500)
    return "it lists its models"
