"""HTTP operations of single kinds of memory: a conversation's window, facts as they were, entities, graphs, vectors, rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from graphs import memories
from graphs.definition import Json
from graphs.memories import Access, asking
from graphs.memories.asking import Around
from server.auth import Scope
from server.http.memories import PATH, SCOPE
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes import Shape
from server.http.shapes.memories import MemoryDetail, Trust

Name = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-65_000, le=65_000)]
ScopeName = Annotated[str | None, Field(max_length=220, description=SCOPE)]


class WindowQuery(Query):
    scope: str = Field(max_length=220, description=SCOPE)
    session: Name = "main"
    messages: int | None = Field(default=None, ge=1, le=1_000, description="at most so many; without it as the scope's policy says")
    tokens: int | None = Field(default=None, ge=1, le=1_000_000, description="of all of them together")


class FactsQuery(Query):
    subject: Name
    predicate: Name | None = None
    scope: ScopeName = None
    as_of: AwareDatetime | None = Field(default=None, description="what was true then")
    known_at: AwareDatetime | None = Field(default=None, description="what was held to be true then")
    history: bool = Field(default=False, description="also what was superseded or retracted")


class EntityQuery(Query):
    name: Name
    scope: ScopeName = None


class GraphQuery(Query):
    name: Name = Field(description="where to begin")
    to: Name | None = Field(default=None, description="the ways to there, instead of all that is around")
    scope: ScopeName = None
    depth: int = Field(default=2, ge=1, le=6, description="steps")
    type: Name | None = Field(default=None, description="of edges; without it of all")
    direction: Literal["out", "in", "both"] = "both"
    min_weight: float = 0.0
    as_of: AwareDatetime | None = None
    limit: int = Field(default=100, ge=1, le=1_000)


class CommunitiesQuery(Query):
    scope: ScopeName = None
    type: Name | None = None
    least: int = Field(default=2, ge=2, le=1_000, description="members")


class Nearest(Body):
    collection: Name
    vector: list[Number] = Field(min_length=2, max_length=4_000)
    scope: str | None = Field(default=None, max_length=220, description=SCOPE)
    k: int = Field(default=10, ge=1, le=100)
    threshold: float | None = Field(default=None, description="the least score, as the collection's metric says")


class Apply(Body):
    values: dict[str, Any] = Field(description="what the conditions speak of, by name")
    scope: str | None = Field(default=None, max_length=220, description=SCOPE)


class Merge(Body):
    scope: str = Field(max_length=220, description=SCOPE)
    id: str = Field(max_length=60)
    into: str | None = Field(default=None, max_length=60, description="null: the merge of `id` is undone")


class Open(BaseModel):
    """What every one has; more stands beside it."""

    model_config = ConfigDict(extra="allow")


class ConversationWindow(Shape):
    messages: list[MemoryDetail]
    tokens: int
    left_out: int = Field(description="messages before these")


class FactDetail(Open):
    id: str
    subject: str
    predicate: str
    object: str
    valid_from: str | None
    valid_to: str | None
    retracted_at: str | None
    trust: Trust
    conflict: bool


class Facts(Shape):
    facts: list[FactDetail]


class EntityDetail(Open):
    id: str
    name: str | None
    names: list[str]
    mentions: int
    relations: list[dict[str, Any]]
    trust: Trust


class Entities(Shape):
    entities: list[EntityDetail]


class GraphFound(Shape):
    neighbours: list[dict[str, Any]] = Field(default=[], description="the nearest first; empty when ways were asked for")
    paths: list[dict[str, Any]] = Field(default=[], description="the shortest, strongest first")


class Communities(Shape):
    communities: list[dict[str, Any]]


class NearestFound(Shape):
    vectors: list[dict[str, Any]]


class RulesApplying(Shape):
    rules: list[MemoryDetail] = Field(description="the highest priority first")
    unclear: list[dict[str, str]] = Field(description="rules whose conditions ask for a value that is not there")


class Merged(Shape):
    id: str = Field(description="of the entity that it is now")


def _access(call: Call[Any, Any]) -> Access:
    return memories.access(call.caller.runtime, call.caller.actor)


async def window(call: Call[None, WindowQuery]) -> Json:
    query = call.query
    return await asking.window(_access(call), query.scope, query.session, messages=query.messages, tokens=query.tokens)


async def known_facts(call: Call[None, FactsQuery]) -> Json:
    query = call.query
    found = await asking.known_facts(
        _access(call), query.scope, query.subject, predicate=query.predicate, as_of=query.as_of, known_at=query.known_at,
        history=query.history,
    )  # fmt: skip
    return {"facts": found}


async def entity(call: Call[None, EntityQuery]) -> Json:
    return {"entities": await asking.entity(_access(call), call.query.scope, call.query.name)}


async def graph(call: Call[None, GraphQuery]) -> Json:
    query = call.query
    around = Around(
        depth=query.depth, types=[query.type] if query.type else None, direction=query.direction, min_weight=query.min_weight,
        as_of=query.as_of, limit=query.limit,
    )  # fmt: skip
    if query.to is None:
        return {"neighbours": await asking.neighbours(_access(call), query.scope, query.name, around), "paths": []}
    return {"neighbours": [], "paths": await asking.paths(_access(call), query.scope, query.name, query.to, around)}


async def communities(call: Call[None, CommunitiesQuery]) -> Json:
    query = call.query
    types = [query.type] if query.type else None
    return {"communities": await asking.communities(_access(call), query.scope, types=types, least=query.least)}


async def nearest(call: Call[Nearest, Query]) -> Json:
    body = call.body
    return {"vectors": await asking.nearest(_access(call), body.scope, body.collection, body.vector, k=body.k, threshold=body.threshold)}


async def applying(call: Call[Apply, Query]) -> Json:
    return await asking.applying(_access(call), call.body.scope, call.body.values, call.caller.runtime.evaluator)


async def merge(call: Call[Merge, Query]) -> Json:
    body = call.body
    if body.into is None:
        await asking.part(_access(call), body.scope, body.id)
        return {"id": body.id}
    return {"id": await asking.merge(_access(call), body.scope, body.id, body.into)}


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET", path=f"{PATH}/conversation", name="getConversation", summary="The last messages of a conversation",
        scope=Scope.MEMORY_READ, run=window, answer=ConversationWindow, query=WindowQuery,
    ),
    Operation(
        method="GET", path=f"{PATH}/facts", name="listFacts", summary="Facts of a subject, now or as they were", scope=Scope.MEMORY_READ,
        run=known_facts, answer=Facts, query=FactsQuery,
    ),
    Operation(
        method="GET", path=f"{PATH}/entities", name="getEntity", summary="Who or what is called so, and what is next to it",
        scope=Scope.MEMORY_READ, run=entity, answer=Entities, query=EntityQuery,
    ),
    Operation(
        method="POST", path=f"{PATH}/entities/merge", name="mergeEntities", summary="Make two entities one, or undo it",
        scope=Scope.MEMORY_WRITE, run=merge, answer=Merged, body=Merge,
    ),
    Operation(
        method="GET", path=f"{PATH}/graph", name="getGraph", summary="What is around an entity or node, or the ways to another one",
        scope=Scope.MEMORY_READ, run=graph, answer=GraphFound, query=GraphQuery,
    ),
    Operation(
        method="GET", path=f"{PATH}/graph/communities", name="listCommunities", summary="Groups of a graph", scope=Scope.MEMORY_READ,
        run=communities, answer=Communities, query=CommunitiesQuery,
    ),
    Operation(
        method="POST", path=f"{PATH}/nearest", name="nearestVectors", summary="The nearest vectors of a collection",
        scope=Scope.MEMORY_READ, run=nearest, answer=NearestFound, body=Nearest,
    ),
    Operation(
        method="POST", path=f"{PATH}/rules/apply", name="applyRules", summary="The rules that apply to values", scope=Scope.MEMORY_READ,
        run=applying, answer=RulesApplying, body=Apply,
    ),
)  # fmt: skip
