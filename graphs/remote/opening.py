"""A connection as the remote tools need it: opened by the house's connections, or a local server of the operator's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from graphs.connections import origin_of
from graphs.definition import Json
from graphs.nodetype import Failure
from graphs.redaction import Redactor
from graphs.remote.servers import Server
from store.postgres import Tenant

IDLE_SECONDS = 60.0  # without a call, after which a session is closed


class Opened(Protocol):
    """The part of graphs.connections.Connection that is used here."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Json]: ...
    @property
    def redactor(self) -> Redactor: ...
    async def headers(self, url: str) -> dict[str, str]: ...
    async def params(self, url: str) -> dict[str, str]: ...
    @property
    def remedy(self) -> str: ...
    async def renew(self, authorization: str) -> bool: ...
    def refusal(self, url: str, status: int, challenge: str) -> Failure | None: ...


class Opens(Protocol):
    """The part of graphs.connections.Connections that is used here."""

    async def open(self, tenant: Tenant, name: str, *, kind: str | None = None) -> Opened: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the tools of a connection are. `target` is what an approval holds for; `where` may be shown."""

    kind: str
    target: str
    where: str
    fresh: float = 0.0
    connection: Opened | None = None
    server: Server | None = None
    redactor: Redactor = field(default_factory=Redactor, compare=False)  # of what the server knows of us and must not repeat


def place_of(connection: Opened) -> Place:
    if connection.kind not in ("mcp", "openapi"):
        message = f"the connection {connection.name!r} is of kind {connection.kind}; remote tools need one of kind mcp or openapi"
        raise Failure("connection_unusable", message)
    url = str(connection.settings["url" if connection.kind == "mcp" else "base_url"])
    fresh = float(connection.settings.get("fresh_seconds") or 0.0)
    return Place(kind=connection.kind, target=url, where=origin_of(url), fresh=fresh, connection=connection, redactor=connection.redactor)


def local_place(server: Server) -> Place:
    redactor = Redactor(server.env.values())
    where = f"the local server {server.name!r}"
    return Place(kind="mcp", target=server.target, where=where, fresh=server.fresh, server=server, redactor=redactor)
