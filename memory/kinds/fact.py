"""Facts: subject, predicate, object, and when they are true. A new value of a single-valued predicate supersedes the old one, whose time
ends there; nothing is lost. Facts from outside contest what a person said and never end it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, model_validator

from memory import extraction, words
from memory.items import NewMemory
from memory.kinds import Given, Moment, Outcome, Share, Short, Text, data_of
from memory.kinds import entity as entity_kind
from memory.writing import TRUSTED, Desk, Sheet
from store import entities, facts, graph, lineage, memories
from store.facts import Claim, Plan
from store.ids import new_id
from store.memories import Memory

ROWS = ("fact",)


class Item(Given):
    """`single`: the predicate has one value at a time (None: as is known of it); `supersedes`: ids of facts that this one ends."""

    subject: Short
    predicate: Short
    object: Text | int | float | bool
    single: bool | None = None
    confidence: Share | None = None
    domain: Short | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    supersedes: tuple[Short, ...] = Field(default=(), max_length=50)
    relation: bool = False
    data: dict[str, Any] | None = None

    @model_validator(mode="after")
    def in_order(self) -> Item:
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise ValueError("valid_from comes before valid_to")
        return self


async def keep(desk: Desk, item: Item, *, literal: bool = True) -> Outcome:
    async with desk.sheet() as sheet:
        await entities.lock(sheet.transaction, desk.scope.id)
        return await keep_on(desk, sheet, item, literal=literal)


async def keep_on(desk: Desk, sheet: Sheet, item: Item, *, literal: bool = True) -> Outcome:
    """The same within a transaction that has the lock of entities."""
    subject = await entity_kind.ensure(desk, sheet, entity_kind.Item(name=item.subject), literal=literal)
    claim, undated = claimed(item, subject.name, await desk.trust(sheet.transaction))
    plan = await facts.prepare(sheet.transaction, desk.scope.id, claim, undated=undated)
    if plan.known is not None:
        await again(desk, sheet, plan.known)
        return Outcome(known=[plan.known])
    row = await sheet.keep_one(memory(desk, item, claim, plan))
    await facts.settle(sheet.transaction, plan, row.id, claim)
    told = [] if claim.trust < TRUSTED else await _end(desk, sheet, item.supersedes, row.id, plan.valid_from)
    mentioned = [subject.id]
    if item.relation:
        other = await entity_kind.ensure(desk, sheet, entity_kind.Item(name=said(item.object)), literal=literal)
        await graph.connect(sheet.transaction, row.id, subject.id, other.id, claim.predicate, item.confidence or 1.0)
        mentioned.append(other.id)
    await entities.mention(sheet.transaction, [(row.id, one) for one in mentioned])
    return Outcome(created=[row.id], superseded=[*plan.superseded, *told], contested=list(plan.contests))


def claimed(item: Item, subject: str, trust: int) -> tuple[Claim, bool]:
    """What an item claims of a subject, under the name that it is compared by; and whether nobody said since when."""
    predicate = extraction.predicate_named(item.predicate)
    claim = Claim(
        subject=subject,
        predicate=predicate,
        object=" ".join(words.plain(said(item.object)).split()),
        single=extraction.single(predicate) if item.single is None else item.single,
        trust=trust,
        valid_from=item.valid_from,
        valid_to=item.valid_to,
    )
    return claim, item.valid_from is None and item.valid_to is None


def memory(desk: Desk, item: Item, claim: Claim, plan: Plan) -> NewMemory:
    return desk.memory(
        "fact", f"{item.subject} {item.predicate.replace('_', ' ')} {said(item.object)}", speaker=item.subject,
        title=claim.predicate.replace("_", " "), confidence=item.confidence, identity=new_id(), data=_data(item, claim, plan),
        **item.common(),
    )  # fmt: skip


async def again(desk: Desk, sheet: Sheet, fact_id: str) -> None:
    """What was known is said once more: it has one more source, and what is said of it counts a use."""
    if desk.provenance.parents:
        await lineage.support(sheet.transaction, fact_id, desk.provenance.parents)
        await lineage.inherit(sheet.transaction, [fact_id])
    else:
        await lineage.free(sheet.transaction, fact_id)
    await memories.count_use(sheet.transaction, [fact_id])
    sheet.known.add(fact_id)


async def _end(desk: Desk, sheet: Sheet, ids: tuple[str, ...], by: str, at: datetime | None) -> list[str]:
    return await facts.end(sheet.transaction, desk.scope.id, ids, at, f"superseded by {by}") if ids else []


def show(memory: Memory) -> dict[str, Any]:
    data = data_of(memory)
    return {
        "subject": memory.speaker, "predicate": data.get("predicate"), "object": data.get("object"), "confidence": memory.confidence,
        "domain": data.get("domain"), "contests": data.get("contests"), "text": memory.body,
        "valid_from": memory.valid_from.isoformat() if memory.valid_from else None,
        "valid_to": memory.valid_to.isoformat() if memory.valid_to else None,
    }  # fmt: skip


def said(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _data(item: Item, claim: Claim, plan: Plan) -> dict[str, Any]:
    data = {**(item.data or {}), "predicate": claim.predicate, "object": item.object, "single": claim.single, "domain": item.domain}
    data.pop("contests", None)
    return {**data, "contests": list(plan.contests)} if plan.contests else data
