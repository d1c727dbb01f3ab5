"""The journal writer: transitions of all runs of a process share commits (group commit), and a run's transitions keep their order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from store.errors import LeaseLost, Unavailable, WeftError
from store.jsontext import Json, text
from store.postgres import Answer, Database
from store.queries import load

SQL = load(__file__)
LISTS = ("node_runs", "events", "waits", "tasks", "children", "checkpoints")
VALUES = frozenset({"input", "output", "error", "taken", "vars", "data", "form", "assign_to", "metadata"})  # columns that hold JSON
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what no text column of Postgres can hold
FINAL = ("succeeded", "failed", "cancelled")
MAX_BATCH = 256  # entries; one commit of a few hundred rows stays well under 50 ms here


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    run_id: str
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    run_id: str


ROWS = {"append": Accepted, "close_finished": Woken}


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


class Journal:
    """One per process. `submit` keeps order; awaiting its future means durable. Raises LeaseLost through the future when fenced off."""

    def __init__(self, database: Database, *, on_woken: Callable[[str, str], None]) -> None:
        self._database = database
        self._on_woken = on_woken
        self._queue: list[tuple[Entry, asyncio.Future[bool]]] = []
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

    async def _write(self, batch: list[tuple[Entry, asyncio.Future[bool]]]) -> None:
        try:
            await self._commit(batch)
        except WeftError as error:
            if len(batch) == 1 or isinstance(error, Unavailable):
                for _, future in batch:
                    _fail(future, error)
                return
            for item in batch:  # one entry's fault must not fail the others
                await self._write([item])

    async def _commit(self, batch: list[tuple[Entry, asyncio.Future[bool]]]) -> None:
        by_org: dict[str, list[Entry]] = {}
        for entry, _ in batch:
            by_org.setdefault(entry.org_id, []).append(entry)
        async with self._database.batch() as statements:  # one transaction, one round trip
            answers: dict[str, list[Answer[Any]]] = {
                org_id: [await statements.send(org_id, SQL.append, Accepted, **_parameters(entries))] for org_id, entries in by_org.items()
            }
            for org_id, entries in by_org.items():
                if final := [e.run_id for e in entries if e.settle and e.settle["state"] in FINAL]:
                    answers[org_id].append(await statements.send(org_id, SQL.close_finished, Woken, run_ids=final))
        accepted: dict[tuple[str, str], bool] = {}
        for org_id, (appended, *closed) in answers.items():
            accepted.update({(org_id, row.run_id): row.settled for row in await appended.rows()})
            for answer in closed:
                for row in await answer.rows():
                    self._on_woken(org_id, row.run_id)
        for entry, future in batch:
            _answer(entry, future, accepted.get((entry.org_id, entry.run_id)))


def _answer(entry: Entry, future: asyncio.Future[bool], settled: bool | None) -> None:
    if settled is None:
        _fail(future, LeaseLost(run_id=entry.run_id))
    elif not future.done():
        future.set_result(settled or entry.settle is None)


def _parameters(entries: list[Entry]) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in LISTS}
    for entry in entries:
        for name in LISTS:
            for row in getattr(entry, name):
                row["run_id"] = entry.run_id
                rows[name].append(row)
    rows["node_runs"] = _merged(rows["node_runs"])
    for number, event in enumerate(rows["events"]):
        event["n"] = number
    fences = {(e.run_id, e.fence) for e in entries}
    rows["fences"] = [{"run_id": run_id, "fence": fence} for run_id, fence in fences]
    rows["settles"] = [{"run_id": e.run_id, "fence": e.fence, **e.settle} for e in entries if e.settle]
    return {name: Json([_storable(row) for row in value]) for name, value in rows.items()}


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


def _fail(future: asyncio.Future[bool], error: WeftError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # a transition nobody waits for may fail unseen: the run's next awaited one tells
