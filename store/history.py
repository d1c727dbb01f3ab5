"""The past of a run: what its journal says of any moment, of its effects and of its large values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.payloads import DIGEST, Part
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a step had come to. A large output is None, with its digest, its size and its beginning."""

    position: str
    attempt: int
    state: str
    seq: int
    output: Any
    error: Any
    vars: Any
    output_digest: str | None
    output_size: int | None
    output_preview: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    characters: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An attempt of a step that changes something outside. `answer`: what the person said who was asked whether it had happened."""

    position: str
    attempt: int
    node_id: str
    node_type: str
    effect: str
    effect_key: str | None
    state: str
    seq: int
    error: Any
    started_at: datetime
    finished_at: datetime | None
    answer: Any
    answered_at: datetime | None
    answered_by: str | None
    undone_at: datetime | None


ROWS = {"settled": Settled, "weight": Weight, "effects": Effect, "payload": Part}


async def settled(session: Session, run_id: str, *, at: datetime | None = None, seq: int | None = None) -> list[Settled]:
    """Every step that had ended by then, in the order in which they settled."""
    return await session.all(SQL.settled, Settled, run_id=run_id, at=at, seq=seq)


async def weight(session: Session, run_id: str) -> Weight:
    found = await session.one(SQL.weight, Weight, run_id=run_id)
    assert found is not None  # noqa: S101 an aggregate
    return found


async def effects(session: Session, run_id: str, *, after: int, limit: int) -> list[Effect]:
    """In the order in which they settled, behind the one whose `seq` is `after`."""
    return await session.all(SQL.effects, Effect, run_id=run_id, after=after, limit=limit)


async def payload(session: Session, run_id: str, digest: str, *, offset: int, limit: int) -> Part | None:
    """`limit` characters of a large value of this run, from `offset` on; None when nothing of the run refers to it."""
    if not DIGEST.fullmatch(digest):
        return None
    return await session.one(SQL.payload, Part, run_id=run_id, digest=digest, skipped=offset, limit=limit)
