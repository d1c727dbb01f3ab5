"""HTTP operations on memories: remember, recall, forget, list, read, export, consolidate, embed anew."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, Literal

from pydantic import AwareDatetime, Field
from starlette.responses import Response, StreamingResponse

from graphs import housekeeping, memories
from graphs.definition import Json
from graphs.memories import Access, Remembrance, Selection, Wanted, forgotten_view, hit_view, memory_view, outcome_view
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.runs import detail
from server.http.shapes.memories import Forgotten, MemoryDetail, MemoryExport, MemoryPage, Recalled, Remembered
from server.http.shapes.runs import RunDetail

PATH = "/api/v1/memories"
LINES = "application/x-ndjson"
SCOPE = "user, organization, or agent:, conversation:, workflow:, run: and a name; private: before it makes it yours alone"


class ListQuery(Query):
    scope: str | None = Field(default=None, max_length=220, description=SCOPE)
    kind: str | None = Field(default=None, max_length=20)
    collection: str | None = Field(default=None, max_length=500)
    quarantined: bool = Field(default=False, description="only those in quarantine, which are never among the others")
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200)


class ExportQuery(Query):
    subject: str | None = Field(default=None, min_length=1, max_length=200, description="without it all that may be read")
    scope: str | None = Field(default=None, max_length=220, description=SCOPE)


class Remember(Body):
    text: str | None = Field(default=None, min_length=1, max_length=100_000)
    kind: str | None = Field(default=None, max_length=20, description="the kind of `item`")
    item: dict[str, Any] | None = Field(default=None, description="instead of text: fields of the kind")
    scope: str = Field(default=memories.OWN, max_length=220, description=SCOPE)
    origin: Literal["user", "agent", "tool", "web", "document"] = "user"
    source: str | None = Field(default=None, max_length=500, description="a URL, a file, a tool")
    author: str | None = Field(default=None, max_length=200)
    speaker: str | None = Field(default=None, max_length=200)
    at: AwareDatetime | None = Field(default=None, description="when it was said or happened", strict=False)
    labels: list[str] = Field(default=[], max_length=20)


class Recall(Body):
    query: str = Field(max_length=4000)
    scope: str | None = Field(default=None, max_length=220, description=SCOPE)
    kinds: list[str] | None = Field(default=None, max_length=8)
    collection: str | None = Field(default=None, max_length=500)
    speaker: str | None = Field(default=None, max_length=200)
    source: str | None = Field(default=None, max_length=500)
    labels: list[str] = Field(default=[], max_length=20, description="having all of them")
    least_trust: int = Field(default=1, ge=1, le=3, description="3: said by a person; 2: also agents; 1: also from outside")
    as_of: AwareDatetime | None = Field(default=None, description="what was true then", strict=False)
    known_at: AwareDatetime | None = Field(default=None, description="what was held to be true then", strict=False)
    k: int = Field(default=10, ge=1, le=100)
    token_budget: int | None = Field(default=None, ge=1, le=1_000_000, description="of all quotes together")
    cursor: str | None = Field(default=None, max_length=200)


class Forget(Body):
    ids: list[str] = Field(default=[], max_length=1000)
    query: str | None = Field(default=None, min_length=1, max_length=4000)
    source: str | None = Field(default=None, min_length=1, max_length=500)
    subject: str | None = Field(default=None, min_length=1, max_length=200)
    scope: str | None = Field(default=None, max_length=220, description=SCOPE)
    expect: int | None = Field(default=None, ge=0, description="without it they are only counted; with it they go, if there are so many")
    reason: str = Field(default="asked for", min_length=1, max_length=500)


def _access(call: Call[Any, Any]) -> Access:
    return memories.access(call.caller.runtime, call.caller.actor)


async def remember(call: Call[Remember, Query]) -> Json:
    return outcome_view(await memories.remember(_access(call), Remembrance(**call.body.model_dump())))


async def recall(call: Call[Recall, Query]) -> Json:
    found = await memories.recall(_access(call), Wanted(**call.body.model_dump()))
    result = found.recalled
    return {
        "memories": [hit_view(found, hit) for hit in result.hits],
        "found_by": found.how,
        "tokens": result.tokens,
        "left_out": result.left_out,
        "next_cursor": result.next_cursor,
    }


async def forget(call: Call[Forget, Query]) -> Json:
    body = call.body.model_dump(exclude={"expect", "reason"})
    access, chosen = _access(call), Selection(**body)
    if call.body.expect is None:
        return forgotten_view(await memories.count_forgotten(access, chosen))
    return forgotten_view(await memories.forget(access, chosen, expect=call.body.expect, reason=call.body.reason))


async def forget_one(call: Call[None, Query]) -> Json:
    access, wanted = _access(call), Selection(ids=[call.path["memory_id"]])
    if not (await memories.count_forgotten(access, wanted)).count:  # what is in quarantine is not read, and can be forgotten
        await memories.get(access, call.path["memory_id"])
    return forgotten_view(await memories.forget(access, wanted))


async def listed(call: Call[None, ListQuery]) -> Json:
    query = call.query
    page = await memories.page(
        _access(call), scope=query.scope, kinds=[query.kind] if query.kind else None, collection=query.collection,
        hidden=query.quarantined, limit=query.limit, cursor=query.cursor,
    )  # fmt: skip
    return {"memories": [memory_view(item) for item in page.items], "total": page.total, "next_cursor": page.next_cursor}


async def get(call: Call[None, Query]) -> Json:
    return memory_view(await memories.get(_access(call), call.path["memory_id"]))


async def export(call: Call[None, ExportQuery]) -> Response:
    """A stream, so that it may be long. What is wrong with the question is told before it begins."""
    found = memories.export(_access(call), subject=call.query.subject, scope=call.query.scope)
    first = await anext(found)

    async def lines() -> AsyncGenerator[bytes]:
        yield line(first)
        async for memory in found:
            yield line(memory)

    return StreamingResponse(lines(), media_type=LINES)


def line(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode(errors="replace") + b"\n"


async def consolidate(call: Call[None, Query]) -> Json:
    return detail(await housekeeping.consolidate(call.caller.runtime, call.caller.actor))


async def reembed(call: Call[None, Query]) -> Json:
    return detail(await housekeeping.reembed(call.caller.runtime, call.caller.actor, _access(call)))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST", path=PATH, name="remember", summary="Remember a text or an item", scope=Scope.MEMORY_WRITE, run=remember,
        answer=Remembered, body=Remember,
    ),
    Operation(
        method="GET", path=PATH, name="listMemories", summary="List memories, the newest first", scope=Scope.MEMORY_READ, run=listed,
        answer=MemoryPage, query=ListQuery,
    ),
    Operation(
        method="POST", path=f"{PATH}/recall", name="recall", summary="Find what is remembered", scope=Scope.MEMORY_READ, run=recall,
        answer=Recalled, body=Recall,
    ),
    Operation(
        method="POST", path=f"{PATH}/forget", name="forget", summary="Forget memories and what was derived from them",
        scope=Scope.MEMORY_WRITE, run=forget, answer=Forgotten, body=Forget,
    ),
    Operation(
        method="POST", path=f"{PATH}/consolidate", name="consolidateMemories", summary="Start a run that keeps memories in order",
        scope=Scope.MEMORY_WRITE, run=consolidate, answer=RunDetail, status=201,
    ),
    Operation(
        method="POST", path=f"{PATH}/reembed", name="reembedMemories", summary="Start a run that moves memories to the configured embedder",
        scope=Scope.MEMORY_WRITE, run=reembed, answer=RunDetail, status=201,
    ),
    Operation(
        method="GET", path=f"{PATH}/export", name="exportMemories", summary="Everything that is known, or known about a subject",
        scope=Scope.MEMORY_READ, run=export, answer=MemoryExport, query=ExportQuery, media=LINES,
    ),
    Operation(
        method="GET", path=f"{PATH}/{{memory_id}}", name="getMemory", summary="Read a memory", scope=Scope.MEMORY_READ, run=get,
        answer=MemoryDetail,
    ),
    Operation(
        method="DELETE", path=f"{PATH}/{{memory_id}}", name="forgetMemory", summary="Forget a memory and what was derived from it",
        scope=Scope.MEMORY_WRITE, run=forget_one, answer=Forgotten,
    ),
)  # fmt: skip
