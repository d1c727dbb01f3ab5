"""Patches that a run has tried on a run that failed, by calling fix_run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A call of a tool at a position of the run; `output` is None while it is under way, and where it failed."""

    position: str
    input: Any
    output: Any


ROWS = {"tried": Tried}


async def tried(session: Session, run_id: str) -> list[Tried]:
    return await session.all(SQL.tried, Tried, run_id=run_id)
