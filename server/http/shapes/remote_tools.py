"""The shapes of HTTP answers about the tools of other servers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.http.shapes import Shape

ToolState = Literal["approved", "changed", "new", "gone", "disabled"]
ToolEffect = Literal["read", "write-idempotent", "write-once"]


class RemoteTool(Shape):
    """A tool of another server. Its words are that server's; characters that cannot be seen are shown as escapes."""

    name: str
    state: ToolState = Field(description="only an approved one is called")
    title: str
    description: str
    effect: ToolEffect | None = Field(description="as a person approved it")
    claims: ToolEffect = Field(description="what the server says of it")
    digest: str | None = Field(description="of what is offered now; an approval names it")
    approved_at: str | None


class RemoteToolDetail(RemoteTool):
    schema_: dict[str, Any] = Field(alias="schema", description="of its arguments")
    changes: list[dict[str, Any]] = Field(description="from what was approved to what is offered: op, path, from, to")


class RemoteHealth(Shape):
    kind: Literal["mcp", "openapi"]
    title: str
    protocol: str | None
    listed_at: str | None
    latency_ms: int | None
    error: str | None
    error_at: str | None


class RemoteTools(Shape):
    connection: str
    health: RemoteHealth | None = Field(description="null: never asked")
    total: int
    states: dict[str, int]
    tools: list[RemoteTool]
    refused: list[dict[str, str]] = Field(description="what was offered and not taken: name, reason")
    notes: list[str]
