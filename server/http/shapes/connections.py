"""The shapes of answers about connections."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.http.shapes import Shape
from server.http.shapes.remote_tools import RemoteHealth


class SecretShown(Shape):
    """What may be known of a secret: never its value."""

    field: str
    set_at: str
    set_by: str | None = Field(default=None, description="without it: Weft itself, by a refresh")
    expires_at: str | None = None


class ConnectionLink(Shape):
    """Opens a page once, for ten minutes, on which the person it is for sets the connection up."""

    url: str
    expires_at: str


class ConnectionDetail(Shape):
    """A connection. Who may not author workflows is shown its name, kind, description and whether it is ready, and no more."""

    name: str
    kind: str
    description: str | None = None
    ready: bool = Field(description="everything it needs is set")
    health: Literal["unknown", "ok", "failing"] | None = None
    health_note: str | None = None
    checked_at: str | None = None
    settings: dict[str, Any] | None = None
    roles: list[str] | None = Field(default=None, description="who may use it; without it everybody")
    secrets: list[SecretShown] | None = None
    missing: list[str] | None = Field(default=None, description="secrets that must be set yet")
    takes: list[str] | None = Field(default=None, description="secrets that may be set")
    revision: int | None = None
    updated_at: str | None = None
    used_by: list[str] | None = Field(default=None, description="workflows that name it")
    events: list[dict[str, Any]] | None = Field(default=None, description="who did what to it, newest first")
    remote: RemoteHealth | None = Field(default=None, description="of one with tools: how it does")
    sign_in: ConnectionLink | None = Field(default=None, description="of one just made that a person must sign in to")


class LocalServer(Shape):
    """An MCP server of the operator's file: its tools are used under its name, as those of a connection."""

    name: str
    kind: Literal["mcp"]
    remote: RemoteHealth | None = None


class ConnectionPage(Shape):
    connections: list[ConnectionDetail]
    total: int
    next_cursor: str | None = None
    local: list[LocalServer] = Field(description="what the operator's file adds")


class ConnectionKind(Shape):
    kind: str
    summary: str
    settings: dict[str, Any] = Field(description="JSON Schema")
    secrets: dict[str, str] = Field(description="field -> what it is")


class ConnectionKinds(Shape):
    kinds: list[ConnectionKind]


class ConnectionRemoved(Shape):
    removed: bool
    used_by: list[str]
