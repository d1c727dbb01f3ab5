"""The HTTP app: lists of parts, folded here into one ASGI application behind one gate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from graphs.runtime import Runtime
from server import keys
from server.auth import Scope
from server.callers import ApiKeys
from server.http import (
    agents,
    calls,
    caring,
    chats,
    circuits,
    connecting,
    connections,
    events,
    health,
    history,
    memories,
    memory_kinds,
    models,
    remote_tools,
    replays,
    runs,
    steering,
    tasks,
    voice,
    workers,
    workflows,
)
from server.http.gate import LOOPBACK, MAX_BODY, Gate, Names
from server.http.openapi import document
from server.http.operations import JSON_TYPE, Call, Operation, Query, encode, incident, problem, route
from server.http.shapes import OpenApiDocument
from server.mcp import build_server
from server.settings import Settings
from store import identities
from store.errors import NotFound, WeftError

MAX_SESSIONS = 2_000  # of clients that speak the older protocol; they sit in memory
SESSION_IDLE = 1_800.0  # seconds


@cache
def _document() -> bytes:
    return encode(document(OPERATIONS, version("weft")))


async def _openapi(call: Call[None, Query]) -> Response:
    return Response(_document(), media_type=JSON_TYPE)


OPERATIONS: tuple[Operation, ...] = (
    *runs.OPERATIONS,
    *calls.OPERATIONS,
    *steering.OPERATIONS,
    *history.OPERATIONS,
    *replays.OPERATIONS,
    *workflows.OPERATIONS,
    *agents.OPERATIONS,
    *tasks.OPERATIONS,
    *events.OPERATIONS,
    *chats.OPERATIONS,
    *caring.OPERATIONS,  # these two before memories, whose last path takes any word
    *memory_kinds.OPERATIONS,
    *memories.OPERATIONS,
    *circuits.OPERATIONS,
    *connections.OPERATIONS,
    *models.OPERATIONS,
    *remote_tools.OPERATIONS,
    *workers.OPERATIONS,
    Operation(
        method="GET",
        path="/api/v1/openapi.json",
        name="getOpenApi",
        summary="This document",
        scope=Scope.READ,
        run=_openapi,
        answer=OpenApiDocument,
    ),
)
"""Every HTTP operation there is. A route that is not here is /mcp, which has its own scopes, a page that a one-time ticket opens, one of
the two health checks, or where telephone companies tell of calls."""


class MethodNotAllowed(WeftError):
    """There is such a path, but not for this method."""

    code = "method_not_allowed"
    status = 405


async def _missing(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        return problem(MethodNotAllowed())
    return problem(NotFound("There is nothing at this address; GET /api/v1/openapi.json lists what there is."))


async def _crashed(request: Request, error: Exception) -> Response:
    return incident(request.url.path, error)


def transport_security(settings: Settings) -> TransportSecuritySettings:
    """What the MCP transport checks again behind the gate. Always explicit: left out, the SDK would check nothing beyond loopback."""
    hosts = [*LOOPBACK, *settings.allowed_hosts]
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in LOOPBACK]
    return TransportSecuritySettings(
        allowed_hosts=[form for host in hosts for form in (host, f"{host}:*")],
        allowed_origins=[*(form for origin in origins for form in (origin, f"{origin}:*")), *settings.allowed_origins],
    )


def create_app(runtime: Runtime, settings: Settings, *, install: Callable[[MCPServer[Any]], None] | None = None) -> Starlette:
    """The whole HTTP door. `install` may add tools to the MCP server (only the conformance test does)."""
    kept = keys.open_keys(settings.keys_dir)
    server = build_server(runtime, keys=[kept.request_state], publish=settings.published_tools, install=install)
    mcp = server.streamable_http_app(
        streamable_http_path="/mcp",
        max_request_body_size=MAX_BODY,
        max_sessions=MAX_SESSIONS,
        session_idle_timeout=SESSION_IDLE,
        transport_security=transport_security(settings),
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with server.session_manager.run():
            yield

    routes: list[BaseRoute] = [
        *(route(operation, runtime) for operation in OPERATIONS),
        *mcp.routes,
        *connecting.routes(runtime),
        *health.routes(runtime),
        *voice.routes(runtime),
    ]
    own = [settings.public_url] if settings.public_url else []
    names = Names((*settings.allowed_hosts, *(urlsplit(url).hostname or "" for url in own)), (*settings.allowed_origins, *own))
    verifier = ApiKeys(identities.Keys(runtime.database, kept.pepper))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Gate, names=names, verifier=verifier)],
        exception_handlers={404: _missing, 405: _missing, Exception: _crashed},
        lifespan=lifespan,
    )
