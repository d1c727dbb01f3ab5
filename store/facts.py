"""Facts in two times: when they are true in the world (`valid`), and when we held them to be so (`recorded`). Nothing is overwritten.

Of a predicate with one value at a time the newest word counts for its interval: `plan` says what becomes of what stood there. Facts that
nobody vouches for (trust 0 or 1) contest those that somebody does, and never end or shorten them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from store.postgres import Session, Transaction
from store.queries import load

SQL = load(__file__)
VOUCHED = 2
BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
MAX_FACTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """`valid_from` None: always was; `valid_to` None: still is. `retracted_at` None: is held to be so."""

    id: str
    scope_id: int
    subject: str
    predicate: str
    object: str
    body: str
    single: bool
    vouched: bool
    valid_from: datetime | None
    valid_to: datetime | None
    recorded_at: datetime
    retracted_at: datetime | None
    retraction: str | None
    confidence: float | None
    importance: float
    origin: str
    source: str | None
    author: str | None
    trust: int
    labels: list[str]
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    id: str
    object: str
    valid_from: datetime | None
    valid_to: datetime | None
    single: bool
    vouched: bool
    trust: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is to be held: `single`: the predicate has one value at a time."""

    subject: str
    predicate: str
    object: str
    single: bool
    trust: int
    valid_from: datetime | None = None
    valid_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An interval that a standing fact keeps."""

    id: str
    valid_from: datetime | None
    valid_to: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a claim does to what stands. `known`: the fact that says it already, and then nothing else happens."""

    known: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    ended: tuple[str, ...] = ()
    trimmed: tuple[Piece, ...] = ()
    split: tuple[Piece, ...] = ()
    contests: tuple[str, ...] = ()

    @property
    def superseded(self) -> tuple[str, ...]:
        """Ids of the facts that no longer hold for all of their time."""
        return (*self.ended, *(piece.id for piece in self.trimmed))


ROWS = {"clock": datetime, "standing": Standing, "retract": str, "about": Fact, "history": Fact, "current": Standing}


def plan(claim: Claim, standing: Sequence[Standing]) -> Plan:
    """Pure. An open end of a single-valued claim reaches to the next change that is known already, a stated end overrides."""
    vouched = claim.trust >= VOUCHED
    start, end = claim.valid_from or BEGINNING, claim.valid_to or END
    peers = [fact for fact in standing if fact.vouched == vouched]
    if claim.single and claim.valid_to is None:
        end = min((at for fact in peers if fact.single and (at := fact.valid_from or BEGINNING) > start), default=END)
    for fact in peers:
        if fact.object == claim.object and (fact.valid_from or BEGINNING) <= start and end <= (fact.valid_to or END):
            return Plan(known=fact.id)
    until = None if end == END else end
    if not claim.single:
        return _widened(claim, peers, start, end)
    across = [fact for fact in standing if fact.single and (fact.valid_from or BEGINNING) < end and start < (fact.valid_to or END)]
    mine = [fact for fact in across if vouched or not fact.vouched]
    ended: list[str] = []
    trimmed: list[Piece] = []
    split: list[Piece] = []
    for fact in mine:
        before, after = (fact.valid_from or BEGINNING) < start, end < (fact.valid_to or END)
        if before:
            trimmed.append(Piece(id=fact.id, valid_from=fact.valid_from, valid_to=claim.valid_from))
            if after:
                split.append(Piece(id=fact.id, valid_from=until, valid_to=fact.valid_to))
        elif after:
            trimmed.append(Piece(id=fact.id, valid_from=until, valid_to=fact.valid_to))
        else:
            ended.append(fact.id)
    contests = tuple(fact.id for fact in across if fact.vouched and not vouched and fact.object != claim.object)
    return Plan(
        valid_from=claim.valid_from, valid_to=until, ended=tuple(ended), trimmed=tuple(trimmed), split=tuple(split), contests=contests
    )


def _widened(claim: Claim, peers: Sequence[Standing], start: datetime, end: datetime) -> Plan:
    """One value among several: with what says the same of a time that touches this one, it becomes one fact."""
    met: list[str] = []
    for fact in sorted(peers, key=lambda fact: fact.valid_from or BEGINNING):
        since, until = fact.valid_from or BEGINNING, fact.valid_to or END
        if fact.object == claim.object and since <= end and start <= until:
            start, end = min(start, since), max(end, until)
            met.append(fact.id)
    return Plan(valid_from=None if start == BEGINNING else start, valid_to=None if end == END else end, ended=tuple(met))


async def prepare(transaction: Transaction, scope_id: int, claim: Claim, *, undated: bool = False) -> Plan:
    """What the claim will do; nobody else writes about the same subject and predicate until the transaction ends.

    `undated`: nobody said since when. The first word on something holds always, as far as we know; a later one from now on.
    """
    key = {"scope_id": scope_id, "subject": claim.subject, "predicate": claim.predicate}
    await transaction.queue(SQL.lock, **key)
    standing = await transaction.all(SQL.standing, Standing, **key)
    if undated and standing and (now := await transaction.one(SQL.clock, datetime)):
        claim = since(claim, standing, now, undated=True)
    return plan(claim, standing)


def since(claim: Claim, standing: Sequence[Standing], now: datetime, *, undated: bool) -> Claim:
    """The claim with the time from which it holds, when nobody said it and something stands already."""
    told = undated and any(claim.single or fact.object == claim.object for fact in standing)
    return replace(claim, valid_from=now) if told else claim


async def settle(transaction: Transaction, made: Plan, memory_id: str, claim: Claim, *, now: datetime | None = None) -> None:
    """Carries out a plan that `prepare` made in this transaction: `memory_id` becomes the fact, what it supersedes gives way."""
    why = f"superseded by {memory_id}"
    if made.ended:
        await transaction.queue(SQL.retract, ids=list(made.ended), now=now, why=why)
    for piece in made.trimmed:
        await transaction.queue(SQL.trim, id=piece.id, valid_from=piece.valid_from, valid_to=piece.valid_to, now=now, why=why)
    for piece in made.split:
        await transaction.queue(SQL.split, id=piece.id, valid_from=piece.valid_from, valid_to=piece.valid_to, now=now)
    await transaction.queue(
        SQL.attach,
        id=memory_id,
        subject=claim.subject,
        predicate=claim.predicate,
        object=claim.object,
        single=claim.single,
        vouched=claim.trust >= VOUCHED,
        valid_from=made.valid_from,
        valid_to=made.valid_to,
        now=now,
    )


async def retract(session: Session, ids: Sequence[str], why: str, *, now: datetime | None = None) -> list[str]:
    """Ids of those that were held to be so until now."""
    return await session.all(SQL.retract, str, ids=list(ids), now=now, why=why)


async def end(transaction: Transaction, scope_id: int, ids: Sequence[str], at: datetime | None, why: str) -> list[str]:
    """Facts that hold no longer from `at` on (None: from now on). Answers with those that were still held to be so then."""
    ended: list[str] = []
    at = at or await transaction.one(SQL.clock, datetime)
    for fact in await transaction.all(SQL.current, Standing, scope_id=scope_id, ids=list(ids)):
        if at is None or (fact.valid_from is not None and fact.valid_from >= at):
            await transaction.execute(SQL.retract, ids=[fact.id], now=None, why=why)
        elif fact.valid_to is not None and fact.valid_to <= at:
            continue
        else:
            await transaction.execute(SQL.trim, id=fact.id, valid_from=fact.valid_from, valid_to=at, now=None, why=why)
        ended.append(fact.id)
    return ended


async def about(
    session: Session,
    scope_ids: Sequence[int],
    subjects: Sequence[str] | None = None,
    predicate: str | None = None,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    always: bool = False,
    min_trust: int = 1,
    limit: int = MAX_FACTS,
) -> list[Fact]:
    """What is so. `as_of`: at that time in the world (`always`: at any time); `known_at`: as it was known then."""
    return await session.all(
        SQL.about,
        Fact,
        scope_ids=list(scope_ids),
        subjects=None if subjects is None else list(subjects),
        predicate=predicate,
        as_of=as_of,
        known_at=known_at,
        always=always,
        min_trust=min_trust,
        limit=limit,
    )


async def history(
    session: Session, scope_ids: Sequence[int], subjects: Sequence[str], predicate: str | None = None, *, limit: int = MAX_FACTS
) -> list[Fact]:
    return await session.all(SQL.history, Fact, scope_ids=list(scope_ids), subjects=list(subjects), predicate=predicate, limit=limit)


def conflicts(found: Sequence[Fact]) -> set[str]:
    """Ids of facts that say otherwise than another one of a single-valued predicate at the same time."""
    keyed: dict[tuple[str, str], list[Fact]] = {}
    for fact in found:
        if fact.single:
            keyed.setdefault((fact.subject, fact.predicate), []).append(fact)
    return {
        fact.id for same in keyed.values() for fact in same if any(fact.object != other.object and _meet(fact, other) for other in same)
    }


def _meet(fact: Fact, other: Fact) -> bool:
    return (fact.valid_from or BEGINNING) < (other.valid_to or END) and (other.valid_from or BEGINNING) < (fact.valid_to or END)
