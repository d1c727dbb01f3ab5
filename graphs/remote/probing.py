"""Whether an MCP server can be reached: a session of its own, for one question."""

from __future__ import annotations

from graphs.outbound import Outbound
from graphs.remote.opening import Opened, place_of
from graphs.remote.route import Route
from graphs.remote.sessions import Session


async def probed(connection: Opened, outbound: Outbound) -> str:
    """A sentence. Raises Failure."""
    route = Route(place_of(connection), outbound)
    session = Session(route.place.where, route.transport)
    try:
        await session.opened()
        listed = await session.listing()
        refused = f", of which {len(listed.refused)} cannot be taken" if listed.refused else ""
        count = len(listed.tools) + len(listed.refused)
        return f"it speaks MCP {session.client.protocol_version} and told {count} tools in {listed.seconds * 1000:.0f} ms{refused}"
    finally:
        await session.close()
