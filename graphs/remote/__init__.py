"""Tools of other servers, as an organization uses them: MCP servers and OpenAPI documents, pinned by digest, called within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphs.definition import Schema
from graphs.nodetype import Effect
from graphs.remote.definitions import SHOWN_TEXT, shown, shown_schema
from store import remote_tools as rows
from store.postgres import Session
from store.remote_tools import Pin

if TYPE_CHECKING:
    from graphs.remote.calling import Remote

__all__ = ["Remote", "RemoteTool", "schemas", "tools"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTool:
    """A tool for authors and models to read: every text of the server with its hidden characters shown. `state`: approved, changed, new,
    gone or disabled; only an approved one can be called. `schema` is that of the arguments."""

    connection: str
    name: str
    description: str
    schema: Schema
    effect: Effect
    digest: str
    state: str

    @property
    def approval(self) -> str:
        return approval(self.digest, self.effect)


def approval(digest: str, effect: str) -> str:
    """Names what a person has approved of: the definition and its effect."""
    return f"{digest} {effect}"


async def tools(session: Session, connection: str | None = None) -> list[RemoteTool]:
    """What is known of the tools of a connection, or of all connections of the organization, by name."""
    return [_described(pin) for pin in await rows.tools(session, connection)]


async def schemas(session: Session) -> dict[str, dict[str, Schema]]:
    """{connection: {tool: schema of its arguments}} of what may be called: what a workflow is checked against."""
    found: dict[str, dict[str, Schema]] = {source.connection: {} for source in await rows.sources(session)}
    for pin in await rows.tools(session):
        if pin.state == "approved" and pin.definition:
            found[pin.connection][pin.name] = pin.definition["input_schema"]
    return found


def _described(pin: Pin) -> RemoteTool:
    definition = pin.definition or pin.offered or {}
    return RemoteTool(
        connection=pin.connection,
        name=pin.name,
        description=shown(definition.get("description") or definition.get("title") or "", SHOWN_TEXT),
        schema=shown_schema(definition.get("input_schema") or {"type": "object"}),  # pyright: ignore[reportArgumentType]
        effect=Effect(pin.effect or Effect.WRITE_ONCE),
        digest=pin.digest or pin.offered_digest or "",
        state=pin.state,
    )


def __getattr__(name: str) -> object:
    """The MCP SDK takes long to import; reading what is pinned does without."""
    if name == "Remote":
        from graphs.remote.calling import Remote

        return Remote
    raise AttributeError(name)
