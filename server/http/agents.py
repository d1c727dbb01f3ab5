"""HTTP operations on agents: profiles in their versions, and agents at work in a run."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import profiles
from graphs.agents import watching
from graphs.definition import Json
from server.agents import at_work_view, profile_line, profile_view
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.runs import PATH as RUNS
from server.http.shapes.agents import AgentPage, AgentRuns, AgentTranscript, AgentVersions, ProfileDetail

PATH = "/api/v1/agents"
ONE = f"{PATH}/{{name}}"


class ListQuery(Query):
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200)


class VersionQuery(Query):
    version: int | None = Field(default=None, ge=1, description="without it the newest")


class ProfileBody(Body):
    profile: dict[str, Any] = Field(description="what an agent node may say, without prompt and profile")
    description: str = Field(default="", max_length=profiles.MAX_DESCRIPTION, description="what it is good for; other agents read it")
    expect: int | None = Field(default=None, ge=0, description="number of the newest version this is to follow; 0: there is none")


async def listed(call: Call[None, ListQuery]) -> Json:
    page = await profiles.page(call.caller.runtime, call.caller.actor, **call.query.model_dump())
    return {"agents": [profile_line(item) for item in page.items], "total": page.total, "next_cursor": page.next_cursor}


async def get(call: Call[None, VersionQuery]) -> Json:
    return profile_view(await profiles.get(call.caller.runtime, call.caller.actor, call.path["name"], call.query.version))


async def versions(call: Call[None, Query]) -> Json:
    found = await profiles.versions(call.caller.runtime, call.caller.actor, call.path["name"])
    return {"versions": [profile_line(item) for item in found]}


async def save(call: Call[ProfileBody, Query]) -> Json:
    body = call.body
    saved = await profiles.save(
        call.caller.runtime, call.caller.actor, call.path["name"], body.profile, description=body.description, expect=body.expect
    )
    return profile_view(saved)


async def at_work(call: Call[None, Query]) -> Json:
    found = await watching.at_work(call.caller.runtime, call.caller.actor, call.path["run_id"])
    return {"agents": [at_work_view(item) for item in found]}


async def transcript(call: Call[None, Query]) -> Json:
    return await watching.transcript(call.caller.runtime, call.caller.actor, call.path["run_id"], call.path["position"])


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=PATH,
        name="listAgents",
        summary="List agent profiles, the newest version of each",
        scope=Scope.READ,
        run=listed,
        answer=AgentPage,
        query=ListQuery,
    ),
    Operation(
        method="GET",
        path=ONE,
        name="getAgent",
        summary="Show a version of an agent profile",
        scope=Scope.READ,
        run=get,
        answer=ProfileDetail,
        query=VersionQuery,
    ),
    Operation(
        method="GET",
        path=f"{ONE}/versions",
        name="listAgentVersions",
        summary="List the versions of an agent profile, newest first",
        scope=Scope.READ,
        run=versions,
        answer=AgentVersions,
    ),
    Operation(
        method="PUT",
        path=ONE,
        name="saveAgent",
        summary="Save the next version of an agent profile",
        scope=Scope.AUTHOR,
        run=save,
        answer=ProfileDetail,
        body=ProfileBody,
    ),
    Operation(
        method="GET",
        path=f"{RUNS}/{{run_id}}/agents",
        name="getRunAgents",
        summary="Show the agents of a run: who runs whom, turns, calls, tokens, cost",
        scope=Scope.READ,
        run=at_work,
        answer=AgentRuns,
    ),
    Operation(
        method="GET",
        path=f"{RUNS}/{{run_id}}/agents/{{position:path}}/transcript",
        name="getAgentTranscript",
        summary="Show what an agent of a run was told, said, called and was answered",
        scope=Scope.READ,
        run=transcript,
        answer=AgentTranscript,
    ),
)
