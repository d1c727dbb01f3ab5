"""Concluding: what a text says meets what is known, and is kept with the text in one transaction of few round trips.

Names and facts are looked up all at once and written all at once. What is not plain (a name like a known one, an entity that is described
anew, two facts about one thing in one text) goes the long way, one by one, as when it is remembered by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from memory import extraction, names, quotes, words
from memory.extraction import Extracted, FoundEpisode, FoundFact
from memory.items import NewMemory, digest
from memory.kinds import Outcome, conversation, entity, episode, fact
from memory.writing import Desk, Sheet
from store import conclusions, entities, facts, graph, lineage, memories
from store.conclusions import Known
from store.facts import Claim, Plan
from store.memories import Kept

PERSONS = ("user", "operator", "agent")  # origins that are believed more than what comes from outside
MOST = 200  # of each kind that one text is taken to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The memory that something is concluded from. `known`: it was there before."""

    id: str
    trust: int
    at: datetime
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A fact as it was found, what it asks to be held, and whether nobody said since when."""

    found: FoundFact
    item: fact.Item
    claim: Claim
    undated: bool

    @property
    def key(self) -> conclusions.Key:
        return self.claim.subject, self.claim.predicate


async def tell(desk: Desk, message: conversation.Message, session: str) -> tuple[Outcome, Outcome]:
    """Appends a message to its conversation, and what it says, by rules. Once more changes nothing. What was kept, and what concluded."""
    (turn,) = conversation.turns(desk, conversation.Item(session=session, messages=(message,)))
    texts = quotes.passages(message.text) if turn.origin in PERSONS else []
    async with desk.sheet() as sheet:
        begun = await conclusions.begin(
            sheet.transaction, desk.scope.id, digest(turn), desk.space, texts, desk.provenance.created_by
        )  # fmt: skip
        sheet.space, said = begun.space, begun.turn
        if begun.heard is not None and said.id is None:
            desk = desk.believed(begun.heard)
            turn = replace(turn, trust=desk.provenance.trust)
        own = desk.own_trust if not desk.provenance.parents else await desk.trust(sheet.transaction)
        told = Told(
            id=said.id or turn.id,
            trust=own if said.trust is None else said.trust,
            at=turn.occurred_at or said.at,
            known=said.id is not None,
        )
        if not told.known:
            turn = replace(turn, seq=begun.number, recorded_at=said.at)
            await conclusions.advance(sheet.transaction, desk.scope.id)
        quiet = message.role in ("system", "developer")
        found = Extracted() if quiet else extraction.extract(turn.body, turn.speaker, told.at)
        (row,), concluded = await _conclude(desk, sheet, told, found, [turn])
    return Outcome(created=[row.id]) if row.created else Outcome(known=[row.id]), concluded


async def conclude(desk: Desk, memory_id: str, found: Extracted) -> Outcome:
    """Keeps what a memory says. Once more is the same once; what was retracted since is not held again because of the same words."""
    (memory,) = await memories.get(desk.tenant, [memory_id])
    told = Told(id=memory.id, trust=memory.trust, at=memory.occurred_at or memory.recorded_at, known=True)
    async with desk.sheet() as sheet:
        await entities.lock(sheet.transaction, desk.scope.id)
        _, concluded = await _conclude(desk, sheet, told, found, [])
    return concluded


async def _conclude(desk: Desk, sheet: Sheet, told: Told, found: Extracted, first: Sequence[NewMemory]) -> tuple[list[Kept], Outcome]:
    """In a transaction that has the lock of entities. `first` is written as well, before what follows from it; what became of it."""
    trust = min(desk.derived([]).own_trust, told.trust)
    items = [(one, fact_item(one, told.at)) for one in found.facts[:MOST]]
    said = [Said(found=one, item=item, claim=claim, undated=undated)
            for one, item in items for claim, undated in [fact.claimed(item, names.compared(item.subject), trust)]]  # fmt: skip
    acted = [episode_item(one, told.at) for one in found.episodes[:MOST]]
    listed = [entity.Item(name=one.name[:500], type=one.type) for one in found.entities[:MOST] if words.plain(one.name).strip()]
    wanted = [*listed, *(entity.Item(name=name) for name in _named([one.item for one in said], acted))]
    if not wanted:
        return await sheet.keep(first), Outcome()
    known = await _look(sheet, desk.scope.id, wanted, said, told)
    draft = Draft(desk=desk, sheet=sheet, told=told, trust=trust, known=known, pending=list(first))
    later = draft.meet(wanted)
    if later:
        await draft.write()
        for item in later:
            draft.who[_key(item)] = await entity.ensure(draft.derived, sheet, item, literal=False)
    fresh = [one for one in said if _concluded(one.found) not in known.concluded]
    sheet.known.update(known.concluded.values())
    long_way = draft.claim(fresh)
    draft.act(acted)
    await draft.write()
    outcome = await draft.finish(listed)
    for one in long_way:
        outcome.add(await fact.keep_on(draft.derived, sheet, one.item, literal=False))
    return draft.kept[: len(first)], outcome


@dataclass(slots=True, kw_only=True)
class Draft:
    """What is to be written. New entities have a planned id until they are; `ids` tells the real one."""

    desk: Desk
    sheet: Sheet
    told: Told
    trust: int
    known: Known
    pending: list[NewMemory]
    kept: list[Kept] = field(default_factory=list[Kept])
    ids: dict[str, str] = field(default_factory=dict[str, str])
    who: dict[tuple[str, str | None], entity.Found] = field(default_factory=dict[tuple[str, str | None], entity.Found])
    new: dict[str, entity.Item] = field(default_factory=dict[str, entity.Item])
    unnamed: list[str] = field(default_factory=list[str])
    facts: list[tuple[str, Said, Plan]] = field(default_factory=list[tuple[str, Said, Plan]])
    again: list[str] = field(default_factory=list[str])
    episodes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def derived(self) -> Desk:
        return self.desk.derived([self.id(self.told.id)])

    def id(self, planned: str) -> str:
        return self.ids.get(planned, planned)

    def meet(self, wanted: Sequence[entity.Item]) -> list[entity.Item]:
        """Who is meant by each name: somebody known, or somebody new, who is planned. Answers those that go the long way."""
        later: list[entity.Item] = []
        for item in wanted:
            if _key(item) not in self.who and item not in later:
                met = self._known(item) or self._planned(item)
                if met is None:
                    later.append(item)
                else:
                    self.who[_key(item)] = met
        return later

    def _known(self, item: entity.Item) -> entity.Found | None:
        name = names.compared(item.name)
        fitting = [one for one in self.known.called[name] if names.fits(one.type, item.type)]
        if not fitting:
            return None
        met = next((one for one in fitting if one.type == item.type), fitting[0])
        if item.type and self.trust >= met.trust and (met.type != item.type or self.trust > met.trust):
            return None  # is described anew
        return entity.Found(id=met.id, name=names.compared(met.title or item.name), created=False)

    def _planned(self, item: entity.Item) -> entity.Found | None:
        name = names.compared(item.name)
        if not name or self.known.called[name] or name in self.known.alike:
            return None
        for planned, other in self.new.items():
            called = names.compared(other.name)
            if called == name and names.fits(other.type, item.type):
                return entity.Found(id=planned, name=name, created=False) if item.type in (None, other.type) else None
            if names.alike(called, name):
                return None
        made = entity.memory(self.derived, item, "entity")
        self.pending.append(made)
        self.new[made.id] = item
        self.unnamed.append(made.id)
        return entity.Found(id=made.id, name=name, created=True)

    def claim(self, said: Sequence[Said]) -> list[Said]:
        """Plans facts, the first about each thing. Answers the others, and those about somebody who has another name than was thought."""
        later: list[Said] = []
        taken: set[conclusions.Key] = set()
        for one in said:
            if one.key in taken or self.who[names.compared(one.item.subject), None].name != one.claim.subject:
                later.append(one)
                continue
            taken.add(one.key)
            standing = self.known.standing[one.key]
            plan = facts.plan(facts.since(one.claim, standing, self.known.now, undated=one.undated), standing)
            if plan.known is not None:
                self.again.append(plan.known)
                continue
            made = fact.memory(self.derived, one.item, one.claim, plan)
            self.pending.append(made)
            self.facts.append((made.id, one, plan))
        return later

    def act(self, acted: Sequence[episode.Item]) -> None:
        for item in acted:
            made = episode.memory(self.derived, item)
            self.pending.append(made)
            self.episodes.append((made.id, item.actor))

    async def write(self) -> None:
        """What is pending, and the names of who is new."""
        rows = await self.sheet.keep(self.pending)
        self.ids.update({item.id: row.id for item, row in zip(self.pending, rows, strict=True)})
        self.kept += rows
        self.pending = []
        for planned in self.unnamed:
            await entities.name(self.sheet.transaction, self.desk.scope.id, self.id(planned), entity.named((self.new[planned].name,)))
        self.unnamed = []

    async def finish(self, listed: Sequence[entity.Item]) -> Outcome:
        """All that needs the ids of what was written; nothing here is waited for."""
        transaction, told = self.sheet.transaction, self.id(self.told.id)
        outcome, created = Outcome(), {row.id for row in self.kept if row.created}
        for found in dict.fromkeys(found for found in self.who.values() if found.id not in self.new and not found.created):
            await lineage.support(transaction, found.id, [told])
            self.sheet.known.add(found.id)
        mentions: list[tuple[str, str]] = []
        for item in listed:
            memory_id = self.id(self.who[_key(item)].id)
            mentions.append((told, memory_id))
            outcome.add(Outcome(created=[memory_id]) if self.who[_key(item)].created else Outcome(known=[memory_id]))
        for known in self.again:
            await fact.again(self.derived, self.sheet, known)
            outcome.add(Outcome(known=[known]))
        for planned, one, plan in self.facts:
            memory_id, subject = self.id(planned), self._id(one.item.subject)
            await facts.settle(transaction, plan, memory_id, one.claim)
            mentions.append((memory_id, subject))
            if one.item.relation:
                other = self._id(fact.said(one.item.object))
                await graph.connect(transaction, memory_id, subject, other, one.claim.predicate, one.item.confidence or 1.0)
                mentions.append((memory_id, other))
            outcome.add(Outcome(created=[memory_id], superseded=list(plan.superseded), contested=list(plan.contests)))
        for planned, actor in self.episodes:
            memory_id = self.id(planned)
            mentions.append((memory_id, self._id(actor)))
            outcome.add(Outcome(created=[memory_id]) if memory_id in created else Outcome(known=[memory_id]))
        await entities.mention(transaction, mentions)
        return outcome

    def _id(self, name: str) -> str:
        return self.id(self.who[names.compared(name), None].id)


async def _look(sheet: Sheet, scope_id: int, wanted: Sequence[entity.Item], said: Sequence[Said], told: Told) -> Known:
    called = list(dict.fromkeys(names.compared(item.name) for item in wanted))
    return await conclusions.known(
        sheet.transaction,
        scope_id,
        called,
        {name: names.trigrams(name) for name in called if names.by_likeness(name)},
        least=names.LIKE,
        keys=list(dict.fromkeys(one.key for one in said)),
        of=told.id if told.known else None,
    )


def _named(said: Sequence[fact.Item], acted: Sequence[episode.Item]) -> list[str]:
    """Whom facts and episodes are about."""
    facts_about = [name for item in said for name in (item.subject, *([fact.said(item.object)] if item.relation else []))]
    return [*facts_about, *(item.actor for item in acted)]


def _key(item: entity.Item) -> tuple[str, str | None]:
    return names.compared(item.name), item.type


def _concluded(found: FoundFact) -> tuple[str, str, str]:
    return names.compared(found.subject), extraction.predicate_named(found.predicate), " ".join(words.plain(found.object).split())


def fact_item(found: FoundFact, told: datetime) -> fact.Item:
    since = found.valid_from or (None if found.valid_to else told)
    if since and found.valid_to and since >= found.valid_to:
        since = None
    return fact.Item(
        subject=found.subject, predicate=found.predicate, object=found.object, single=found.single, confidence=found.confidence,
        valid_from=since, valid_to=found.valid_to, relation=found.object_is_entity,
    )  # fmt: skip


def episode_item(found: FoundEpisode, told: datetime) -> episode.Item:
    return episode.Item(
        actor=found.actor, action=found.action, object=found.object, outcome=found.outcome, importance=found.importance,
        at=found.occurred_at or told,
    )  # fmt: skip
