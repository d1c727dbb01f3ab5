"""The journal writer: transitions of all runs of a process share commits (group commit), and a run's transitions keep their order.

While Postgres does not answer it holds what it has, so that a restart of the database costs time and no receipt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any

from store.columns import Payloads, merged, storable
from store.errors import LeaseLost, Unavailable
from store.jsontext import text
from store.postgres import Database
from store.queries import Query, load

SQL = load(__file__)
LISTS = ("node_runs", "events", "waits", "tasks", "children", "checkpoints", "compensated")
ALWAYS = ("node_runs", "events", "tasks")
FINAL = ("succeeded", "failed", "cancelled")
MAX_BATCH = 256  # entries; one commit of a few hundred rows stays well under 50 ms here
PATIENCE = 300.0  # seconds that entries are held for a Postgres that does not answer
DELAYS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)  # seconds between tries


ROWS = {"record": str, "settle": str, "close_finished": str, "known_events": int, "known_ends": str}
FURTHER: tuple[tuple[Query, str], ...] = (
    (SQL.begin_children, "children"),
    (SQL.save_checkpoints, "checkpoints"),
    (SQL.mark_compensated, "compensated"),
    (SQL.note_endings, "endings"),
    (SQL.settle, "settles"),
)
"""The statements behind `record` that take one list each, in their order."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """What one transition of one run writes. Rows are column -> value; what a row lacks is null.

    `compensated`: {position, attempt} of steps that have been undone. `ending`: how the run ends once its compensation is done.
    `settle` gives up the lease with a new `state`; further keys: output, error, wake_at, wake_now, signal, dead, and `compact`: the run
    may have checkpoints, which go when it ends. Of `checkpoints` only the last is kept, and none of a run that ends.
    """

    org_id: str
    run_id: str
    fence: int
    node_runs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    waits: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tasks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    children: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    checkpoints: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    compensated: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ending: dict[str, Any] | None = None
    settle: dict[str, Any] | None = None

    @property
    def ends(self) -> bool:
        return self.settle is not None and self.settle["state"] in FINAL


Item = tuple[Entry, asyncio.Future[bool]]
Statement = tuple[str, Query, dict[str, Any]]


class Journal:
    """One per process. `submit` keeps order; awaiting its future means durable. Raises LeaseLost through the future when fenced off, and
    Unavailable when Postgres has not answered for `patience` seconds. `reachable` is set as long as it answers."""

    def __init__(self, database: Database, *, on_woken: Callable[[str, str], None], patience: float = PATIENCE) -> None:
        self.reachable = asyncio.Event()
        self.reachable.set()
        self._database = database
        self._on_woken = on_woken
        self._patience = patience
        self._silent_since: float | None = None
        self._queue: list[Item] = []
        self._batch: list[Item] = []
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Journal:
        self._task = asyncio.create_task(self._write_all(), name="journal")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        for _, future in (*self._batch, *self._queue):
            future.cancel()

    def submit(self, entry: Entry) -> asyncio.Future[bool]:
        """Queues an entry. The future's value: whether `settle` was made (True where there was none)."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        now = datetime.now(UTC).isoformat()
        for event in entry.events:
            event.setdefault("at", now)  # so that it can be known again when the outcome of a commit is not
        self._queue.append((entry, future))
        self._work.set()
        return future

    async def _write_all(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(0)  # whoever is ready in this turn of the loop shares the commit
            self._batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
            if not self._queue:
                self._work.clear()
            await self._write(self._batch)
            self._batch = []

    async def _write(self, batch: list[Item], *, uncertain: bool = False) -> None:
        """Commits entries, however long it takes. `uncertain`: an earlier try may have done it."""
        for delay in chain(DELAYS, repeat(DELAYS[-1])):
            try:
                if uncertain:
                    batch = await self._resolved(batch)
                if batch:
                    await self._commit(batch)
                self._silent_since = None
                self.reachable.set()
                return
            except Unavailable as error:
                uncertain = uncertain or not error.details.get("undone")
                if self._gave_up():
                    return _fail(batch, error)
                await asyncio.sleep(delay)
            except Exception as error:  # whatever it is, those who wait must hear of it and the writer must go on
                if len(batch) == 1:
                    return _fail(batch, error)
                for item in batch:  # one entry's fault must not fail the others
                    await self._write([item], uncertain=uncertain)
                return

    def _gave_up(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._silent_since is None:
            self._silent_since = now
            self.reachable.clear()
        return now - self._silent_since >= self._patience

    async def _resolved(self, batch: list[Item]) -> list[Item]:
        """What is left to do after a try whose outcome is not known: runs that were settled are done, and events are not told twice."""
        statements, events = known([entry for entry, _ in batch])
        answers = await self._database.batch(statements)
        ended: set[tuple[str, str]] = set()
        for (org_id, query, _), rows in zip(statements, answers, strict=True):
            if query is SQL.known_ends:
                ended.update((org_id, run_id) for run_id in rows)
            else:
                for row in rows:
                    entry, event = events[int(row)]
                    entry.events = [other for other in entry.events if other is not event]
        fences = {(entry.org_id, entry.run_id): entry.fence for entry, _ in batch if entry.settle}
        left: list[Item] = []
        for entry, future in batch:
            place = (entry.org_id, entry.run_id)
            if place not in ended or fences[place] != entry.fence:
                left.append((entry, future))
            elif not future.done():
                future.set_result(True)
        return left

    async def _commit(self, batch: list[Item]) -> None:
        newest: dict[str, int] = {}
        for entry, _ in batch:
            newest[entry.run_id] = max(entry.fence, newest.get(entry.run_id, 0))
        by_org: dict[str, list[Entry]] = {}
        for entry, _ in batch:
            if entry.fence == newest[entry.run_id]:  # what an older driver in this very process still says is void
                by_org.setdefault(entry.org_id, []).append(entry)
        statements = [(org_id, *sent) for org_id, entries in by_org.items() for sent in needed(entries)]
        answers = await self._database.batch(statements)
        accepted: set[tuple[str, str]] = set()
        settled: set[tuple[str, str]] = set()
        for (org_id, query, _), rows in zip(statements, answers, strict=True):
            if query is SQL.close_finished:
                for run_id in rows:
                    self._on_woken(org_id, run_id)
            elif query is SQL.record or query is SQL.settle:
                (accepted if query is SQL.record else settled).update((org_id, run_id) for run_id in rows)
        for entry, future in batch:
            place = (entry.org_id, entry.run_id)
            if place not in accepted or entry.fence != newest[entry.run_id]:
                _fail([(entry, future)], LeaseLost(run_id=entry.run_id))
            elif not future.done():
                future.set_result(entry.settle is None or place in settled)


def known(entries: list[Entry]) -> tuple[list[Statement], dict[int, tuple[Entry, dict[str, Any]]]]:
    """Questions for what of these entries is there already, and their events by the number they are asked for under."""
    events = dict(enumerate((entry, event) for entry in entries for event in entry.events))
    statements: list[Statement] = []
    for org_id in dict.fromkeys(entry.org_id for entry in entries):
        ends = [_of(entry, state=entry.settle["state"]) for entry in entries if entry.settle and entry.org_id == org_id]
        told = [
            {"n": number, "run_id": entry.run_id, **{name: event[name] for name in ("type", "position", "at")}}
            for number, (entry, event) in events.items()
            if entry.org_id == org_id
        ]
        statements.append((org_id, SQL.known_ends, {"settles": text(ends)}))
        statements.append((org_id, SQL.known_events, {"events": text(told)}))
    return statements, events


def needed(entries: list[Entry]) -> list[tuple[Query, dict[str, Any]]]:
    """What these entries of one organization need, in the order in which it must happen. Everything is text by now: nothing can go wrong
    on our side between the first statement and the last."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in LISTS}
    for entry in entries:
        for name in LISTS:
            if listed := getattr(entry, name):
                rows[name] += [{**row, "run_id": entry.run_id, "fence": entry.fence} for row in _kept(entry, name, listed)]
    rows["node_runs"] = merged(rows["node_runs"])
    for number, event in enumerate(rows["events"]):
        event["n"] = number
    rows["endings"] = [*{entry.run_id: _of(entry, ending=entry.ending) for entry in entries if entry.ending is not None}.values()]
    rows["settles"] = [_of(entry, **entry.settle) for entry in entries if entry.settle]
    payloads: Payloads = {}
    lists = {name: text([storable(row, payloads) for row in value]) for name, value in rows.items() if value or name in ALWAYS}
    fences = {entry.run_id: entry.fence for entry in entries}
    runs = [*fences]
    statements: list[tuple[Query, dict[str, Any]]] = []
    if payloads:
        stored = [{"digest": digest, "body": payloads[digest], "size": len(payloads[digest])} for digest in sorted(payloads)]
        statements.append((SQL.store_payloads, {"payloads": text(stored)}))
    changes = {"run_ids": runs, "fences": [*fences.values()], "node_runs": lists["node_runs"], "events": lists["events"]}
    statements.append((SQL.record, changes))
    if rows["waits"]:
        statements.append((SQL.begin_waits, {"run_ids": runs, "waits": lists["waits"], "tasks": lists["tasks"]}))
    statements += [(query, {"run_ids": runs, name: lists[name]}) for query, name in FURTHER if rows[name]]
    if ended := [entry.run_id for entry in entries if entry.ends]:
        statements.append((SQL.close_finished, {"run_ids": ended}))
    if compacted := [entry.run_id for entry in entries if entry.ends and entry.settle and entry.settle.get("compact")]:
        statements.append((SQL.drop_checkpoints, {"run_ids": compacted}))
    return statements


def _kept(entry: Entry, name: str, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if name != "checkpoints":
        return listed
    return [] if entry.ends else listed[-1:]  # how far a run had come is of use as long as it may go on


def _of(entry: Entry, **values: Any) -> dict[str, Any]:
    return {"run_id": entry.run_id, "fence": entry.fence, **values}


def _fail(batch: list[Item], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
            future.exception()  # a transition nobody waits for may fail unseen: the run's next awaited one tells
