"""What kinds of memory answer beside recall: the end of a conversation, facts as they were, entities and what is around them, the vectors
that are nearest, the rules that apply. All within what may be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from graphs.definition import Json
from graphs.expressions import Evaluator, ExpressionError
from graphs.memories.reach import Access, is_id, readable, spelled
from graphs.memories.views import TRUSTED, memory_view
from memory import names, policies, scopes
from memory.kinds import conversation, vector
from memory.kinds import rule as rule_kind
from memory.policies import Window
from store import entities, facts, graph, rules
from store.entities import Entity
from store.errors import Denied, Invalid, NotFound
from store.facts import Fact
from store.graph import Direction
from store.memories import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What of a graph is asked for: `depth` in steps; `types` of edges, None: of all."""

    depth: int = 1
    types: Sequence[str] | None = None
    direction: Direction = "both"
    min_weight: float = 0.0
    as_of: datetime | None = None
    limit: int = 100


async def window(access: Access, scope: str, session: str, *, messages: int | None = None, tokens: int | None = None) -> dict[str, Any]:
    """The last messages of a conversation, the oldest first, within so many messages and tokens, else the scope's window.
    Raises NotFound."""
    (found,) = await _within(access, scope)
    policy = await policies.of_scope(access.tenant, found.id)
    own = policy.window if policy.enabled else Window()
    wanted = Window(messages=messages or own.messages, tokens=tokens or own.tokens)
    buffer = await conversation.buffer(access.tenant, found.id, session, wanted, min_trust=1)
    return {"messages": [memory_view(turn) for turn in buffer.messages], "tokens": buffer.tokens, "left_out": buffer.left_out}


async def known_facts(
    access: Access, scope: str | None, subject: str, *, predicate: str | None = None, as_of: datetime | None = None,
    known_at: datetime | None = None, history: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Facts of a subject under all its names; `history`: also what was true, or held to be true, before. In `conflict`: another one says
    otherwise."""
    within = [found.id for found in await _within(access, scope)]
    subjects = sorted({name for one in await _called(access, within, subject) for name in one.names} | {names.compared(subject)})
    if history:
        found = await facts.history(access.tenant, within, subjects, predicate)
        found = [fact for fact in found if fact.trust > 0]
    else:
        found = await facts.about(access.tenant, within, subjects, predicate, as_of=as_of, known_at=known_at)
    standing = facts.conflicts([fact for fact in found if fact.retracted_at is None])
    return [{**_fact(fact), "conflict": fact.id in standing} for fact in found]


def _fact(fact: Fact) -> dict[str, Any]:
    """With the object as it was said; subject and predicate are as they are compared."""
    data: dict[str, Any] = fact.data or {}
    return {**_plain(asdict(fact)), "object": str(data.get("object", fact.object)), "trust": TRUSTED[fact.trust]}


async def entity(access: Access, scope: str | None, name: str) -> list[dict[str, Any]]:
    """Entities of that name in each scope that has one, the most important first, with what is next to them. Raises NotFound."""
    within = [found.id for found in await _within(access, scope)]
    found = await _called(access, within, name)
    if not found:
        raise NotFound(f"Nobody and nothing called {name[:100]!r} is remembered here.")
    shown: list[dict[str, Any]] = []
    for one in found:
        around = await graph.neighbours(access.tenant, [one.scope_id], [one.id, *one.merged])
        shown.append(
            {**_plain(asdict(one)), "trust": TRUSTED[one.trust], "relations": [asdict(near) for near in around]}
        )  # fmt: skip
    return shown


async def neighbours(access: Access, scope: str | None, name: str, around: Around) -> list[dict[str, Any]]:
    """What can be reached from an entity or node, the nearest first. Raises NotFound, Invalid for a depth out of bounds."""
    within = [found.id for found in await _within(access, scope)]
    ids = await _ids(access, within, name)
    found = await graph.neighbours(
        access.tenant, within, ids, depth=around.depth, types=around.types, direction=around.direction, min_weight=around.min_weight,
        as_of=around.as_of, limit=around.limit,
    )  # fmt: skip
    return [asdict(one) for one in found]


async def paths(access: Access, scope: str | None, start: str, end: str, around: Around) -> list[dict[str, Any]]:
    """The shortest ways from one to the other, the strongest first. Raises NotFound, Invalid."""
    within = [found.id for found in await _within(access, scope)]
    (first, *_), (last, *_) = await _ids(access, within, start), await _ids(access, within, end)
    found = await graph.paths(
        access.tenant, within, first, last, depth=around.depth, types=around.types, directed=around.direction == "out", as_of=around.as_of,
        limit=min(around.limit, 10),
    )  # fmt: skip
    return [asdict(one) for one in found]


async def communities(access: Access, scope: str | None, *, types: Sequence[str] | None = None, least: int = 2) -> list[dict[str, Any]]:
    """Groups that are more tightly connected within than without, the largest first."""
    within = [found.id for found in await _within(access, scope)]
    return [asdict(one) for one in await graph.communities(access.tenant, within, types=types, least=least)]


async def nearest(
    access: Access, scope: str | None, collection: str, query: Sequence[float], *, k: int = 10, threshold: float | None = None
) -> list[dict[str, Any]]:
    """Of a collection of vectors. Raises NotFound, Invalid for another dimension."""
    within = [found.id for found in await _within(access, scope)]
    found = await vector.nearest(access.tenant, within, collection, query, k=k, threshold=threshold)
    return [{**asdict(one), "trust": TRUSTED[one.trust]} for one in found]


async def applying(access: Access, scope: str | None, values: Mapping[str, Json], evaluator: Evaluator) -> dict[str, Any]:
    """The rules all of whose conditions are true of the values, the highest priority first, with their actions. A rule that asks for a
    value that is not there does not apply, and says so."""
    within = [found.id for found in await _within(access, scope)]
    applies: list[dict[str, Any]] = []
    unclear: list[dict[str, str]] = []
    for rule in await rules.standing(access.tenant, within):
        try:
            if await rule_kind.holds(rule, dict(values), evaluator.evaluate):
                applies.append(memory_view(rule))
        except ExpressionError as error:
            unclear.append({"name": rule.title or "", "why": str(error)})
    return {"rules": applies, "unclear": unclear}


async def merge(access: Access, scope: str, from_id: str, into_id: str) -> str:
    """From now on two entities are one; answers the id of that one. Raises NotFound, Denied."""
    found = await _own(access, scope)
    await _of_scope(access, found, from_id, into_id)
    return await entities.merge(access.tenant, found.id, from_id, into_id, by=access.principal.user_id)


async def part(access: Access, scope: str, entity_id: str) -> None:
    """Undoes the merge of this entity into another. Raises NotFound, Denied."""
    found = await _own(access, scope)
    await _of_scope(access, found, entity_id)
    await entities.part(access.tenant, found.id, entity_id)


async def _within(access: Access, scope: str | None) -> list[Scope]:
    found = await readable(access, scope)
    if scope is not None and not found:
        raise NotFound(f"Nothing is remembered in the scope {scope[:220]!r}.")
    return found


async def _own(access: Access, scope: str) -> Scope:
    (found,) = await _within(access, scope)
    if not scopes.writable(found, access.principal):
        raise Denied(f"Writing to {spelled(found)} takes another role than {access.principal.role}.")
    return found


async def _of_scope(access: Access, scope: Scope, *ids: str) -> None:
    found = {one.id: one for one in await entities.read(access.tenant, [one for one in ids if is_id(one)])}
    for one in ids:
        known = any(one in (entity.id, *entity.merged) and entity.scope_id == scope.id for entity in found.values())
        if not known:
            raise NotFound(f"There is no entity {one[:60]!r} in this scope.")


async def _called(access: Access, within: Sequence[int], name: str) -> list[Entity]:
    if not names.compared(name):
        raise Invalid("A name has at least one letter or digit.")
    called = await entities.called(access.tenant, within, [names.compared(name)])
    found = await entities.read(access.tenant, [one.id for one in called])
    return [one for one in found if one.trust > 0]


async def _ids(access: Access, within: Sequence[int], name: str) -> list[str]:
    found = await _called(access, within, name)
    if not found:
        raise NotFound(f"Nobody and nothing called {name[:100]!r} is remembered here.")
    return [one.id for one in found]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Without numbers of scopes; instants as ISO 8601."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items() if name != "scope_id"
    }  # fmt: skip
