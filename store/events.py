"""Events: the append-only journal of what happened in a run. The driver writes them with its transitions, doors write what people did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`seq` counts from 1 within the run."""

    seq: int
    at: datetime
    type: str
    level: str
    position: str | None
    message: str
    data: Any


ROWS = {"after": Event}


async def after(session: Session, run_id: str, seq: int, *, limit: int = 200) -> list[Event]:
    """Events of a run behind its `seq`-th, oldest first."""
    return await session.all(SQL.after, Event, run_id=run_id, after=seq, limit=limit)


async def append(session: Session, run_id: str, type: str, message: str, *, position: str | None = None, data: Any = None) -> None:
    await session.execute(
        SQL.append, run_id=run_id, type=type, message=message, position=position, data=None if data is None else Json(data)
    )
