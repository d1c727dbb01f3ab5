"""Runs: starting, reading, steering and claiming them. The row is the queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from store import payloads
from store.errors import Conflict
from store.ids import is_id, new_id
from store.jsontext import Json
from store.postgres import Database, Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """`leased`: it is driven by the worker that started it; else it is in the queue."""

    run_id: str
    created: bool
    leased: bool
    input: Any
    now: datetime
    created_at: datetime
    deadline_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as users see it. `waiting_for` lists its open waits; `steps_done` counts succeeded attempts."""

    id: str
    workflow: str
    version: int | None
    mode: str
    state: str
    request: str | None
    input: Any
    output: Any
    error: Any
    parent_run_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    signal: int
    forked_from: str | None
    forked_at: str | None
    dead_at: datetime | None
    steps_done: int
    waiting_for: list[dict[str, Any]]
    spent: dict[str, Any] | None = None
    private_to: str | None = None  # the only user who may know of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    id: str
    workflow: str
    version: int | None
    mode: str
    state: str
    request: str | None
    error: Any
    parent_run_id: str | None
    forked_from: str | None
    dead_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    id: str
    name: str
    workflow_id: str | None
    version: int | None
    digest: str
    mode: str
    mocks: Any
    input: Any
    depth: int
    request: str | None
    claims: int
    deadline_at: datetime | None
    started_at: datetime | None
    created_at: datetime
    created_by: str
    priority: int
    signal: int
    compensate: bool = False
    ending: Any = None
    forked_from: str | None = None
    private_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    org_id: str
    id: str
    fence: int
    signal: int
    claims: int
    recovered: bool
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    org_id: str
    id: str
    fence: int
    signal: int
    request: str | None
    now: datetime


ROWS = {
    "start": Started,
    "get": Run,
    "list": Listed,
    "count": Total,
    "load": Loaded,
    "definition": Definition,
    "claim": Claimed,
    "renew": Renewed,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """What a start needs. `worker` set: the row is born leased by that worker (its fence is 1), where it need not wait its turn. `timeout`
    and `delay` in seconds; `while_active`: only if this version still is the active one of the workflow; `at` stands in for the database's
    clock in tests; `id`: that of the run, where its starter must know it before."""

    workflow_id: str | None
    version: int | None
    digest: bytes
    name: str
    mode: str
    input: Any
    created_by: str
    actor: str
    mocks: Any = None
    idempotency_key: str | None = None
    priority: int = 0
    timeout: float | None = None
    delay: float | None = None
    deadline: datetime | None = None
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    while_active: bool = False
    worker: int | None = None
    lease: timedelta = timedelta(seconds=15)
    at: datetime | None = None
    id: str | None = None
    depth: int = 0  # of runs that started one another on behalf of a person
    private_to: str | None = None  # the only user who may know of it


class Superseded(Exception):
    """The version to start is no longer the active one of its workflow."""


async def start(session: Session, new: NewRun) -> Started:
    """Inserts a run, or finds the one an earlier start with the same idempotency key made. Raises Conflict if that had another input, and
    Superseded."""
    parameters = {name: getattr(new, name) for name in new.__dataclass_fields__}
    digest = await payloads.kept(session, new.input)
    parameters.update(input=Json(None if digest else new.input), input_digest=digest, mocks=None if new.mocks is None else Json(new.mocks))
    started = await session.quick(SQL.start, Started, **{**parameters, "id": new.id or new_id()})
    if started is None and new.while_active:
        raise Superseded
    if started is None:  # two starts with one key met: the other's row is committed now
        started = await session.quick(SQL.start, Started, **{**parameters, "id": new.id or new_id()})
    if started is None:
        raise Conflict("another start with this idempotency_key is under way; try again")
    if not started.created and started.input != new.input:
        raise Conflict(
            f"idempotency_key {new.idempotency_key!r} was already used with another input, for run {started.run_id}", run_id=started.run_id
        )
    return started


def as_loaded(new: NewRun, started: Started) -> Loaded:
    """What `load_run` would find of a run that has just been started here."""
    return Loaded(
        id=started.run_id,
        name=new.name,
        workflow_id=new.workflow_id,
        version=new.version,
        digest=new.digest.hex(),
        mode=new.mode,
        mocks=new.mocks,
        input=new.input,
        depth=new.depth,
        request=None,
        claims=0,
        deadline_at=started.deadline_at,
        started_at=started.now,
        created_at=started.created_at,
        created_by=new.created_by,
        priority=new.priority,
        signal=0,
        private_to=new.private_to,
    )


def as_run(new: NewRun, started: Started) -> Run:
    """What `get` would have found the moment a run was started here."""
    return Run(
        id=started.run_id,
        workflow=new.name,
        version=new.version,
        mode=new.mode,
        state="running",
        request=None,
        input=new.input,
        output=None,
        error=None,
        parent_run_id=None,
        created_at=started.created_at,
        started_at=started.now,
        finished_at=None,
        deadline_at=started.deadline_at,
        signal=0,
        forked_from=None,
        forked_at=None,
        dead_at=None,
        steps_done=0,
        waiting_for=[],
        private_to=new.private_to,
    )


async def get(session: Session, run_id: str) -> Run | None:
    return await session.quick(SQL.get, Run, id=run_id) if is_id(run_id) else None


async def page(
    session: Session,
    *,
    workflow: str | None,
    state: str | None,
    mode: str | None,
    before: str | None,
    limit: int,
    dead: bool = False,
    viewer: str | None = None,
) -> tuple[list[Listed], int]:
    """Newest first, `limit` + 1 rows at most (one more says that there are more), and the total. `dead`: only what recovery gave up;
    `viewer`: without what is private to others."""
    filters = {"workflow": workflow, "state": state, "mode": mode, "dead": dead, "viewer": viewer}
    rows = await session.all(SQL.list, Listed, before=before, limit=limit + 1, **filters)
    total = await session.one(SQL.count, Total, **filters)
    return rows, total.total if total else 0


async def load_run(session: Session, run_id: str) -> Loaded | None:
    return await session.one(SQL.load, Loaded, id=run_id)


async def definition(session: Session, digest: str) -> Any:
    """The definition with this digest (hexadecimal), or None."""
    found = await session.one(SQL.definition, Definition, digest=digest)
    return found.body if found else None


async def notify(session: Session, run_id: str) -> None:
    await session.execute(SQL.notify, run_id=run_id)


async def claim(database: Database, *, slots: int, worker: int, lease: timedelta, at: datetime | None = None) -> list[Claimed]:
    """Leases up to `slots` runs that are due or whose worker died. `at` stands in for the database's clock in tests."""
    return await database.system(SQL.claim, Claimed, slots=slots, worker=worker, lease=lease, at=at)


async def renew(database: Database, *, worker: int, run_ids: list[str], lease: timedelta, at: datetime | None = None) -> list[Renewed]:
    """Extends the leases of the runs a worker drives; the answer lists those it still has."""
    return await database.system(SQL.renew, Renewed, worker=worker, run_ids=run_ids, lease=lease, at=at)


async def hand_back(session: Session, run_id: str, fence: int, *, after: float = 0.0) -> None:
    """Gives up a lease without having settled the run, which is due again after so many seconds."""
    await session.execute(SQL.hand_back, id=run_id, fence=fence, after=after)
