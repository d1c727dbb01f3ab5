"""Tasks: questions to people. One durable row each, shown at every door; the first valid answer wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.ids import is_id
from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    id: str
    run_id: str
    position: str
    kind: str
    state: str
    title: str
    description: str
    form: Any
    assign_to: Any
    priority: str
    due_at: datetime | None
    answer: Any
    answered_by: str | None
    answered_via: str | None
    comment: str | None
    created_at: datetime
    answered_at: datetime | None
    workflow: str
    channel: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    run_id: str


ROWS = {"get": Task, "at": Task, "list": Task, "count": Total, "answer": Answered, "call": str}


async def get(session: Session, task_id: str, *, viewer: str | None = None) -> Task | None:
    """`viewer`: None where it is private to somebody else."""
    return await session.one(SQL.get, Task, id=task_id, viewer=viewer) if is_id(task_id) else None


async def call(session: Session, task_id: str) -> str | None:
    """The digest of the very call that a task asks about; None where it asks about none."""
    return await session.one(SQL.call, str, id=task_id)


async def at(session: Session, run_id: str, position: str) -> Task | None:
    """The last one that was put at a position of a run."""
    return await session.one(SQL.at, Task, run_id=run_id, position=position)


async def page(
    session: Session,
    *,
    state: str | None,
    run_id: str | None,
    assigned_to: str | None,
    before: str | None,
    limit: int,
    viewer: str | None = None,
) -> tuple[list[Task], int]:
    """Newest first, `limit` + 1 rows at most (the extra one says that there are more), and the total. `viewer`: without what is private
    to others."""
    filters = {"state": state, "run_id": run_id, "assigned_to": assigned_to, "viewer": viewer}
    rows = await session.all(SQL.list, Task, before=before, limit=limit + 1, **filters)
    total = await session.one(SQL.count, Total, **filters)
    return rows, total.total if total else 0


async def answer(
    session: Session, task_id: str, *, answer: Any, comment: str | None, user_id: str | None, user_name: str, via: str
) -> str | None:
    """Records the first answer and wakes the run; its id, or None when the task is no longer open. `user_id`: None where somebody without
    an account has answered, by telephone."""
    done = await session.one(
        SQL.answer, Answered, id=task_id, answer=Json(answer), comment=comment, user_id=user_id, user_name=user_name, via=via
    )
    return done.run_id if done else None
