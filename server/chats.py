"""The shipped workflow `chat` as people start it like any other: the words of a message are its input, and a turn is the run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import Field

from graphs import chats, chatting, keeping, runs
from graphs.admission import UNTIMED, Timing
from graphs.chatting import Said, Turn
from graphs.definition import Json, Schema
from graphs.documents import is_object
from server.auth import Caller
from server.http.operations import Body, validated
from server.http.shapes.chats import Attachment
from server.schemas import lean
from server.tools import Ctx
from store.errors import Invalid, WeftError

ALL = "weft://chats/all"


class Words(Body):
    """What a person gives a turn to begin with."""

    message: str = Field(default="", max_length=chatting.MAX_TEXT, description="what you say")
    chat: str | None = Field(default=None, max_length=64, description="id of the chat it goes on with; without it a new one begins")
    instead_of: str | None = Field(
        default=None, max_length=64, description="id of a message of yours in that chat: said in its place, on a branch beside it"
    )
    attachments: list[Attachment] = Field(default=[], max_length=10)
    model: str | None = Field(default=None, max_length=200, description='"vendor:name" or "@alias"; without it the default')


def schema() -> Schema:
    """The input as callers give it."""
    return lean(Words.model_json_schema())


async def speak(caller: Caller, input: Json, *, version: int | None = None, key: str | None = None, timing: Timing = UNTIMED) -> Turn:
    """Says it: in a new chat, in one that there is, or in the place of a message. Raises Invalid, NotFound, Conflict; Denied to runs."""
    chats.only_people(caller.actor)
    if version is not None or timing != UNTIMED:
        raise Invalid("a message is answered at once, by the assistant as it is: leave out version, delay, deadline and priority")
    runs.check_size(input)
    if not is_object(input):
        raise Invalid('the input of chat is an object: {"message": "…"}, and to go on with a chat also {"chat": "<id>"}')
    words = validated(Words, input, "field of the input")
    said = Said(text=words.message, attachments=given(words.attachments), model=words.model, key=key)
    if words.instead_of is None:
        return await chatting.send(caller.runtime, caller.actor, said, chat=words.chat)
    if words.chat is None:
        raise Invalid("instead_of is a message of a chat: give that too, as `chat`")
    return await chatting.edit(caller.runtime, caller.actor, words.chat, words.instead_of, said)


def given(attachments: Sequence[Attachment]) -> list[dict[str, Any]]:
    return [one.model_dump(exclude_none=True) for one in attachments]


async def tell(ctx: Ctx, caller: Caller, turn: Turn) -> None:
    """Lets whoever listens to the chat, or to the list of them, know of the message now, and of the answer when it is there."""

    async def told() -> None:
        for uri in (f"weft://chats/{turn.chat}", ALL):
            await ctx.notify_resource_updated(uri)

    async def at_its_end() -> None:
        await keeping.over(caller.runtime, caller.actor, turn.run_id)
        with suppress(WeftError):
            await chats.ended(caller.runtime, caller.actor, turn.chat, turn.answer)
        await told()

    await told()
    caller.runtime.engine.background(at_its_end())
