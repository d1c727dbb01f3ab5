"""anthropic: Claude by the Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from graphs.connections._auth import Address
from graphs.connections.openai import told
from graphs.definition import Closed

if TYPE_CHECKING:
    from graphs.connections import Connection
    from graphs.outbound import Outbound

SUMMARY = "Anthropic: its key, for models of the registry."
SECRETS = {"api_key": "the API key"}
HOME = "https://api.anthropic.com"


class Settings(Closed):
    base_url: Address = Field(default=HOME, description="of the API")


async def check(connection: Connection, outbound: Outbound) -> str:
    """Lists the models, which costs nothing."""
    headers = {"x-api-key": connection.secret("api_key") or "", "anthropic-version": "2023-06-01"}
    answer = await outbound.request("GET", connection.address("v1/models"), headers=headers, timeout=15, max_bytes=5_000_000)
    return told(answer)
