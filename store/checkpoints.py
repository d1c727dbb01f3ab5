"""LangGraph checkpoints as rows: one row each with everything in it, and their pending writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """`kind` and `body`: serializer type and bytes. `writes`: [[task_id, channel, kind, base64 body]]."""

    thread_id: str
    ns: str
    id: str
    parent_id: str | None
    kind: str
    body: bytes
    metadata: dict[str, Any]
    writes: list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    thread_id: str
    ns: str
    id: str
    parent_id: str | None
    kind: str
    body: bytes
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRow:
    thread_id: str
    ns: str
    checkpoint_id: str
    task_id: str
    task_path: str
    idx: int
    channel: str
    kind: str
    body: bytes


ROWS = {"find": Saved, "list": Saved, "checkpoints_of_thread": CheckpointRow, "writes_of_thread": WriteRow}


async def save(session: Session, *, thread_id: str, ns: str, id: str, parent_id: str | None, kind: str, body: bytes, metadata: Any) -> None:
    await session.execute(SQL.save, thread_id=thread_id, ns=ns, id=id, parent_id=parent_id, kind=kind, body=body, metadata=Json(metadata))


async def save_writes(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Pending writes, each {thread_id, ns, checkpoint_id, task_id, task_path, idx, channel, kind, body}."""
    for row in rows:
        await session.execute(SQL.save_write, **row)


async def find(session: Session, thread_id: str, ns: str, id: str | None) -> Saved | None:
    """A checkpoint by id, or the latest one of the thread."""
    return await session.one(SQL.find, Saved, thread_id=thread_id, ns=ns, id=id)


async def page(
    session: Session,
    *,
    thread_id: str | None,
    ns: str | None,
    id: str | None,
    before: str | None,
    filter: dict[str, Any] | None,
    limit: int | None,
) -> list[Saved]:
    """Newest first; `filter` is matched by containment in the metadata."""
    return await session.all(
        SQL.list,
        Saved,
        thread_id=thread_id,
        ns=ns,
        id=id,
        before=before,
        filter=Json(filter) if filter else None,
        limit=limit,
    )


async def delete_threads(session: Session, thread_ids: Sequence[str]) -> None:
    await session.execute(SQL.delete_threads, thread_ids=list(thread_ids))


async def delete_for_runs(session: Session, run_ids: Sequence[str]) -> None:
    await session.execute(SQL.delete_for_runs, run_ids=list(run_ids))


async def keep_latest(session: Session, thread_ids: Sequence[str]) -> None:
    await session.execute(SQL.keep_latest, thread_ids=list(thread_ids))


async def copy_thread(session: Session, source: str, target: str) -> None:
    await session.execute(SQL.copy_thread, source=source, target=target)


async def of_thread(session: Session, thread_id: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All rows of a thread: its checkpoints as `save` takes them, and its pending writes as `save_writes` does."""
    saved = await session.all(SQL.checkpoints_of_thread, CheckpointRow, thread_id=thread_id)
    writes = await session.all(SQL.writes_of_thread, WriteRow, thread_id=thread_id)
    return [asdict(row) for row in saved], [asdict(row) for row in writes]


async def compact(session: Session, *, age: timedelta, limit: int = 1000) -> int:
    """Deletes the checkpoints of runs that finished longer than `age` ago, up to `limit` runs; the number of checkpoints."""
    return await session.execute(SQL.compact, age=age, limit=limit)
