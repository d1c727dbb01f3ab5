"""HTTP operations on the tools of other servers: see, approve and disable them; upload the document of an API."""

from __future__ import annotations

import json

from pydantic import Field

from graphs import remoting
from graphs.definition import Json
from graphs.nodetype import Effect
from graphs.remoting import Choice
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes.remote_tools import RemoteToolDetail, RemoteTools, ToolEffect
from server.views.remote_tools import tool_view, tools_view

PATH = "/api/v1/connections/{name}/tools"
ONE = f"{PATH}/{{tool:path}}"


class Approval(Body):
    name: str = Field(max_length=128)
    digest: str = Field(max_length=64, description="of the tool as you have seen it")
    effect: ToolEffect | None = Field(default=None, description="without it as before; at first the cautious one")


class Approvals(Body):
    tools: list[Approval] = Field(min_length=1, max_length=200)


class Names(Body):
    tools: list[str] = Field(min_length=1, max_length=200)


class Upload(Body):
    document: str | dict[str, Json] = Field(description="OpenAPI 3.0 or 3.1: an object, or text in JSON or YAML")
    include: list[str] = Field(default=[], max_length=200, description="only operations with these tags or names")


async def listed(call: Call[None, Query]) -> Json:
    return tools_view(await remoting.show(call.caller.runtime, call.caller.actor, call.path["name"]))


async def read(call: Call[None, Query]) -> Json:
    found = await remoting.get(call.caller.runtime, call.caller.actor, call.path["name"], call.path["tool"])
    return tool_view(found, whole=True)


async def refreshed(call: Call[None, Query]) -> Json:
    return tools_view(await remoting.refresh(call.caller.runtime, call.caller.actor, call.path["name"]))


async def approved(call: Call[Approvals, Query]) -> Json:
    choices = [Choice(name=one.name, digest=one.digest, effect=Effect(one.effect) if one.effect else None) for one in call.body.tools]
    return tools_view(await remoting.approve(call.caller.runtime, call.caller.actor, call.path["name"], choices))


async def disabled(call: Call[Names, Query]) -> Json:
    return tools_view(await remoting.disable(call.caller.runtime, call.caller.actor, call.path["name"], call.body.tools))


async def uploaded(call: Call[Upload, Query]) -> Json:
    given = call.body.document
    text = given if isinstance(given, str) else json.dumps(given)
    found = await remoting.upload(call.caller.runtime, call.caller.actor, call.path["name"], text, include=call.body.include)
    return tools_view(found)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=PATH,
        name="listRemoteTools",
        summary="List the tools of a connection, and how it is doing",
        scope=Scope.READ,
        run=listed,
        answer=RemoteTools,
    ),
    Operation(
        method="POST",
        path=f"{PATH}/refresh",
        name="refreshRemoteTools",
        summary="Ask an MCP server for its tools",
        scope=Scope.AUTHOR,
        run=refreshed,
        answer=RemoteTools,
    ),
    Operation(
        method="POST",
        path=f"{PATH}/approve",
        name="approveRemoteTools",
        summary="Let tools be called, exactly as you have seen them",
        scope=Scope.AUTHOR,
        run=approved,
        answer=RemoteTools,
        body=Approvals,
    ),
    Operation(
        method="POST",
        path=f"{PATH}/disable",
        name="disableRemoteTools",
        summary="End the calls of tools",
        scope=Scope.AUTHOR,
        run=disabled,
        answer=RemoteTools,
        body=Names,
    ),
    Operation(
        method="PUT",
        path="/api/v1/connections/{name}/spec",
        name="uploadSpec",
        summary="Upload the OpenAPI document of a connection",
        scope=Scope.AUTHOR,
        run=uploaded,
        answer=RemoteTools,
        body=Upload,
    ),
    Operation(
        method="GET",
        path=ONE,
        name="getRemoteTool",
        summary="One tool of a connection, with its schema and what has changed",
        scope=Scope.READ,
        run=read,
        answer=RemoteToolDetail,
    ),
)
