"""Forks: a new run whose journal begins as part of another one's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from store import payloads
from store.jsontext import Json, text
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The last attempt of a step, without its values."""

    position: str
    attempt: int
    node_id: str
    node_type: str
    state: str
    seq: int
    taken: Any
    started_at: datetime
    finished_at: datetime | None

    @property
    def final(self) -> bool:
        """Nothing more happens at this step in its run."""
        return self.state in ("succeeded", "skipped") or (self.state in ("failed", "cancelled", "ambiguous") and self.taken is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What becomes of a row: "kept" as it is, with these edges taken (None: to be decided again), "edited" to have this output, or
    "entered": a group that is under way again, with another input where one is given."""

    position: str
    attempt: int
    how: Literal["kept", "edited", "entered"]
    taken: list[int] | None = None
    output: Any = None
    input: Any = None


ROWS = {"lock": Locked, "outline": Outline}


async def lock(session: Session, run_id: str) -> None:
    """Keeps a run from moving on until the transaction ends."""
    await session.execute(SQL.lock, run_id=run_id)


async def outline(session: Session, run_id: str, *, limit: int) -> list[Outline]:
    return await session.all(SQL.outline, Outline, run_id=run_id, limit=limit)


async def copy(session: Session, run_id: str, fork_id: str, kept: Sequence[Kept]) -> None:
    """Takes these rows over into the new run."""
    rows = [await _row(session, item) for item in kept]
    await session.execute(SQL.copy, run_id=run_id, fork_id=fork_id, kept=text(rows))


async def _row(session: Session, item: Kept) -> dict[str, Any]:
    row: dict[str, Any] = {"position": item.position, "attempt": item.attempt, "how": item.how}
    row.update(anew=item.input is not None, taken=None if item.taken is None else text(item.taken))
    for name, value, given in (("output", item.output, item.how == "edited"), ("input", item.input, item.input is not None)):
        if given:
            digest = await payloads.kept(session, value)
            row.update({name: None if digest else text(value), f"{name}_digest": digest})
    return row


async def set_vars(session: Session, fork_id: str, vars: dict[str, Any]) -> None:
    await session.execute(SQL.set_vars, fork_id=fork_id, vars=Json(vars))


async def mark(session: Session, fork_id: str, *, run_id: str, at: str | None) -> None:
    """Notes from which run, and at which step, the new one comes."""
    await session.execute(SQL.mark, fork_id=fork_id, run_id=run_id, at=at)
