"""A person who chats over HTTP, and an assistant that plays a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

SECONDS = 60.0
STREAM = {"Accept": "text/event-stream"}


@dataclass(slots=True)
class Heard:
    """What came over a stream."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    ids: list[int] = field(default_factory=list[int])

    def all(self, name: str) -> list[dict[str, Any]]:
        return [data for event, data in self.events if event == name]

    def one(self, name: str) -> dict[str, Any]:
        [found] = self.all(name)
        return found

    @property
    def text(self) -> str:
        """As a reader has it at the end: `delta` goes on, `text` takes the place of the part told so far. Who comes late hears it whole."""
        parts: dict[str, str] = {}
        for data in self.all("text"):
            parts[data["part"]] = data["text"] if "text" in data else parts.get(data["part"], "") + data["delta"]
        return "".join(parts.values())

    def tools(self, state: str = "succeeded") -> list[str]:
        return [data["name"] for data in self.all("tool") if data["state"] == state]


async def events(stream: httpx2.Response, heard: Heard | None = None) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """(event, data) as they come."""
    name = ""
    async for line in stream.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("id: ") and heard is not None:
            heard.ids.append(int(line.removeprefix("id: ")))
        elif line.startswith("data: "):
            found = name, json.loads(line.removeprefix("data: "))
            if heard is not None:
                heard.events.append(found)
            yield found


async def say(client: httpx2.AsyncClient, message: str, *, allow: bool | None = None, path: str = "/api/v1/chat", **more: Any) -> Heard:
    """Says it and follows the answer to its end; what is asked on the way is answered so."""
    heard = Heard()
    async with asyncio.timeout(SECONDS), client.stream("POST", path, json={"message": message, **more}, headers=STREAM) as stream:
        assert stream.status_code == 200, (await stream.aread()).decode()
        async for name, data in events(stream, heard):
            if name == "approval" and data["state"] == "open" and allow is not None:
                chat = heard.one("chat")["chat"]
                answer = {"task_id": data["task_id"], "approved": allow}
                said = await client.post(f"/api/v1/chats/{chat}/approve", json=answer)
                assert said.status_code == 200, said.text
    return heard


@asynccontextmanager
async def following(client: httpx2.AsyncClient, chat: str, **headers: str) -> AsyncGenerator[AsyncIterator[tuple[str, dict[str, Any]]]]:
    async with asyncio.timeout(SECONDS), client.stream("GET", f"/api/v1/chats/{chat}/events", headers={**STREAM, **headers}) as stream:
        assert stream.status_code == 200
        yield events(stream)


def call(name: str, id: str | None = None, **arguments: Any) -> dict[str, Any]:
    return {"calls": [{"name": name, "arguments": arguments, **({"id": id} if id else {})}]}


SCRIPTS: dict[str, list[dict[str, Any]]] = {}


def script(*turns: dict[str, Any], after: int = 0) -> str:
    """A model that plays these turns, in a chat in which it has answered so often before."""
    name = f"s{len(SCRIPTS)}"
    SCRIPTS[name] = [{"text": "before"}] * after + list(turns)
    return f"scripted:{name}"
