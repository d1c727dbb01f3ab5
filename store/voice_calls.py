"""Calls by telephone: one row each, moved forward by what the provider tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from store.jsontext import Json
from store.postgres import Database, Session
from store.queries import load

SQL = load(__file__)
TOLD = 5  # times that a provider is told to hang up
PATIENCE = timedelta(seconds=15)  # from one time to the next
SWEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    id: str
    state: str
    provider_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`wanted`: the run still waits for what it asks. `now`: by the database's clock."""

    id: str
    run_id: str
    position: str
    attempt: int
    number: int
    wait: str
    connection: str
    kind: str | None
    recipient: str
    script: Any
    state: str
    provider_id: str | None
    turn: int
    field: int
    tries: int
    answers: Any
    transcript: Any
    error: str | None
    created_at: datetime
    dialed_at: datetime | None
    ringing_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    now: datetime
    wanted: bool
    task_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    org_id: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    run_id: str
    position: str


ROWS = {"begin": Begun, "get": Call, "of_run": Call, "move": Moved, "find": Found, "to_end": Found, "wind_up": Moved}


async def begin(
    session: Session, *, run_id: str, position: str, attempt: int, number: int, wait: str, connection: str, recipient: str, script: Any
) -> Begun:
    """The call, made now or before a crash."""
    place: dict[str, Any] = {"run_id": run_id, "position": position, "attempt": attempt, "number": number, "wait": wait}
    begun = await session.one(SQL.begin, Begun, **place, connection=connection, recipient=recipient, script=Json(script))
    assert begun is not None  # noqa: S101 an insert answers with its row
    return begun


async def dial(session: Session, id: str, *, kind: str, ticket: bytes) -> bool:
    """Records the intent; False when somebody else has, or the call is over."""
    return bool(await session.execute(SQL.dial, id=id, kind=kind, ticket=ticket))


async def name_it(session: Session, id: str, provider_id: str) -> bool:
    """Notes the provider's name for the call; False when it had one."""
    return bool(await session.execute(SQL.name_it, id=id, provider_id=provider_id))


async def get(session: Session, id: str) -> Call | None:
    return await session.one(SQL.get, Call, id=id)


async def of_run(session: Session, run_id: str, *, limit: int) -> list[Call]:
    """In the order in which they were begun."""
    return await session.all(SQL.of_run, Call, run_id=run_id, limit=limit)


async def move(
    session: Session, id: str, state: str, *, before: Sequence[str], error: str | None = None, hang_up: bool = False
) -> Moved | None:
    """None: it was in none of the states `before`, and nothing has changed."""
    return await session.one(SQL.move, Moved, id=id, state=state, before=list(before), error=error, hang_up=hang_up)


async def turn(session: Session, id: str, *, turn: int, field: int, tries: int, answers: Any, transcript: Any) -> bool:
    """False: this turn was taken already."""
    said = {"answers": Json(answers), "transcript": Json(transcript)}
    return bool(await session.execute(SQL.turn, id=id, turn=turn, field=field, tries=tries, **said))


async def tell(session: Session, moved: Moved, message: str, data: Any) -> None:
    await session.execute(SQL.tell, run_id=moved.run_id, position=moved.position, message=message, data=Json(data))


async def find(database: Database, ticket: bytes) -> Found | None:
    """By the digest of its ticket, whosever it is."""
    found = await database.system(SQL.find, Found, ticket=ticket)
    return found[0] if found else None


async def to_end(database: Database) -> list[Found]:
    """Of all organizations."""
    return await database.system(SQL.to_end, Found, most=SWEPT)


async def wind_up(session: Session, id: str) -> Moved | None:
    """None: there is nothing to tell the provider, or somebody else is doing so."""
    return await session.one(SQL.wind_up, Moved, id=id, most=TOLD, patience=PATIENCE)


async def hung_up(session: Session, id: str) -> None:
    await session.execute(SQL.hung_up, id=id)
