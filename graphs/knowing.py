"""What the checks must know of an organization: read from the database, as far as a definition names any of it."""

from __future__ import annotations

from graphs.checks import Known
from graphs.definition import Json
from graphs.pinning import inputs_of_published
from graphs.remote import schemas
from store import agents, connections, jsontext, remote_tools
from store.postgres import Session


async def known_to(session: Session, definition: Json) -> Known:
    """What is misspelt need not be known: it is reported as unknown anyway."""
    text = jsontext.text(definition)
    remote = any(word in text for word in ('"mcp_tool"', '"openapi"', '"mcp"'))
    local = (
        {source.connection: source.kind for source in await remote_tools.sources(session)} if remote else {}
    )  # the operator's among them
    return Known(
        workflows=await inputs_of_published(session) if '"subflow"' in text or '"agent"' in text else {},
        agents=await agents.known(session) if '"agent"' in text else {},
        connections={**local, **await connections.kinds(session)} if '"connection"' in text else {},
        tools=await schemas(session) if remote else {},
    )
