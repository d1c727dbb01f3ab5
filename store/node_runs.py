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
    """`taken`: indexes of the outgoing edges taken, None while undecided. `position`: path with iteration indexes, e.g. each[3]/ship."""

    position: str
    attempt: int
    node_id: str
    node_type: str
    state: str
    seq: int
    input: Any
    output: Any
    error: Any
    taken: Any
    vars: Any
    started_at: datetime
    finished_at: datetime | None
    retry_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    position: str


ROWS = {"latest": NodeRun, "trace": NodeRun, "find": NodeRun, "attempt": NodeRun, "positions": Place}


async def latest(session: Session, run_id: str) -> list[NodeRun]:
    return await session.all(SQL.latest, NodeRun, run_id=run_id)


async def trace(session: Session, run_id: str, *, after: NodeRun | None = None, limit: int = 100) -> list[NodeRun]:
    """Attempts in the order in which they began, after a given one."""
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
