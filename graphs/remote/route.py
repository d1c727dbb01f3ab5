"""The way to an MCP server: HTTP through the outbound client, with the credentials of the moment, or the pipes of a child process."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from graphs.definition import Json
from graphs.nodetype import Failure
from graphs.outbound import Outbound
from graphs.remote.opening import Place
from graphs.remote.stdio import stdio
from graphs.remote.wire import MAX_EVENT, WireTransport, client


class Route:
    """How a session reaches its server; the connection may be opened anew meanwhile, with other credentials."""

    def __init__(self, place: Place, outbound: Outbound) -> None:
        self.place = place
        self._outbound = outbound

    def transport(self) -> AbstractAsyncContextManager[Any]:
        if self.place.server is not None:
            return stdio(self.place.server)
        wire = WireTransport(self._outbound.transport(), self._headers, self._renew, self._refusal)
        return streamable_http_client(self.place.target, http_client=client(wire), max_sse_event_size=MAX_EVENT)

    def clean(self, value: Json) -> Json:
        return self.place.redactor.clean(value)

    async def _headers(self, url: str) -> dict[str, str]:
        if self.place.connection is None or httpx2.URL(url).host != httpx2.URL(self.place.target).host:
            return {}
        return await self.place.connection.headers(url)

    async def _renew(self, authorization: str) -> bool:
        return self.place.connection is not None and await self.place.connection.renew(authorization)

    def _refusal(self, status: int, challenge: str) -> Failure | None:
        connection = self.place.connection
        if connection is None or status not in (401, 403):
            return None
        message = f"{self.place.where} does not accept the credentials of {connection.name!r} ({status}); {connection.remedy}"
        plain = Failure("remote_unauthorized", message, details={"status": status})
        return connection.refusal(self.place.target, status, challenge) or plain
