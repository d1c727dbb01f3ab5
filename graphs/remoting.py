"""What people do with the tools of other servers: list, compare, approve and disable them, and upload the document of an API.

Approving is for people: no MCP tool and no step leads here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphs.connecting import changeable, find, sentence
from graphs.definition import Json
from graphs.nodetype import Effect, Failure
from graphs.pinning import nearest
from graphs.remote.definitions import gathered, shown
from graphs.remote.discovery import discovered
from graphs.remote.judging import ToolView as ToolView
from graphs.remote.judging import effect_of, view_of
from graphs.remote.openapi.document import Document, read
from graphs.runtime import Actor, Runtime
from store import connections
from store import remote_tools as rows
from store.errors import Conflict, Invalid, NotFound, Unavailable, WeftError
from store.remote_tools import Listing, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools of a connection and how it is doing. `notes`: what a person should know."""

    connection: str
    source: Source | None
    tools: Sequence[ToolView]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person approves: a tool exactly as seen, with its effect where they say one."""

    name: str
    digest: str
    effect: Effect | None = None


async def show(runtime: Runtime, actor: Actor, name: str, *, notes: Sequence[str] = ()) -> Tools:
    """Raises NotFound, Denied for a connection that is for others."""
    source = await rows.source(actor.tenant, name)
    await _open_to(runtime, actor, name, listed=source is not None)
    return Tools(
        connection=name,
        source=source,
        tools=[view_of(pin) for pin in await rows.tools(actor.tenant, name)],
        notes=[*notes, *_notes(source)],
    )


async def get(runtime: Runtime, actor: Actor, name: str, tool: str) -> ToolView:
    """Raises NotFound with the nearest names, Denied for a connection that is for others."""
    pin = await rows.tool(actor.tenant, name, tool)
    await _open_to(runtime, actor, name, listed=pin is not None)
    if pin is None:
        known = [one.name for one in await rows.tools(actor.tenant, name)]
        raise NotFound(f"The connection {name!r} has no tool {shown(tool, 128)!r}. " + nearest(tool, known, "There are"))
    return view_of(pin)


async def sources(actor: Actor) -> dict[str, Source]:
    """How each connection with tools is doing, by name; the operator's local servers among them."""
    return {source.connection: source for source in await rows.sources(actor.tenant)}


async def local(runtime: Runtime, actor: Actor) -> list[str]:
    """Names of the operator's local servers that this organization may use."""
    return [server.name for server in await runtime.remote.local(actor.tenant)] if runtime.remote else []


async def refresh(runtime: Runtime, actor: Actor, name: str) -> Tools:
    """Asks the MCP server for its tools: new ones wait for approval, changed ones are called no more. Raises NotFound, Unavailable."""
    await _mine(runtime, actor, name)
    if runtime.remote is None:
        raise Unavailable("This process reaches no tools of other servers.")
    try:
        listing = await runtime.remote.listing(actor.tenant, name)
    except Failure as wrong:
        raise _refused(wrong) from None
    await rows.keep(actor.tenant, name, listing)
    await _tell(actor, name, "tools listed", {"tools": len(listing.tools)})
    return await show(runtime, actor, name)


async def discover(runtime: Runtime, actor: Actor, url: str) -> dict[str, Json]:
    """The `auth` settings that a server at this address asks for, but for the client_id. Raises Unavailable."""
    try:
        return (await discovered(runtime.outbound.of(actor.tenant), url)).settings()
    except Failure as wrong:
        raise _refused(wrong) from None


async def upload(runtime: Runtime, actor: Actor, name: str, text: str, *, include: Sequence[str] = ()) -> Tools:
    """Reads an OpenAPI document: its operations wait for approval, changed ones are called no more. `include`: tags or operations, none:
    all. Raises Invalid, NotFound."""
    row = await changeable(actor, name)
    if row.kind != "openapi":
        raise Invalid(f"The connection {name!r} is of kind {row.kind}; a document belongs to one of kind openapi.")
    document = await asyncio.to_thread(read, text, tuple(include))
    tools, refused = gathered(document.definitions)
    refused += document.refused
    if not tools:
        first = f" The first: {refused[0]['name']}: {refused[0]['reason']}." if refused else ""
        raise Invalid(f"No operation of this document can become a tool.{first}")
    listing = Listing(
        kind="openapi",
        target=str(row.settings["base_url"]),
        title=document.title,
        protocol=document.version,
        latency_ms=0,
        tools=tools,
        refused=refused,
    )
    await rows.keep(actor.tenant, name, listing)
    await _tell(actor, name, "document uploaded", {"operations": len(tools), "title": document.title})
    return await show(runtime, actor, name, notes=list(_differences(document, row.settings)))


async def approve(runtime: Runtime, actor: Actor, name: str, choices: Sequence[Choice]) -> Tools:
    """Lets tools be called, each exactly as the person has seen it. Raises NotFound, Conflict when one is not offered so (any more)."""
    await _mine(runtime, actor, name)
    pins = {pin.name: pin for pin in await rows.tools(actor.tenant, name)}
    async with actor.tenant.transaction() as transaction:
        for choice in choices:
            pin = pins.get(choice.name)
            if pin is None:
                raise NotFound(
                    f"The connection {name!r} has no tool {shown(choice.name, 128)!r}. " + nearest(choice.name, pins, "There are")
                )
            effect = choice.effect or effect_of(pin)
            done = await rows.approve(transaction, name, choice.name, digest=choice.digest, effect=str(effect), user_id=actor.user_id)
            if not done:
                raise Conflict(f"The tool {choice.name!r} is not offered as you have seen it; look at it again before you approve it.")
    await _tell(actor, name, "tools approved", {"tools": [choice.name for choice in choices][:50]})
    return await show(runtime, actor, name)


async def disable(runtime: Runtime, actor: Actor, name: str, tools: Sequence[str]) -> Tools:
    """Ends the calls of tools until a person approves them again. Raises NotFound."""
    await _mine(runtime, actor, name)
    async with actor.tenant.transaction() as transaction:
        for tool in tools:
            if not await rows.disable(transaction, name, tool):
                raise NotFound(f"The connection {name!r} has no tool {shown(tool, 128)!r}.")
    await _tell(actor, name, "tools disabled", {"tools": list(tools)[:50]})
    return await show(runtime, actor, name)


def waiting(tools: Tools) -> list[ToolView]:
    """Those that a person should decide about."""
    return [tool for tool in tools.tools if tool.state in ("new", "changed")]


def _notes(source: Source | None) -> list[str]:
    if source is None:
        return ["Its tools have not been listed yet."]
    return [f"Not taken: {one['name']}: {one['reason']}." for one in source.refused[:20]]


def _differences(document: Document, settings: Mapping[str, Json]) -> Iterator[str]:
    """Where the connection and the document disagree; the person's word counts."""
    base = str(settings["base_url"]).rstrip("/")
    if document.servers and base not in {server.rstrip("/") for server in document.servers}:
        yield f"Calls go to {base}; the document names {', '.join(document.servers[:5])}."
    auth: Any = settings.get("auth") or {"type": "none"}
    asked = {_form(scheme) for scheme in document.schemes} - {None}
    if asked and auth.get("type", "none") not in asked and not (auth.get("type") in ("oauth2", "bearer") and asked & {"oauth2", "bearer"}):
        yield f"The document asks for {' or '.join(sorted(map(str, asked)))}; the connection's auth is {auth.get('type', 'none')}."


def _form(scheme: Mapping[str, str]) -> str | None:
    match scheme.get("type"):
        case "http":
            return {"bearer": "bearer", "basic": "basic"}.get(scheme.get("scheme", "").lower())
        case "apiKey":
            return {"header": "header", "query": "query"}.get(scheme.get("in", ""))
        case "oauth2" | "openIdConnect":
            return "oauth2"
        case _:
            return None


async def _open_to(runtime: Runtime, actor: Actor, name: str, *, listed: bool) -> None:
    """As `_mine`; a local server that was `listed` may be seen from a process that starts none."""
    try:
        await changeable(actor, name)
    except NotFound:
        if not listed:
            await _mine(runtime, actor, name)


async def _mine(runtime: Runtime, actor: Actor, name: str) -> None:
    """Raises NotFound when it is neither a connection nor a local server that this organization may use, Denied when it is for others."""
    try:
        await changeable(actor, name)
    except NotFound:
        if name not in await local(runtime, actor):
            raise


async def _tell(actor: Actor, name: str, act: str, data: dict[str, Json]) -> None:
    """Into the connection's own history; local servers of the operator have none."""
    try:
        row = await find(actor, name)
    except NotFound:
        return
    await connections.tell(actor.tenant, row.id, act, user_id=actor.user_id, via=actor.via, data=data)


def _refused(wrong: Failure) -> WeftError:
    """What a person must mend is no reason to try again later."""
    if wrong.code == "connection_missing":
        return NotFound(sentence(wrong))
    if wrong.code.startswith("connection_") or wrong.code in ("remote_unauthorized", "blocked_address", "no_oauth"):
        return Conflict(sentence(wrong), code=wrong.code)
    return Unavailable(sentence(wrong), code=wrong.code)
