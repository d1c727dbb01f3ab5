"""Keeping memories in order: what is due, what looks alike, what has the same name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from store.memories import Scope, in_space
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What two memories are compared by; of the body its beginning. `length`: lexemes of all of it."""

    id: str
    scope_id: int
    kind: str
    speaker: str | None
    body: str
    length: int
    trust: int
    duplicate_of: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    id: str
    other_id: str
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedName:
    scope_id: int
    name: str
    ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Whose memories (`user_id` None: everybody's) are to be consolidated; nothing has changed while `before` is `seen`. `aging`: something
    may have an end of its own; `broken_off`: somebody began the round and did not start its run."""

    user_id: str | None
    round: int
    before: str
    seen: str
    broken_off: bool
    aging: bool

    @property
    def needed(self) -> bool:
        return self.before != self.seen or self.aging or self.broken_off


ROWS = {"own_scopes": Scope, "aging": Scope, "uncompared": str, "around": Compared, "close": Close, "shared_names": SharedName, "due": Due}


async def own_scopes(session: Session, user_id: str | None) -> list[Scope]:
    return await session.all(SQL.own_scopes, Scope, user_id=user_id)


async def aging(session: Session, scope_ids: Sequence[int]) -> list[Scope]:
    return await session.all(SQL.aging, Scope, scope_ids=list(scope_ids))


async def uncompared(session: Session, scope_ids: Sequence[int], limit: int) -> list[str]:
    return await session.all(SQL.uncompared, str, scope_ids=list(scope_ids), limit=limit)


async def around(session: Session, ids: Sequence[str], window: int) -> list[Compared]:
    """These memories, with up to `window` of their scope before them, oldest first."""
    return await session.all(SQL.around, Compared, ids=list(ids), window=window)


async def close(session: Session, space_id: int, ids: Sequence[str], others: Sequence[str], *, least: float, limit: int) -> list[Close]:
    """Pairs from a cosine of `least` on, the closest first; space 0 has no vectors."""
    return await session.all(in_space(SQL.close, space_id), Close, ids=list(ids), others=list(others), least=least, limit=limit)


async def link(session: Session, memory_id: str, original: str) -> None:
    await session.execute(SQL.link, id=memory_id, original=original)


async def shared_names(session: Session, scope_ids: Sequence[int], limit: int) -> list[SharedName]:
    return await session.all(SQL.shared_names, SharedName, scope_ids=list(scope_ids), limit=limit)


async def due(session: Session, every: timedelta, limit: int) -> list[Due]:
    """Whose turn it is. Who has memories for the first time is noted, and has their turn `every` later."""
    await session.execute(SQL.first_seen)
    return await session.all(SQL.due, Due, every=every, limit=limit)


async def take(session: Session, due: Due, starting: str | None) -> bool:
    """Begins the round: False when somebody was faster. `starting`: id of the run that is started next; None: nothing is to be done."""
    return bool(await session.execute(SQL.take, user_id=due.user_id, round=due.round, seen=due.seen, starting=starting))


async def started(session: Session, due: Due, run_id: str) -> None:
    await session.execute(SQL.started, user_id=due.user_id, starting=run_id)
