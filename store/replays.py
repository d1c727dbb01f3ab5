"""What a run has left behind for a replay: every attempt of its steps with all values, and what only its events tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from store.node_runs import NodeRun
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
SIMULATED = "simulated: nothing is recorded for this step"  # what a replay tells of a step whose outcome it made up


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    attempts: int
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An event that matters to a replay. `after`: how many attempts had ended before it."""

    type: str
    position: str | None
    message: str
    data: Any
    after: int


ROWS = {"tried": NodeRun, "weight": Weight, "marks": Mark}


async def tried(session: Session, run_id: str, *, limit: int) -> list[NodeRun]:
    """All attempts, large values included, in the order in which they settled."""
    return await session.all(SQL.tried, NodeRun, run_id=run_id, limit=limit)


async def weight(session: Session, run_id: str) -> Weight:
    found = await session.one(SQL.weight, Weight, run_id=run_id)
    assert found is not None  # noqa: S101 an aggregate
    return found


async def marks(session: Session, run_id: str) -> list[Mark]:
    return await session.all(SQL.marks, Mark, run_id=run_id, simulated=SIMULATED)
