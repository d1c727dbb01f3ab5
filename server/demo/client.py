"""The demo's MCP client: the official SDK over streamable HTTP, with the owner's key."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from store.errors import Invalid

READ_SECONDS = 60.0


class Caller:
    """Calls tools and hands back their structured answers."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Raises Invalid with the tool's own words when it refuses."""
        answer = await self.client.call_tool(tool, arguments)
        content: Any = answer.structured_content
        if answer.is_error or content is None:
            text = " ".join(part.text for part in answer.content if isinstance(part, TextContent))
            raise Invalid(f"{tool}: {text}")
        return content


@asynccontextmanager
async def connected(url: str, key: str) -> AsyncGenerator[Caller]:
    """A session with the MCP endpoint at `url`."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(10, read=READ_SECONDS)) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield Caller(client)
