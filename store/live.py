"""What runs show just now, from process to process: notifications, and no rows."""

from __future__ import annotations

from collections.abc import Sequence

from store.postgres import Session
from store.queries import load

SQL = load(__file__)
MAX_PIECE = 7_000  # characters of one notification; Postgres takes 8,000 bytes
ROWS: dict[str, type] = {}


async def tell(session: Session, pieces: Sequence[str]) -> None:
    """Pieces of ASCII, each of MAX_PIECE characters at most, to every process that listens."""
    await session.execute(SQL.tell, pieces=list(pieces))
