"""Following a turn of a chat: what the assistant writes, which tools it uses, what it asks, and how the runs go that it has started."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from graphs import previews, runs, watching
from graphs.definition import Json
from graphs.documents import is_object
from graphs.live import Shown, Watch, so_far
from graphs.runs import FINISHED
from graphs.runtime import Actor, Runtime
from graphs.turns import spoken
from store import chats, node_runs, tasks
from store.errors import NotFound, WeftError
from store.events import Event
from store.node_runs import NodeRun

TURN = re.compile(r"assistant/(turn_(\d+)|last|answer)")
CALL = re.compile(r"assistant/call_(\d+)_(\d+)")
APPROVAL = re.compile(r"assistant/approve_(\d+)_(\d+)(?:_again\d+)?(?:~\d+)?")
STARTERS = frozenset({"start_run", "test_workflow", "control_run", "fix_run"})  # tools whose answer names a run
FOLLOWED = 8  # runs of one turn
ROOM = 1_000  # things told that a follower has not taken yet; what is live is lost before (graphs/live.py), events are read later
LOOK = (1.0, 5.0)  # seconds between looks at a turn that goes on, and at one that waits for a person
ENDED = {"succeeded": "done", "failed": "failed", "cancelled": "stopped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something to tell whoever follows: `name` is text, tool, diff, approval, run, progress or deaf. `seq`: of the event it is from."""

    name: str
    data: dict[str, Any]
    seq: int | None = None


async def turn(runtime: Runtime, actor: Actor, run_id: str, *, after: int = 0) -> AsyncIterator[News]:
    """What happens in a turn, from its beginning or behind the event `after`, until its run has ended. Raises NotFound."""
    follower = Follower(runtime, actor, run_id)
    main = asyncio.create_task(follower.main(after))
    try:
        while (news := await follower.queue.get()) is not None:
            follower.room.release()
            yield news
        await main
    finally:
        for task in (main, *follower.others):
            task.cancel()
        for task in (main, *follower.others):
            with suppress(asyncio.CancelledError, WeftError):
                await task


class Follower:
    """One who follows a turn."""

    def __init__(self, runtime: Runtime, actor: Actor, run_id: str) -> None:
        self.runtime, self.actor, self.run_id = runtime, actor, run_id
        self.queue: asyncio.Queue[News | None] = asyncio.Queue()
        self.room = asyncio.Semaphore(ROOM)
        self.others: list[asyncio.Task[None]] = []
        self._texts: dict[str, str] = {}  # what has been told of each turn of the model
        self._tools: dict[str, str] = {}  # the state in which each call was told
        self._followed: set[str] = set()
        self._seq = 0

    async def tell(self, name: str, data: dict[str, Any], seq: int | None = None) -> None:
        await self.room.acquire()
        self.queue.put_nowait(News(name=name, data=data, seq=seq))

    async def main(self, after: int) -> None:
        try:
            self._seq = after
            async for item in watching.along(self.runtime, self.actor, self.run_id, after=after):
                if isinstance(item, Shown):
                    if TURN.fullmatch(item.position) and item.position not in self._texts:
                        await self._catch_up()
                    await self._shown(item)
                else:
                    await self._heard(item)
        finally:
            self.queue.put_nowait(None)

    async def _catch_up(self) -> None:
        """A new part begins: what was recorded before it is told first."""
        for event in await runs.events(self.runtime, self.actor, self.run_id, after=self._seq):
            await self._heard(event)

    async def _heard(self, event: Event) -> None:
        if event.seq > self._seq:
            self._seq = event.seq
            await self._happened(event)

    async def _shown(self, shown: Shown) -> None:
        data: Any = shown.data
        if shown.name == "deaf":
            await self.tell("deaf", data)
        elif (found := TURN.fullmatch(shown.position)) and shown.name == "text":
            self._texts[shown.position] = so_far(self._texts.get(shown.position, ""), data)
            await self.tell("text", {"part": found[1], **data})
        elif found := CALL.fullmatch(shown.position):
            await self.tell("progress", {"call": shown.position.removeprefix("assistant/"), **(data if is_object(data) else {})})

    async def _happened(self, event: Event) -> None:
        position = event.position or ""
        if (found := TURN.fullmatch(position)) and event.type == "step.succeeded":
            await self._written(position, found[1], event.seq)
        elif CALL.fullmatch(position) and event.type.startswith("step."):
            await self._called(position, event)
        elif (found := APPROVAL.fullmatch(position)) and event.type == "task.created":
            await self._asked(event, int(found[1]), int(found[2]))
        elif APPROVAL.fullmatch(position) and event.type == "task.answered":
            given: Any = event.data or {}
            await self.tell("approval", {"state": "answered", "approved": given.get("approved"), "call": _call(position)}, event.seq)

    async def _written(self, position: str, part: str, seq: int) -> None:
        """What of a turn of the model was not heard live."""
        row = await node_runs.find(self.actor.tenant, self.run_id, position)
        output: Any = row.output if row else None
        whole = output.get("text") if is_object(output) else None
        heard = self._texts.get(position, "")
        if isinstance(whole, str) and whole and whole != heard:
            self._texts[position] = whole
            rest = {"delta": whole[len(heard) :]} if whole.startswith(heard) else {"text": whole}
            await self.tell("text", {"part": part, **rest}, seq)

    async def _called(self, position: str, event: Event) -> None:
        row = await node_runs.find(self.actor.tenant, self.run_id, position)
        state = "running" if row is None or event.type == "step.started" else row.state
        if row is None or self._tools.get(position) == state:
            return
        self._tools[position] = state
        name, arguments = tool_of(row)
        data: dict[str, Any] = {"call": _call(position), "name": name, "state": state, "arguments": arguments}
        if state != "running":
            data |= {key: value for key, value in (("result", row.output), ("error", row.error)) if value is not None}
        await self.tell("tool", data, event.seq)
        if state == "running":
            return
        if name in STARTERS and is_object(row.output) and isinstance(started := row.output.get("run_id"), str):
            self._follow(started)

    async def _asked(self, event: Event, turn: int, number: int) -> None:
        task = await tasks.at(self.actor.tenant, self.run_id, event.position or "")
        if task is None or task.state != "open":
            return
        asked: dict[str, Any] = {}
        row = await node_runs.find(self.actor.tenant, self.run_id, f"assistant/turn_{turn}")
        calls: Any = row.output.get("calls") if row and is_object(row.output) else None
        if calls and len(calls) >= number:
            asked = calls[number - 1]
        tool = str(asked.get("name", ""))
        arguments: dict[str, Any] = asked.get("arguments") or {}
        change = await previews.preview(self.actor.tenant, tool, arguments)
        call = f"call_{turn}_{number}"
        if change:
            await self.tell("diff", {"call": call, "tool": tool, "diff": change})
        data: dict[str, Any] = {
            "state": "open",
            "task_id": task.id,
            "call": call,
            "tool": tool,
            "arguments": arguments,
            "title": task.title,
        }
        await self.tell("approval", {**data, "description": task.description}, event.seq)

    # -- runs that the assistant has started ---------------------------------------------------------------------------------------

    def _follow(self, run_id: str) -> None:
        if run_id not in self._followed and len(self._followed) < FOLLOWED:
            self._followed.add(run_id)
            self.others.append(asyncio.create_task(self._along(run_id)))

    async def _along(self, run_id: str) -> None:
        with suppress(NotFound):
            async for event in runs.follow(self.runtime, self.actor, run_id):
                told = {"run_id": run_id, "type": event.type, "position": event.position, "message": event.message}
                await self.tell("run", told)


def _call(position: str) -> str:
    found = APPROVAL.fullmatch(position)
    return f"call_{found[1]}_{found[2]}" if found else position.removeprefix("assistant/")


def tool_of(row: NodeRun) -> tuple[str, Json]:
    """The name and arguments of a call."""
    given: Mapping[str, Any] = row.input if is_object(row.input) else {}
    return (str(given.get("tool")), given.get("arguments") or {}) if row.node_type == "house_tool" else (row.node_type, dict(given))


# -- keeping what was said -------------------------------------------------------------------------------------------------------


async def keep(runtime: Runtime, actor: Actor, chat_id: str, answer_id: str, run_id: str) -> None:
    """Stays with a turn until its run has ended, and when that gave no answer, keeps what was said by then with the reason."""
    spoken_by: dict[str, str] = {}
    engine = runtime.engine
    async with engine.bus.watch(actor.tenant, run_id) as watch, engine.watching(run_id) as changed:
        while True:
            changed.clear()
            with suppress(WeftError):
                try:
                    run = await runs.get(runtime, actor, run_id)
                except NotFound:  # the chat was deleted
                    return
                _fold(watch, spoken_by)
                if run.state in FINISHED:
                    break
                waits = run.state == "waiting"
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK[waits]):
                        await changed.wait()
                continue
            await asyncio.sleep(LOOK[0])  # Postgres is away
        if run.state != "succeeded":
            text = await said_so_far(actor, run_id, spoken_by)  # what is shown live has been redacted by who drives the run
            state = ENDED[run.state]
            error = run.error if state == "failed" else None
            content = spoken(text) if text else []
            user = actor.user_id
            await chats.settle(actor.tenant, user, chat_id, answer_id, state=state, text=text, content=content, error=error)


def _fold(watch: Watch, spoken_by: dict[str, str]) -> None:
    while not watch.queue.empty():
        shown: Shown = watch.queue.get_nowait()
        data: Any = shown.data
        if shown.name == "text" and TURN.fullmatch(shown.position):
            spoken_by[shown.position] = so_far(spoken_by.get(shown.position, ""), data)


async def said_so_far(actor: Actor, run_id: str, heard: Mapping[str, str] | None = None) -> str:
    """What the assistant had said when its turn broke off: what is recorded, and what was heard of the rest."""
    texts = dict(heard or {})
    for row in await node_runs.latest(actor.tenant, run_id):
        if TURN.fullmatch(row.position) and is_object(row.output) and isinstance(text := row.output.get("text"), str):
            texts[row.position] = text
    return "\n\n".join(texts[position] for position in sorted(texts, key=_place) if texts[position].strip())


def _place(position: str) -> tuple[int, str]:
    found = TURN.fullmatch(position)
    return (int(found[2]), "") if found and found[2] else (10**6, position)
