"""Node runs: one row per attempt of a step, written by the journal, read here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """`taken`: indexes of the outgoing edges taken, None while undecided. `position`: path with iteration indexes, e.g. each[3]/ship.

    `series`: attempt with which the present series began. `effect`, `effect_key`, `undo`: of a step that changes something outside, the
    kind of its call, the idempotency key, and the rendered node that undoes it. `input_digest` and `input_size` (characters of JSON) are
    set where the input is too large for the row, and so for the output: then a list has None for the value, which
    payloads.page(session, digest, …) reads.
    """

    position: str
    attempt: int
    node_id: str
    node_type: str
    state: str
    seq: int
    series: int
    effect: str | None
    effect_key: str | None
    input: Any
    output: Any
    error: Any
    taken: Any
    vars: Any
    undo: Any
    input_digest: str | None
    output_digest: str | None
    input_size: int | None
    output_size: int | None
    started_at: datetime
    finished_at: datetime | None
    retry_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    position: str


ROWS = {"latest": NodeRun, "trace": NodeRun, "find": NodeRun, "attempt": NodeRun, "positions": Place}


async def latest(session: Session, run_id: str) -> list[NodeRun]:
    """The last attempt of every step with all its values: what a driver needs to go on."""
    return await session.all(SQL.latest, NodeRun, run_id=run_id)


async def trace(session: Session, run_id: str, *, after: NodeRun | None = None, limit: int = 100) -> list[NodeRun]:
    """Attempts in the order in which they began, after a given one. Large values are left out: see NodeRun."""
    return await session.all(
        SQL.trace,
        NodeRun,
        run_id=run_id,
        limit=limit,
        after_at=after.started_at if after else None,
        after_position=after.position if after else None,
        after_attempt=after.attempt if after else None,
    )


async def find(session: Session, run_id: str, wanted: str) -> NodeRun | None:
    """The latest attempt at a position, or of a node id."""
    return await session.one(SQL.find, NodeRun, run_id=run_id, wanted=wanted)


async def positions(session: Session, run_id: str) -> list[str]:
    return [row.position for row in await session.all(SQL.positions, Place, run_id=run_id)]


async def attempt(session: Session, run_id: str, position: str, number: int) -> NodeRun | None:
    return await session.one(SQL.attempt, NodeRun, run_id=run_id, position=position, attempt=number)
