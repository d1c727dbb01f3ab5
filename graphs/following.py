"""Following a turn of a chat: what the assistant writes, which tools it uses, what it asks, and how the runs go that it has started."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from graphs import previews, runs, watching
from graphs.definition import Json
from graphs.documents import is_object
from graphs.live import Shown, so_far
from graphs.runtime import Actor, Runtime
from store import node_runs, tasks
from store.errors import NotFound, WeftError
from store.events import Event
from store.node_runs import NodeRun

TURN = re.compile(r"assistant/(turn_(\d+)|last|answer)")
CALL = re.compile(r"assistant/call_(\d+)_(\d+)")
APPROVAL = re.compile(r"assistant/approve_(\d+)_(\d+)(?:_again\d+)?(?:~\d+)?")
STARTERS = frozenset({"start_run", "test_workflow", "control_run", "fix_run"})  # tools whose answer names a run
FOLLOWED = 8  # runs of one turn
ROOM = 1_000  # things told that a follower has not taken yet; what is live is lost before (graphs/live.py), events are read later


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something to tell whoever follows: `name` is text, tool, diff, approval, run, progress or deaf. `seq`: of the event it is from."""

    name: str
    data: dict[str, Any]
    seq: int | None = None


async def turn(runtime: Runtime, actor: Actor, run_id: str, *, after: int = 0) -> AsyncGenerator[News]:
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
        self._whole: set[str] = set()  # those of which all has been told
        self._tools: dict[str, str] = {}  # the state in which each call was told
        self._followed: set[str] = set()
        self._seq = 0
        self._resumed = False
        self._turn = 0  # of the model, the last that was heard of

    async def tell(self, name: str, data: dict[str, Any], seq: int | None = None) -> None:
        await self.room.acquire()
        self.queue.put_nowait(News(name=name, data=data, seq=seq))

    async def main(self, after: int) -> None:
        try:
            self._seq, self._resumed = after, after > 0
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
            if shown.position in self._whole:  # it was recorded before this was heard
                return
            self._texts[shown.position] = so_far(self._texts.get(shown.position, ""), data)
            await self.tell("text", {"part": found[1], **data})
        elif found := CALL.fullmatch(shown.position):
            await self.tell("progress", {"call": shown.position.removeprefix("assistant/"), **(data if is_object(data) else {})})

    async def _happened(self, event: Event) -> None:
        position = event.position or ""
        if (found := TURN.fullmatch(position)) and event.type.startswith("step."):
            await self._refused(position, found[2], event.seq)
            if event.type == "step.succeeded":
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
        self._whole.add(position)
        if isinstance(whole, str) and whole and whole != heard:
            self._texts[position] = whole
            unheard = whole.startswith(heard) and (heard or not self._resumed)  # who comes back may have heard some of it live
            rest = {"delta": whole[len(heard) :]} if unheard else {"text": whole}
            await self.tell("text", {"part": part, **rest}, seq)

    async def _refused(self, position: str, number: str | None, seq: int) -> None:
        """Calls of the turn before this one of which nothing came: no step was run, so only the model was told why."""
        before, self._turn = int(number) - 1 if number else self._turn, int(number or 0) or self._turn
        row = await node_runs.find(self.actor.tenant, self.run_id, f"assistant/turn_{before}")
        now = await node_runs.find(self.actor.tenant, self.run_id, position)
        if row is None or now is None or not is_object(row.output) or not is_object(now.input):
            return
        said: list[Any] = now.input.get("messages") or []
        results = [str(one.get("text")) for one in said if one.get("role") == "tool"]
        for place, (call, result) in enumerate(zip(row.output.get("calls") or [], results, strict=False), 1):
            at = f"call_{before}_{place}"
            error, step = _error(result), f"assistant/{at}"
            if error is None or step in self._tools or await node_runs.find(self.actor.tenant, self.run_id, step):
                continue
            self._tools[step] = "failed"
            told: dict[str, Json] = {"call": at, "name": call["name"], "state": "failed", "arguments": call.get("arguments") or {}}
            await self.tell("tool", {**told, "error": error}, seq)

    async def _called(self, position: str, event: Event) -> None:
        row = await node_runs.find(self.actor.tenant, self.run_id, position)
        state = "running" if row is None or event.type == "step.started" else row.state
        if row is None or self._tools.get(position) == state:
            return
        name, arguments = tool_of(row)
        data: dict[str, Any] = {"call": _call(position), "name": name, "state": state, "arguments": arguments}
        if position not in self._tools and state != "running":  # it was too quick for its beginning to be recorded
            await self.tell("tool", {**data, "state": "running"})
        self._tools[position] = state
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
        change = await previews.preview(self.actor.tenant, tool, arguments, run_id=self.run_id)
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


def _error(result: str) -> Json | None:
    """What a call was answered with, where that is an error."""
    try:
        found: Json = json.loads(result) if result.startswith('{"error":') else None
    except ValueError:
        return None
    return found["error"] if is_object(found) else None


def tool_of(row: NodeRun) -> tuple[str, Json]:
    """The name and arguments of a call."""
    given: Mapping[str, Any] = row.input if is_object(row.input) else {}
    return (str(given.get("tool")), given.get("arguments") or {}) if row.node_type == "house_tool" else (row.node_type, dict(given))
