"""Looks at memories that are not taken twice: by a model that is paid for, or for what looks alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from store.postgres import Session
from store.queries import load

SQL = load(__file__)
ROWS = {"begin": str, "finished": str}

Work = Literal["read", "compare", "merge"]


async def begin(session: Session, work: Work, ids: Sequence[str]) -> set[str]:
    """Those of the memories whose look is ours: nobody has begun it before."""
    return set(await session.all(SQL.begin, str, work=work, ids=list(ids))) if ids else set()


async def finish(session: Session, work: Work, ids: Sequence[str]) -> None:
    if ids:
        await session.execute(SQL.finish, work=work, ids=list(ids))


async def finished(session: Session, work: Work, ids: Sequence[str]) -> set[str]:
    return set(await session.all(SQL.finished, str, work=work, ids=list(ids))) if ids else set()


async def drop(session: Session, work: Work, ids: Sequence[str]) -> None:
    """A look that came to nothing may be taken again."""
    if ids:
        await session.execute(SQL.drop, work=work, ids=list(ids))
