"""How a terminal reaches the assistant: in this process, or at a server over HTTP. Both tell the same things in the same words."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx2

from graphs import chats, chatting, ending
from graphs.chatting import Said, Turn
from server.auth import Caller
from server.http.chats import chat_view, conversation_view, told, under_way
from server.keys import OWNER_KEY
from server.process import house, local_owner
from server.settings import Settings
from store.errors import Invalid, Unavailable, WeftError

Told = AsyncIterator[tuple[str, dict[str, Any]]]
SSE = {"Accept": "text/event-stream"}
PATIENCE = 60.0  # seconds without a word, not even a ping, after which a server counts as gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """What the person says. `instead_of`: in the place of a message of theirs."""

    message: str
    chat: str | None = None
    instead_of: str | None = None
    attachments: Sequence[dict[str, Any]] = ()
    model: str | None = None


class Talk(Protocol):
    """One who chats."""

    def say(self, said: Saying) -> Told: ...
    def again(self, chat: str, answer: str, model: str | None) -> Told:
        """Another answer beside the one there is."""
        ...

    def follow(self, chat: str) -> Told:
        """The turn that the chat has come to, from its beginning."""
        ...

    async def approve(self, chat: str, task_id: str, approved: bool) -> None: ...
    async def stop(self, chat: str) -> None: ...
    async def chats(self, search: str | None = None) -> list[dict[str, Any]]:
        """The one that was written in last first."""
        ...

    async def chat(self, chat: str) -> dict[str, Any]:
        """With all its messages."""
        ...


# -- in this process -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def within(settings: Settings) -> AsyncGenerator[Talk]:
    """As the owner of this installation; this process drives the runs itself."""
    async with house(settings, drive=True) as runtime:
        yield Here(Caller(runtime=runtime, actor=await local_owner(runtime.database)))


class Here:
    """A chat in this process."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def say(self, said: Saying) -> Told:
        runtime, actor = self._caller.runtime, self._caller.actor
        words = Said(text=said.message, attachments=said.attachments, model=said.model)
        if said.chat and said.instead_of:
            turn = await chatting.edit(runtime, actor, said.chat, said.instead_of, words)
        else:
            turn = await chatting.send(runtime, actor, words, chat=said.chat)
        async for item in self._told(turn):
            yield item

    async def again(self, chat: str, answer: str, model: str | None) -> Told:
        turn = await chatting.again(self._caller.runtime, self._caller.actor, chat, answer, model)
        async for item in self._told(turn):
            yield item

    async def follow(self, chat: str) -> Told:
        async for item in self._told(await under_way(self._caller, chat)):
            yield item

    async def _told(self, turn: Turn) -> Told:
        async for name, data, _ in told(self._caller, turn.chat, turn.answer, turn.run_id):
            yield name, data

    async def approve(self, chat: str, task_id: str, approved: bool) -> None:
        await chatting.approve(self._caller.runtime, self._caller.actor, chat, task_id, approved=approved)

    async def stop(self, chat: str) -> None:
        await ending.stop(self._caller.runtime, self._caller.actor, chat)

    async def chats(self, search: str | None = None) -> list[dict[str, Any]]:
        page = await chats.page(self._caller.runtime, self._caller.actor, search=search)
        return [chat_view(one) for one in page.items]

    async def chat(self, chat: str) -> dict[str, Any]:
        return conversation_view(await chats.get(self._caller.runtime, self._caller.actor, chat))


# -- at a server -----------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def over_http(settings: Settings, url: str, key_file: Path | None) -> AsyncGenerator[Talk]:
    """At a running server, with the API key in a file; without one that of this installation's owner. Raises Invalid."""
    path = key_file or settings.keys_dir / OWNER_KEY
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Invalid(f"the API key cannot be read from {path}: {error.strerror}; name its file with --key-file.") from None
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=httpx2.Timeout(30.0, read=PATIENCE)) as client:
        yield There(client)


class There:
    """A chat at a server."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def say(self, said: Saying) -> Told:
        given = {"message": said.message, "attachments": [*said.attachments], "model": said.model}
        if said.chat and said.instead_of:
            path = f"/api/v1/chats/{said.chat}/messages/{said.instead_of}/edit"
        else:
            path, given = "/api/v1/chat", {**given, "chat": said.chat}
        async for item in self._stream("POST", path, {name: value for name, value in given.items() if value}):
            yield item

    async def again(self, chat: str, answer: str, model: str | None) -> Told:
        async for item in self._stream("POST", f"/api/v1/chats/{chat}/messages/{answer}/again", {"model": model} if model else {}):
            yield item

    async def follow(self, chat: str) -> Told:
        async for item in self._stream("GET", f"/api/v1/chats/{chat}/events", None):
            yield item

    async def _stream(self, method: str, path: str, body: dict[str, Any] | None) -> Told:
        try:
            async with self._client.stream(method, path, json=body, headers=SSE) as stream:
                if stream.status_code != 200:
                    raise _refused(stream.status_code, await stream.aread())
                name = ""
                async for line in stream.aiter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        yield name, json.loads(line.removeprefix("data: "))
        except httpx2.TransportError as error:
            raise Unavailable(f"the server does not answer: {str(error) or type(error).__name__}.") from None

    async def approve(self, chat: str, task_id: str, approved: bool) -> None:
        await self._post(f"/api/v1/chats/{chat}/approve", {"task_id": task_id, "approved": approved})

    async def stop(self, chat: str) -> None:
        await self._post(f"/api/v1/chats/{chat}/stop", None)

    async def chats(self, search: str | None = None) -> list[dict[str, Any]]:
        found = await self._ask("GET", f"/api/v1/chats?{urlencode({'search': search} if search else {})}", None)
        return found["chats"]

    async def chat(self, chat: str) -> dict[str, Any]:
        return await self._ask("GET", f"/api/v1/chats/{chat}", None)

    async def _post(self, path: str, body: dict[str, Any] | None) -> Any:
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            response = await self._client.request(method, path, json=body) if body else await self._client.request(method, path)
        except httpx2.TransportError as error:
            raise Unavailable(f"the server does not answer: {str(error) or type(error).__name__}.") from None
        if response.status_code >= 400:
            raise _refused(response.status_code, response.content)
        return response.json()


def _refused(status: int, body: bytes) -> WeftError:
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the server answered with status {status}; is it a Weft server?"
    return Unavailable(message) if status >= 500 else Invalid(message)
