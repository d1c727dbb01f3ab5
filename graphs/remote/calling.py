"""Calls of remote tools: a call goes out only while the server offers, in the same session, exactly what a person approved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from graphs.definition import Json
from graphs.inputs import problems
from graphs.nodetype import Effect, Failure
from graphs.outbound import Outbound
from graphs.remote import approval
from graphs.remote.definitions import shown, usable
from graphs.remote.openapi import calls as openapi
from graphs.remote.opening import IDLE_SECONDS, Opened, Opens, Place, local_place, place_of
from graphs.remote.servers import Server
from graphs.remote.steps import Progress
from store import identities
from store import remote_tools as rows
from store.errors import Invalid
from store.postgres import Tenant
from store.remote_tools import Listing, Pin

if TYPE_CHECKING:
    from graphs.remote.speaking import Speaker

CALL_SECONDS = 60.0

Opening = Callable[[str], Awaitable[Opened]]


class Remote:
    """`async with Remote(connections, outbound) as remote:` — one per process."""

    def __init__(
        self, connections: Opens, outbound: Outbound, *, servers: Mapping[str, Server] | None = None, idle: float = IDLE_SECONDS
    ) -> None:
        self._connections, self._outbound, self._idle = connections, outbound, idle
        self._servers = servers or {}
        self._speaker: Speaker | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._speaker is not None:
            await self._speaker.close()

    # -- where ---------------------------------------------------------------------------------------------------------------------

    async def local(self, tenant: Tenant) -> list[Server]:
        """The operator's servers that this organization may use."""
        open_to_all = [server for server in self._servers.values() if not server.organizations]
        limited = [server for server in self._servers.values() if server.organizations]
        if limited:
            names = await _names(tenant)
            open_to_all += [server for server in limited if server.open_to(*names)]
        return sorted(open_to_all, key=lambda server: server.name)

    def of(self, tenant: Tenant, opening: Opening) -> Bound:
        """For a step: connections are opened on behalf of its run."""
        return Bound(self, tenant, opening)

    async def place(self, tenant: Tenant, name: str, opening: Opening | None = None) -> Place:
        """The connection of that name; where there is none, the operator's server. Raises Failure."""
        try:
            return place_of(await (opening(name) if opening else self._connections.open(tenant, name)))
        except Failure as wrong:
            if wrong.code != "connection_missing" or name not in self._servers:
                raise
            server = next((server for server in await self.local(tenant) if server.name == name), None)
            if server is None:
                raise
            return local_place(server)

    # -- what there is -------------------------------------------------------------------------------------------------------------

    async def listing(self, tenant: Tenant, name: str) -> Listing:
        """What the MCP server offers just now. Raises Failure; the health of the connection tells of it too."""
        place = await self.place(tenant, name)
        if place.kind != "mcp":
            raise Failure("connection_unusable", f"the tools of {name!r} come from its document; upload a newer one")
        try:
            speaker = await self.speaker()
            session, listed = await speaker.listed(tenant, name, place, fresh=0.0)
            client = session.client
        except Failure as wrong:
            await _told(tenant, name, place, wrong)
            raise
        info = client.server_info
        return Listing(
            kind="mcp",
            target=place.target,
            title=shown(f"{info.title or info.name} {info.version}", 200) if info else "",
            protocol=client.protocol_version,
            latency_ms=round(listed.seconds * 1000),
            tools=listed.tools,
            refused=listed.refused,
        )

    async def effect(self, tenant: Tenant, name: str, tool: str) -> Effect:
        """As it was approved; write-once where nothing was."""
        pin = await rows.tool(tenant, name, tool)
        return Effect(pin.effect) if pin and pin.effect else Effect.WRITE_ONCE

    # -- calls ---------------------------------------------------------------------------------------------------------------------

    async def call(
        self,
        tenant: Tenant,
        name: str,
        tool: str,
        arguments: Mapping[str, Json],
        *,
        kind: str = "mcp",
        key: str = "",
        seconds: float = CALL_SECONDS,
        progress: Progress | None = None,
        opening: Opening | None = None,
        approved: str | None = None,
    ) -> dict[str, Json]:
        """Calls an approved tool within `seconds`. `key` stays the same when the same call is made again. `approved` names the approval
        that the caller knows of (graphs/remote `approval`): one made since then is another. Raises Failure: tool_missing,
        tool_unapproved, tool_changed, bad_arguments and what happens before anything is sent; in_doubt, tool_error and the like after."""
        try:
            place = await self.place(tenant, name, opening)
        except Failure as wrong:
            if wrong.code == "connection_missing":
                wrong.message = wrong.message.replace("--kind http", f"--kind {kind}")
            raise
        if place.kind != kind:
            other = "openapi" if place.kind == "openapi" else "mcp_tool"
            raise Failure(
                "connection_unusable", f"the connection {name!r} is of kind {place.kind}; call its tools with a node of type {other}"
            )
        try:
            answer = await self._reached(tenant, name, tool, arguments, place, key, seconds, progress, approved)
        except Failure as wrong:
            place.redactor.clean_failure(wrong)
            raise
        cleaned: dict[str, Json] = place.redactor.clean(answer)
        return cleaned

    async def _reached(
        self,
        tenant: Tenant,
        name: str,
        tool: str,
        arguments: Mapping[str, Json],
        place: Place,
        key: str,
        seconds: float,
        progress: Progress | None,
        approved: str | None,
    ) -> dict[str, Json]:
        pin, trouble = await self._pinned(tenant, name, tool, place)
        if approved is not None and approved != approval(pin.digest or "", pin.effect or Effect.WRITE_ONCE):
            message = f"the tool {tool!r} of {name!r} was approved anew, with another schema or effect, since this caller was given it"
            raise Failure("tool_changed", f"{message}; nothing was sent. Start the run anew", details={"connection": name, "tool": tool})
        definition = pin.definition or {}
        check_arguments(definition, arguments)
        if place.kind == "openapi":
            assert place.connection is not None  # noqa: S101  # local servers speak MCP
            return await openapi.call(self._outbound.of(tenant), place.connection, pin, arguments, key=key, seconds=seconds)
        try:
            speaker = await self.speaker()
            session, listed = await speaker.listed(tenant, name, place)
        except Failure as wrong:
            await _told(tenant, name, place, wrong)
            raise
        if trouble:
            await rows.reached(tenant, name, latency_ms=round(listed.seconds * 1000))
        live = listed.by_name.get(tool)
        if live is None or live.digest != pin.digest:
            await rows.saw(tenant, name, tool, live)
            raise _changed(name, tool, gone=live is None)
        return await speaker.called(session, pin, arguments, key, seconds, progress)

    async def _pinned(self, tenant: Tenant, name: str, tool: str, place: Place) -> tuple[Pin, bool]:
        """And whether the server was in trouble when it was last asked."""
        pin = await rows.tool(tenant, name, tool)
        if pin is None:
            known = [other.name for other in await rows.tools(tenant, name) if other.state == "approved"]
            listed = f"approved are {', '.join(known[:20])}" if known else f"none is known; run weft connections refresh {name}"
            raise Failure("tool_missing", f"the connection {name!r} has no tool {shown(tool, 128)!r}; {listed}")
        source = await rows.source(tenant, name)
        if pin.state == "approved" and source is not None and source.target != place.target:
            message = f"the connection {name!r} leads elsewhere than when its tools were approved; refresh it and approve them there"
            raise Failure("tool_changed", message)
        if pin.state == "approved" and pin.definition is not None:
            return pin, source is not None and source.error is not None
        if pin.state in ("changed", "gone"):
            raise _changed(name, tool, gone=pin.state == "gone")
        why = "nobody has approved it yet" if pin.state == "new" else "it is disabled"
        message = f"the tool {tool!r} of {name!r} may not be called: {why}. A person may: weft connections approve {name} {tool}"
        raise Failure("tool_unapproved", message)

    async def speaker(self) -> Speaker:
        """Made when the first MCP server is called: the SDK takes a second to import, and most processes never need it."""
        if self._speaker is None:
            made = await asyncio.to_thread(_speaker, self._outbound, self._idle)
            self._speaker = self._speaker or made
        return self._speaker


@dataclass(frozen=True, slots=True)
class Bound:
    """The remote tools of one organization, as a step uses them."""

    remote: Remote
    tenant: Tenant
    opening: Opening

    async def effect(self, connection: str, tool: str) -> Effect:
        return await self.remote.effect(self.tenant, connection, tool)

    async def call(
        self,
        connection: str,
        tool: str,
        arguments: Mapping[str, Json],
        *,
        kind: str,
        key: str,
        seconds: float = CALL_SECONDS,
        progress: Progress | None = None,
        approved: str | None = None,
    ) -> dict[str, Json]:
        """As Remote.call."""
        return await self.remote.call(
            self.tenant, connection, tool, arguments, kind=kind, key=key, seconds=seconds, progress=progress, opening=self.opening,
            approved=approved,
        )  # fmt: skip


def check_arguments(definition: Mapping[str, Any], arguments: Mapping[str, Json]) -> None:
    """Raises Failure("bad_arguments") with every problem."""
    try:
        wrong = problems(usable(definition["input_schema"]), dict(arguments))
    except Invalid as invalid:
        raise Failure("bad_arguments", invalid.message) from None
    if wrong:
        said = "; ".join(f"arguments{one['pointer']}: {shown(one['message'], 200)}" for one in wrong)
        raise Failure("bad_arguments", f"the arguments do not fit {definition['name']}: {said}", details={"problems": wrong})


def _changed(name: str, tool: str, *, gone: bool) -> Failure:
    what = "is not offered any more" if gone else "has changed since it was approved"
    message = f"the tool {tool!r} of {name!r} {what}; nothing was sent. A person may look at it: weft connections tools {name}"
    return Failure("tool_changed", message, details={"connection": name, "tool": tool})


def _speaker(outbound: Outbound, idle: float) -> Speaker:
    from graphs.remote.speaking import Speaker

    return Speaker(outbound, idle)


async def _told(tenant: Tenant, name: str, place: Place, wrong: Failure) -> None:
    """The health of the connection tells of what kept its tools from being listed."""
    place.redactor.clean_failure(wrong)
    await rows.failed(tenant, name, kind=place.kind, target=place.target, error=wrong.message[:1_000])


async def _names(tenant: Tenant) -> tuple[str, ...]:
    return tenant.org_id, (await identities.get_organization(tenant)).slug
