"""mcp: a server of tools, by streamable HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from graphs.connections._auth import SECRETS, Address, Basic, Bearer, Header, NoAuth, OAuth2, SignIn, needs, takes
from graphs.definition import Closed, Json
from graphs.nodetype import Failure

if TYPE_CHECKING:
    from graphs.connections import Connection
    from graphs.outbound import Outbound

__all__ = ["SECRETS", "SUMMARY", "Settings", "SignIn", "check", "needs", "settle", "takes"]

SUMMARY = "An MCP server: its address, and how it knows us. Its tools are called once a person has approved them."


class Settings(Closed):
    url: Address = Field(description="of the endpoint, for example https://mcp.example.com/mcp; nothing is sent to another origin")
    auth: Annotated[NoAuth | Bearer | Basic | Header | OAuth2 | SignIn, Field(discriminator="type")] = Field(default_factory=NoAuth)
    fresh_seconds: float = Field(
        default=0.0,
        ge=0.0,
        le=300.0,
        description="how old the list of tools may be that a call is checked against; 0: asked before each call",
    )


async def check(connection: Connection, outbound: Outbound) -> str:
    """Opens a session and lists the tools."""
    from graphs.remote.probing import probed  # the SDK takes long to import

    return await probed(connection, outbound)


async def settle(settings: dict[str, Json], outbound: Outbound) -> dict[str, Json]:
    """A server that refuses strangers is one to sign in to; one that does not answer now is taken at its word later."""
    from graphs.remote.discovery import challenge

    try:
        refuses = await challenge(outbound, str(settings["url"])) is not None
    except Failure:
        refuses = False
    return {**settings, "auth": {"type": "sign_in"}} if refuses else settings
