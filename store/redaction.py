"""Redaction: which runs hold forgotten words, and the rows of theirs in which those are replaced."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from store import payloads
from store.jsontext import Json, text
from store.postgres import Session, Transaction
from store.queries import load

SQL = load(__file__)
TABLES = {
    "runs": ("id",),
    "node_runs": ("run_id", "position", "attempt"),
    "events": ("run_id", "seq"),
    "waits": ("run_id", "position"),
    "tasks": ("id",),
    "voice_calls": ("run_id", "id"),
    "received_events": ("id",),
}
"""Tables with words of runs, and the columns that make up a row's place. Large values are in payloads, checkpoints are dropped."""
KEYS = frozenset({"idempotency_key", "concurrency_key", "correlation"})
"""Columns by which rows find each other: alike before, alike after."""
FORGOTTEN = "[forgotten]"
AT_ONCE = 500  # rows in a statement
BATCH = 20  # runs whose rows are looked through at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    kind: str
    title: str | None
    body: str
    data: Any
    names: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`json`: column -> JSON text or None; `texts`: column -> text or None."""

    place: list[Any]
    json: dict[str, str | None]
    texts: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeName:
    id: int
    name: str


ROWS = {
    "note_uses": str,
    "hold": str,
    "told": Told,
    "surviving": str,
    "scopes_of": int,
    "tied": str,
    "holding": str,
    "lock": str,
    "in_a_call": str,
    "put_down": str,
    **dict.fromkeys((*TABLES, "payloads"), Row),
    "write_events": int,
    "scopes": ScopeName,
}

Redact = Callable[[Any], Any]
"""A JSON value without the words; the very same object when none of them is in it."""


def stand_in(org_id: str, key: str) -> str:
    """What takes the place of a key with forgotten words: always the same for the same key of an organization, so that it is found."""
    return f"{FORGOTTEN} {hashlib.sha256(f'{org_id} {key}'.encode(errors='replace')).hexdigest()[:32]}"


async def note_uses(session: Session, run_id: str, ids: Sequence[str], *, recalled: bool = False) -> set[str]:
    """Notes that a run wrote or is told of memories; those that are still there. `recalled`: without what was said in a chat, where others
    may read the run."""
    return set(await session.all(SQL.note_uses, str, run_id=run_id, ids=list(ids), recalled=recalled)) if ids else set()


async def hold(session: Session, ids: Sequence[str]) -> None:
    await session.all(SQL.hold, str, ids=list(ids))


async def told(session: Session, ids: Sequence[str]) -> list[Told]:
    return await session.all(SQL.told, Told, ids=list(ids))


async def surviving(session: Session, ids: Sequence[str], lexemes: Callable[[int], Sequence[str]]) -> set[str]:
    """Of the lexemes of the scopes in which these memories are, those that others there have as well."""
    found = await session.all(SQL.scopes_of, int, ids=list(ids))
    asked = [lexeme for scope_id in found for lexeme in lexemes(scope_id)]
    return set(await session.all(SQL.surviving, str, scope_ids=found, ids=list(ids), lexemes=asked)) if asked else set()


async def tied(session: Session, ids: Sequence[str], run_ids: Sequence[str] = ()) -> list[str]:
    """Runs that wrote these memories or were told of them, and these runs, with their families."""
    return await session.all(SQL.tied, str, ids=list(ids), run_ids=list(run_ids))


async def holding(session: Session, patterns: Sequence[str], user_id: str | None) -> list[str]:
    """Runs whose records match a pattern (case does not matter); with a user, only of those that they started."""
    return await session.all(SQL.holding, str, patterns=list(patterns), user_id=user_id) if patterns else []


async def lock(session: Session, run_ids: Sequence[str], *, over: bool) -> list[str]:
    """Those that are locked now; `over`: only the ones that have ended."""
    return await session.all(SQL.lock, str, run_ids=list(run_ids), over=over) if run_ids else []


async def in_a_call(session: Session, run_ids: Sequence[str]) -> list[str]:
    return await session.all(SQL.in_a_call, str, run_ids=list(run_ids))


async def put_down(session: Session, run_ids: Sequence[str]) -> list[str]:
    """Takes those that are driven from their drivers, and drops the checkpoints of all. The runs must be locked."""
    return await session.all(SQL.put_down, str, run_ids=list(run_ids))


async def drop_checkpoints(session: Session, run_ids: Sequence[str]) -> int:
    return await session.execute(SQL.drop_checkpoints, run_ids=list(run_ids))


async def redact(transaction: Transaction, run_ids: Sequence[str], redacted: Redact, counts: dict[str, int]) -> set[str]:
    """Redacts all rows of these runs, counts those that changed by their table, and answers with the runs that changed."""
    changed: set[str] = set()
    for start in range(0, len(run_ids), BATCH):
        batch = list(run_ids[start : start + BATCH])
        await _redact_payloads(transaction, batch, redacted, counts)
        for table in TABLES:
            patterns: dict[str, list[str]] = {"patterns": []} if table == "received_events" else {}
            rows = await transaction.all(SQL.by_name[table], Row, run_ids=batch, **patterns)
            places = await _write(transaction, table, rows, redacted, counts)
            changed.update(str(place[0]) for place in places if "run_id" in TABLES[table] or table == "runs")
    return changed


async def redact_received(transaction: Transaction, patterns: Sequence[str], redacted: Redact, counts: dict[str, int]) -> None:
    """Redacts events from outside that match a pattern, whichever runs they woke."""
    if patterns:
        rows = await transaction.all(SQL.received_events, Row, run_ids=[], patterns=list(patterns))
        await _write(transaction, "received_events", rows, redacted, counts)


async def _write(transaction: Transaction, table: str, rows: Sequence[Row], redacted: Redact, counts: dict[str, int]) -> list[list[Any]]:
    written: list[dict[str, Any]] = []
    places: list[list[Any]] = []
    changed = await asyncio.to_thread(
        lambda: [_changed(transaction.org_id, row, redacted) for row in rows]
    )  # megabytes of JSON take seconds
    for row, values in zip(rows, changed, strict=True):
        if values:
            written.append({**dict(zip(TABLES[table], row.place, strict=True)), **values})
            places.append(row.place)
    for start in range(0, len(written), AT_ONCE):
        await transaction.execute(SQL.by_name[f"write_{table}"], rows=text(written[start : start + AT_ONCE]))
    if written:
        counts[table] = counts.get(table, 0) + len(written)
    return places


def _changed(org_id: str, row: Row, redacted: Redact) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in row.json.items():
        if value is not None and (after := redacted(before := _parsed(value))) is not before:
            values[name] = text(after)
    for name, value in row.texts.items():
        if value is not None and redacted(value) is not value:
            values[name] = stand_in(org_id, value) if name in KEYS else redacted(value)
    return values


async def _redact_payloads(transaction: Transaction, run_ids: list[str], redacted: Redact, counts: dict[str, int]) -> None:
    """Large values are redacted under a digest of their own; the old ones go, unless other runs have them too."""
    old: list[str] = []
    for row in await transaction.all(SQL.payloads, Row, run_ids=run_ids):
        before = _parsed(row.json["body"] or "null")
        if (after := redacted(before)) is not before:
            digest = await payloads.kept(transaction, after)
            short = None if digest else Json(after)
            await transaction.execute(SQL.move_payload, run_ids=run_ids, old=row.place[0], new=digest, short=short)
            old.append(row.place[0])
    if old:
        counts["payloads"] = counts.get("payloads", 0) + len(old)
        await transaction.execute(SQL.drop_payloads, digests=old)


def _parsed(value: str) -> Any:
    """JSON as it is stored: numbers that Python cannot hold stay as their text."""
    return json.loads(value, parse_float=_float, parse_int=_int)


def _float(digits: str) -> float | str:
    return number if math.isfinite(number := float(digits)) else digits


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) < 4_000 else digits


async def tell(session: Session, run_ids: Sequence[str]) -> None:
    """Notes in the runs that something is missing from now on."""
    await session.execute(SQL.tell, run_ids=list(run_ids))


async def drop_scopes(session: Session, scope_ids: Sequence[int], named: Callable[[str], bool]) -> int:
    """Drops scopes that are empty by now and whose very name holds the words; their number."""
    empty = [scope.id for scope in await session.all(SQL.scopes, ScopeName, scope_ids=list(scope_ids)) if named(scope.name)]
    return await session.execute(SQL.drop_scopes, scope_ids=empty) if empty else 0
