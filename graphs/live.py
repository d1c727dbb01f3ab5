"""Live: what runs show just now to whoever watches them. Kept nowhere; what nobody hears is lost, and what is too much is dropped.

Listeners in the process that drives a run hear at once. Who watches a run that another process drives says so every few seconds, and only
then does that process send what the run shows, in batches, by NOTIFY. A process that hears no notifications (a pooler is in between)
watches only runs that it drives itself.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from graphs.definition import Json
from graphs.documents import is_object
from store import live
from store.errors import WeftError
from store.postgres import Database, Tenant

JOINED = 0.05  # seconds in which what is shown is gathered before it is sent
CALL_EVERY = 4.0  # seconds between two calls of a watcher
CALL_HOLDS = 10.0
PIECE = live.MAX_PIECE - 200  # characters, without the words in front
MOST = 200_000  # characters of JSON that one thing shown may have, and all that wait to be sent
QUEUED = 5_000  # things that a watcher has not looked at yet
UNFINISHED = 200  # things of which some pieces have come

Key = tuple[str, str]  # organization, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Something that a step shows: text as it is written ("text", {"delta": "…"}, or {"text": "…"} in the place of all before it), or
    whatever its node type says."""

    position: str
    name: str
    data: Json


class Watch:
    """One who watches a run."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()  # the watcher may put in things of its own

    def put(self, shown: Shown) -> None:
        if self.queue.qsize() < QUEUED:
            self.queue.put_nowait(shown)


class Bus:
    """One per process. `drives(run_id, org_id)`: whether this process drives the run."""

    def __init__(self, database: Database, *, drives: Callable[[str, str], bool]) -> None:
        self._database, self._drives = database, drives
        self.hears: Callable[[], bool] = lambda: False  # whether notifications of other processes reach this one just now
        self.id = secrets.token_hex(4)
        self._watches: dict[Key, set[Watch]] = {}
        self._called: dict[Key, float] = {}  # runs that other processes watch, until when
        self._waiting: list[tuple[Key, Shown]] = []
        self._size = 0
        self._number = 0
        self._pieces: dict[tuple[str, str], list[str]] = {}
        self._sending: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending

    # -- showing -----------------------------------------------------------------------------------------------------------------

    def show(self, org_id: str, run_id: str, position: str, name: str, data: Json) -> None:
        """Never blocks and never fails."""
        key = (org_id, run_id)
        for watch in self._watches.get(key, ()):
            watch.put(Shown(position=position, name=name, data=data))
        if self.watched_elsewhere(org_id, run_id):
            self._gather(key, Shown(position=position, name=name, data=data))

    def watched_elsewhere(self, org_id: str, run_id: str) -> bool:
        """Whether another process has said of late that somebody watches the run there."""
        return self._called.get((org_id, run_id), 0.0) > asyncio.get_running_loop().time()

    def _gather(self, key: Key, shown: Shown) -> None:
        size = len(json.dumps(shown.data, default=str))
        if self._size + size > MOST:
            return
        self._size += size
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last[0] == key and (joined := _joined(last[1], shown)):
            self._waiting[-1] = key, joined
        else:
            self._waiting.append((key, shown))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name="live")

    async def _send(self) -> None:
        while self._waiting:
            await asyncio.sleep(JOINED)
            waiting, self._waiting, self._size = self._waiting, [], 0
            by_organization: dict[str, list[str]] = {}
            for (org_id, run_id), shown in waiting:
                by_organization.setdefault(org_id, []).extend(self._cut(run_id, shown))
            for org_id, pieces in by_organization.items():
                with suppress(WeftError):  # it may be lost
                    await live.tell(self._database.tenant(org_id), pieces)

    def _cut(self, run_id: str, shown: Shown) -> list[str]:
        """`live <run> <sender> <number> <piece>/<pieces> <part of JSON>`, in ASCII. Without the number of the piece, Postgres would take
        two that say the same for one."""
        self._number += 1
        text = json.dumps([shown.position, shown.name, shown.data], separators=(",", ":"), default=str)
        parts = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
        return [f"live {run_id} {self.id} {self._number} {at}/{len(parts)} {part}" for at, part in enumerate(parts)]

    # -- watching ----------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watch(self, tenant: Tenant, run_id: str) -> AsyncGenerator[Watch]:
        """What a run of this organization shows, during the block."""
        key, watch = (tenant.org_id, run_id), Watch()
        self._watches.setdefault(key, set()).add(watch)
        calling = asyncio.create_task(self._call(tenant, run_id), name=f"watch {run_id}")
        try:
            yield watch
        finally:
            calling.cancel()
            self._watches[key].discard(watch)
            if not self._watches[key]:
                del self._watches[key]

    async def _call(self, tenant: Tenant, run_id: str) -> None:
        """Tells whoever drives the run that somebody watches it here."""
        while True:
            if self.hears() and not self._drives(run_id, tenant.org_id):
                with suppress(WeftError):
                    await live.tell(tenant, [f"watch {run_id} {self.id}"])
            await asyncio.sleep(CALL_EVERY)

    def watched_here(self, org_id: str, run_id: str) -> bool:
        return (org_id, run_id) in self._watches

    def deaf(self, tenant: Tenant, run_id: str) -> bool:
        """Whether what the run shows cannot be seen here, since a pooler keeps notifications from us."""
        return self._database.pooled and not self.hears() and not self._drives(run_id, tenant.org_id)

    # -- hearing -----------------------------------------------------------------------------------------------------------------

    def heard(self, payload: str) -> None:
        """A notification of some process; this one's own are known already."""
        org_id, _, said = payload.partition(" ")
        kind, _, rest = said.partition(" ")
        run_id, _, rest = rest.partition(" ")
        sender, _, rest = rest.partition(" ")
        if sender == self.id or not run_id:
            return
        key = (org_id, run_id)
        if kind == "watch":
            self._note(key)
        elif kind == "live" and key in self._watches:
            self._take(key, sender, rest)

    def _note(self, key: Key) -> None:
        now = asyncio.get_running_loop().time()
        self._called = {other: until for other, until in self._called.items() if until > now}
        self._called[key] = now + CALL_HOLDS

    def _take(self, key: Key, sender: str, rest: str) -> None:
        number, _, rest = rest.partition(" ")
        place, _, part = rest.partition(" ")
        at, _, of = place.partition("/")
        parts = self._pieces.pop((sender, number), [])
        if int(at) != len(parts):  # its first pieces came before we listened
            return
        parts.append(part)
        if len(parts) < int(of):
            self._pieces[sender, number] = parts
            while len(self._pieces) > UNFINISHED:
                del self._pieces[next(iter(self._pieces))]
            return
        position, name, data = json.loads("".join(parts))
        for watch in self._watches.get(key, ()):
            watch.put(Shown(position=position, name=name, data=data))


def _joined(last: Shown, shown: Shown) -> Shown | None:
    """Two pieces of one text as one."""
    before, after = _piece(last), _piece(shown)
    if before is None or after is None or last.position != shown.position:
        return None
    data: dict[str, Any] = {before[0]: before[1] + after[1]} if after[0] == "delta" else {"text": after[1]}
    return Shown(position=shown.position, name="text", data=data)


def _piece(shown: Shown) -> tuple[str, str] | None:
    """What it adds ("delta"), or puts in the place of all before it ("text")."""
    data = shown.data
    if shown.name != "text" or not is_object(data) or list(data) not in (["delta"], ["text"]):
        return None
    ((kind, said),) = data.items()
    return (kind, said) if isinstance(said, str) else None


def so_far(before: str, data: dict[str, Any]) -> str:
    """The text of a part after a piece of it ("text", data)."""
    return data["text"] if "text" in data else before + data["delta"]
