"""HTTP operations on connections. Secrets come in here and never go out."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import authorizing, connecting, inviting, remoting
from graphs.definition import Json
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes.connections import (
    ConnectionDetail,
    ConnectionKinds,
    ConnectionLink,
    ConnectionPage,
    ConnectionRemoved,
)
from server.links import base_of, connect_url
from server.views import stamp
from server.views.connections import connection_view, event_view, kinds_view, local_view

PATH = "/api/v1/connections"
ONE = f"{PATH}/{{name}}"
Settings = dict[str, Json]


class ListQuery(Query):
    kind: str | None = Field(default=None, max_length=48)
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=1000)


class RemoveQuery(Query):
    force: bool = False


class New(Body):
    name: str = Field(max_length=64)
    kind: str = Field(max_length=48)
    settings: Settings
    description: str = Field(default="", max_length=500)
    roles: list[str] | None = Field(default=None, max_length=10, description="who may use it; without it everybody")


class Change(Body):
    settings: Settings | None = None
    description: str | None = Field(default=None, max_length=500)
    roles: list[str] | None = Field(default=None, max_length=10, description="empty: everybody")
    revision: int | None = Field(default=None, ge=1, description="refused when it was changed since")


class Value(Body):
    value: str = Field(max_length=connecting.MAX_SECRET, repr=False)


class Wanted(Body):
    kind: str = Field(default="http", max_length=48, description="what it is made as when it is not there yet")
    scopes: list[str] = Field(default=[], max_length=50, description="asked for too, when the person signs in")


async def kinds(call: Call[None, Query]) -> Json:
    return {"kinds": kinds_view()}


async def listed(call: Call[None, ListQuery]) -> Json:
    page = await connecting.page(call.caller.runtime, call.caller.actor, **call.query.model_dump())
    whole = call.caller.may(Scope.AUTHOR)
    sources = await remoting.sources(call.caller.actor)
    views = [connection_view(item, whole=whole, source=sources.get(item.row.name)) for item in page.items]
    local = [
        local_view(name, sources.get(name) if whole else None) for name in await remoting.local(call.caller.runtime, call.caller.actor)
    ]
    return {"connections": views, "total": page.total, "next_cursor": page.next_cursor, "local": local}


async def created(call: Call[New, Query]) -> Json:
    made = await connecting.create(call.caller.runtime, call.caller.actor, **call.body.model_dump())
    view = connection_view(made, whole=True)
    return {**view, "sign_in": await _link(call, made.row.name)} if "refresh_token" in made.missing else view


async def read(call: Call[None, Query]) -> Json:
    actor = call.caller.actor
    found = await connecting.get(call.caller.runtime, actor, call.path["name"])
    if not call.caller.may(Scope.AUTHOR):
        return connection_view(found, whole=False)
    told = [event_view(event) for event in await connecting.events(actor, found.row)]
    source = (await remoting.sources(actor)).get(found.row.name)
    return {**connection_view(found, whole=True, source=source), "used_by": await connecting.used_by(actor, found.row.name), "events": told}


async def changed(call: Call[Change, Query]) -> Json:
    saved = await connecting.update(call.caller.runtime, call.caller.actor, call.path["name"], **call.body.model_dump())
    return connection_view(saved, whole=True)


async def secret(call: Call[Value, Query]) -> Json:
    path = call.path
    found = await connecting.set_secret(call.caller.runtime, call.caller.actor, path["name"], path["field"], call.body.value)
    return connection_view(found, whole=True)


async def tested(call: Call[None, Query]) -> Json:
    return connection_view(await connecting.test(call.caller.runtime, call.caller.actor, call.path["name"]), whole=True)


async def linked(call: Call[Wanted, Query]) -> Json:
    if call.body.scopes:
        await authorizing.widen(call.caller.runtime, call.caller.actor, call.path["name"], call.body.scopes)
    return await _link(call, call.path["name"], call.body.kind)


async def _link(call: Call[Any, Query], name: str, kind: str = "http") -> dict[str, Json]:
    invitation = await inviting.invite(call.caller.runtime, call.caller.actor, name, kind)
    return {
        "url": connect_url(base_of(call.headers, call.caller.runtime.public_url), invitation.ticket),
        "expires_at": stamp(invitation.expires_at),
    }


async def removed(call: Call[None, RemoveQuery]) -> Json:
    users = await connecting.remove(call.caller.runtime, call.caller.actor, call.path["name"], force=call.query.force)
    return {"removed": True, "used_by": users}


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/api/v1/connection-kinds",
        name="listConnectionKinds",
        summary="The kinds of connection there are",
        scope=Scope.READ,
        run=kinds,
        answer=ConnectionKinds,
    ),
    Operation(
        method="GET", path=PATH, name="listConnections", summary="List connections by name", scope=Scope.READ, run=listed,
        answer=ConnectionPage, query=ListQuery,
    ),
    Operation(
        method="POST", path=PATH, name="createConnection", summary="Make a connection; its secrets are set afterwards", scope=Scope.AUTHOR,
        run=created, answer=ConnectionDetail, body=New, status=201,
    ),
    Operation(
        method="GET", path=ONE, name="getConnection", summary="A connection, what uses it and who changed it", scope=Scope.READ, run=read,
        answer=ConnectionDetail,
    ),
    Operation(
        method="PATCH", path=ONE, name="changeConnection", summary="Change its settings, description or who may use it", scope=Scope.AUTHOR,
        run=changed, answer=ConnectionDetail, body=Change,
    ),
    Operation(
        method="PUT", path=f"{ONE}/secrets/{{field}}", name="setConnectionSecret", summary="Set or replace a secret; none is ever shown",
        scope=Scope.AUTHOR, run=secret, answer=ConnectionDetail, body=Value,
    ),
    Operation(
        method="POST", path=f"{ONE}/test", name="testConnection", summary="Try whether it works", scope=Scope.AUTHOR, run=tested,
        answer=ConnectionDetail,
    ),
    Operation(
        method="POST", path=f"{ONE}/link", name="linkConnection", summary="A link by which a person sets it up in a browser, once",
        scope=Scope.AUTHOR, run=linked, answer=ConnectionLink, body=Wanted,
    ),
    Operation(
        method="DELETE", path=ONE, name="removeConnection", summary="Remove it and its secrets", scope=Scope.AUTHOR, run=removed,
        answer=ConnectionRemoved, query=RemoveQuery,
    ),
)  # fmt: skip
