"""Steering runs: what people ask of one run or of many, as the rows that change by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store import payloads
from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
ALLOWED = {
    "cancel": ("queued", "running", "waiting", "paused"),
    "pause": ("queued", "running", "waiting"),
    "resume": ("paused",),
    "retry": ("failed", "cancelled"),
    "requeue": ("failed",),
}
"""The states in which a run can be asked for each of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which runs. None: whatever it is. `older_than` is in seconds since they were created."""

    states: tuple[str, ...]
    dead: bool = False
    workflow: str | None = None
    mode: str | None = None
    error_code: str | None = None
    older_than: float | None = None
    created_before: datetime | None = None
    viewer: str | None = None  # whose private runs may be among them

    def parameters(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "states": [*self.states]}


ROWS = {
    "cancel": Touched,
    "pause": Touched,
    "resume": Touched,
    "retry": Touched,
    "wake": Touched,
    "matching": Touched,
    "count": Total,
}


async def request(session: Session, ids: Sequence[str], action: str, *, compensate: bool | None = None) -> list[str]:
    """Asks for "cancel", "pause", "resume", "retry", "requeue" or "wake"; the ids of the runs whose state allows it."""
    more: dict[str, Any] = {}
    if action == "cancel":
        more = {"compensate": compensate}
    elif action in ("retry", "requeue"):
        more = {"dead": action == "requeue"}
        action = "retry"
    return [row.run_id for row in await session.all(SQL.by_name[action], Touched, ids=[*ids], **more)]


async def skip(session: Session, run_id: str, *, position: str, node_id: str, node_type: str, output: Any) -> None:
    """Makes a step count as done with this output. The run must be locked."""
    await session.execute(SQL.close_step, run_id=run_id, position=position)
    digest = await payloads.kept(session, output)
    await session.execute(
        SQL.skip,
        run_id=run_id,
        position=position,
        node_id=node_id,
        node_type=node_type,
        output=None if digest else Json(output),
        output_digest=digest,
    )


async def count(session: Session, selection: Selection) -> int:
    found = await session.one(SQL.count, Total, **selection.parameters())
    return found.total if found else 0


async def matching(session: Session, selection: Selection, *, after: str | None, limit: int) -> list[str]:
    """Ids of runs, oldest first."""
    return [row.run_id for row in await session.all(SQL.matching, Touched, after=after, limit=limit, **selection.parameters())]


async def tell(session: Session, ids: Sequence[str], type: str, message: str) -> None:
    """Writes an event into each run and has every process look at it."""
    await session.execute(SQL.tell, ids=[*ids], type=type, message=message)
