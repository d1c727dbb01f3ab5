"""The journal writer: transitions of all runs of a process share commits (group commit), and a run's transitions keep their order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from store.errors import LeaseLost, Unavailable
from store.jsontext import text
from store.postgres import Database
from store.queries import Query, load

SQL = load(__file__)
LISTS = ("node_runs", "events", "waits", "tasks", "children", "checkpoints")
VALUES = frozenset({"input", "output", "error", "taken", "vars", "data", "form", "assign_to", "metadata"})  # columns that hold JSON
ALWAYS = ("node_runs", "events", "tasks")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what no text column of Postgres can hold
FINAL = ("succeeded", "failed", "cancelled")
DEADLOCKS = 3  # in a row that a batch outlives
MAX_BATCH = 256  # entries; one commit of a few hundred rows stays well under 50 ms here


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    run_id: str


ROWS = {"record": Changed, "settle": Changed, "close_finished": Changed}
Statement = tuple[Query, type[Changed] | None, dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Entry:
    """What one transition of one run writes. Rows are column -> value; `settle` gives up the lease with a new state."""

    org_id: str
    run_id: str
    fence: int
    node_runs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    waits: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tasks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    children: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    checkpoints: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    settle: dict[str, Any] | None = None


Batch = list[tuple[Entry, asyncio.Future[bool]]]


class Journal:
    """One per process. `submit` keeps order; awaiting its future means durable. Raises LeaseLost through the future when fenced off."""

    def __init__(self, database: Database, *, on_woken: Callable[[str, str], None]) -> None:
        self._database = database
        self._on_woken = on_woken
        self._queue: Batch = []
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Journal:
        self._task = asyncio.create_task(self._write_all(), name="journal")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        for _, future in self._queue:
            future.cancel()

    def submit(self, entry: Entry) -> asyncio.Future[bool]:
        """Queues an entry. The future's value: whether `settle` was made (True where there was none)."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append((entry, future))
        self._work.set()
        return future

    async def _write_all(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(0)  # whoever is ready in this turn of the loop shares the commit
            batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
            if not self._queue:
                self._work.clear()
            await self._write(batch)

    async def _write(self, batch: Batch) -> None:
        try:
            await self._commit_again(batch)
        except Exception as error:  # whatever it is, those who wait must hear of it and the writer must go on
            if len(batch) == 1 or isinstance(error, Unavailable):
                for _, future in batch:
                    _fail(future, error)
                return
            for item in batch:  # one entry's fault must not fail the others
                await self._write([item])

    async def _commit_again(self, batch: Batch) -> None:
        """Tries once more after a deadlock, which has undone everything."""
        for _ in range(DEADLOCKS):
            try:
                return await self._commit(batch)
            except Unavailable as error:
                if not error.details.get("undone"):
                    raise
        return await self._commit(batch)

    async def _commit(self, batch: Batch) -> None:
        newest: dict[str, int] = {}
        for entry, _ in batch:
            newest[entry.run_id] = max(entry.fence, newest.get(entry.run_id, 0))
        by_org: dict[str, list[Entry]] = {}
        for entry, _ in batch:
            if entry.fence == newest[entry.run_id]:  # what an older driver in this very process still says is void
                by_org.setdefault(entry.org_id, []).append(entry)
        statements = {org_id: _statements(entries) for org_id, entries in by_org.items()}
        answers = await self._database.batch([(org_id, *sent) for org_id, listed in statements.items() for sent in listed])
        accepted: set[tuple[str, str]] = set()
        settled: set[tuple[str, str]] = set()
        for (org_id, query), rows in zip(
            ((org_id, sent[0]) for org_id, listed in statements.items() for sent in listed), answers, strict=True
        ):
            for row in rows:
                if query is SQL.close_finished:
                    self._on_woken(org_id, row.run_id)
                else:
                    (accepted if query is SQL.record else settled).add((org_id, row.run_id))
        for entry, future in batch:
            place = (entry.org_id, entry.run_id)
            if place not in accepted or entry.fence != newest[entry.run_id]:
                _fail(future, LeaseLost(run_id=entry.run_id))
            elif not future.done():
                future.set_result(entry.settle is None or place in settled)


def _statements(entries: list[Entry]) -> list[Statement]:
    """What these entries of one organization need, in the order in which it must happen. Everything is text by now: nothing can go wrong
    on our side between the first statement and the last."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in LISTS}
    for entry in entries:
        for name in LISTS:
            rows[name].extend({**row, "run_id": entry.run_id, "fence": entry.fence} for row in getattr(entry, name))
    rows["node_runs"] = _merged(rows["node_runs"])
    for number, event in enumerate(rows["events"]):
        event["n"] = number
    fences = {entry.run_id: entry.fence for entry in entries}
    runs = [*fences]
    rows["settles"] = [{"run_id": entry.run_id, "fence": entry.fence, **entry.settle} for entry in entries if entry.settle]
    listed = {name: text([_storable(row) for row in value]) for name, value in rows.items() if value or name in ALWAYS}
    final = [entry.run_id for entry in entries if entry.settle and entry.settle["state"] in FINAL]
    statements: list[Statement] = [
        (SQL.record, Changed, {"run_ids": runs, "fences": [*fences.values()], "node_runs": listed["node_runs"], "events": listed["events"]})
    ]
    if rows["waits"]:
        statements.append((SQL.begin_waits, None, {"run_ids": runs, "waits": listed["waits"], "tasks": listed["tasks"]}))
    for query, name, row in (
        (SQL.begin_children, "children", None),
        (SQL.save_checkpoints, "checkpoints", None),
        (SQL.settle, "settles", Changed),
    ):
        if rows[name]:
            statements.append((query, row, {"run_ids": runs, name: listed[name]}))
    if final:
        statements.append((SQL.close_finished, Changed, {"run_ids": final}))
    return statements


def _storable(row: dict[str, Any]) -> dict[str, Any]:
    """JSON values as their text, and no character in a text that Postgres cannot hold."""
    return {name: _column(name, value) for name, value in row.items()}


def _column(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "assign_to":  # is looked into by queries
        return text({key: UNSTORABLE.sub("\ufffd", part) for key, part in value.items()})
    if name in VALUES:
        return text(value)
    return UNSTORABLE.sub("\ufffd", value) if type(value) is str else value


def _merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Start and end of a fast step meet in one batch: one row, since one statement cannot upsert a row twice."""
    merged: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in rows:
        key = (row["run_id"], row["position"], row["attempt"])
        merged[key] = {**merged.get(key, {}), **row}
    return list(merged.values())


def _fail(future: asyncio.Future[bool], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # a transition nobody waits for may fail unseen: the run's next awaited one tells
