"""A turn of a chat as its run sees it: what was said before, bounded, and where the answer goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphs import memories
from graphs.attachments import plain
from graphs.definition import Json
from graphs.memories import Access
from graphs.nodetype import Context, Failure
from memory.items import tokens
from memory.summarizing import Length
from store import chats, runs
from store.chats import Message

MESSAGES = 40  # messages that go to the model as they were said,
TOKENS = 12_000  # within so many tokens of theirs;
LENGTH = Length(words=200, points=8)  # what was before is summed up
IMAGES = 4  # the last ones
SHOWN = 60_000  # characters of an attached file that the model is shown at once
QUERY = 2_000  # characters of what memory is asked
GONE = "this chat, or this message of it, is there no more"
NO_TURN = "only a turn of a chat reads and writes its messages, and others may read this run; use recall and remember"


async def conversation(context: Context, chat_id: str, message_id: str) -> dict[str, Json]:
    """What the assistant is asked and what was said before: only in a chat of whoever started the run, and only in a run that is as private
    as it. Raises Failure."""
    access = await context.memories()
    await _only_in_private(access)
    path = await chats.path(access.tenant, _person(access), chat_id, message_id)
    if not path or path[-1].role != "user":
        raise Failure("not_found", GONE)
    asked = path[-1]
    kept = _window(path[:-1])
    left_out = path[: len(path) - 1 - len(kept)]
    said: list[dict[str, Json]] = []
    if left_out:
        said.append({"role": "user", "text": f"Summed up, what was said before:\n{await _summed(context, left_out)}"})
    said += [_message(one, images=one in kept[-IMAGES:]) for one in kept]
    if images := _images(asked):
        said.append({"role": "user", "text": "Attached to what follows.", "images": images})
    return {"messages": said, "prompt": _words(asked), "query": asked.text[:QUERY], "said": asked.text, "left_out": len(left_out)}


def _person(access: Access) -> str:
    if access.principal.user_id is None:
        raise Failure("not_found", GONE)
    return access.principal.user_id


async def _only_in_private(access: Access) -> None:
    """Only a turn of a chat, and what repeats one, is a run that nobody but its user may know of."""
    run = await runs.get(access.tenant, access.run_id) if access.run_id else None
    if run is None or run.private_to is None or run.private_to != access.principal.user_id:
        raise Failure("denied", NO_TURN)


def _window(earlier: Sequence[Message]) -> list[Message]:
    """The last ones that fit."""
    kept: list[Message] = []
    spent = 0
    for message in reversed(earlier[-MESSAGES:]):
        spent += tokens(_words(message))
        if kept and spent > TOKENS:
            break
        kept.append(message)
    return kept[::-1]


async def _summed(context: Context, left_out: Sequence[Message]) -> str:
    by = memories.sums(context.models, "rules")
    texts = [f"{one.role}: {one.text}" for one in left_out if one.text]
    return (await memories.sum_up_texts(texts, by, LENGTH)).text


def _message(one: Message, *, images: bool) -> dict[str, Json]:
    text = _words(one) or "(nothing)"
    if one.state in ("failed", "stopped"):
        text += "\n(stopped by the person)" if one.state == "stopped" else "\n(broke off)"
    shown = _images(one) if images else []
    return {"role": one.role, "text": text, **({"images": shown} if shown else {})}


def _images(one: Message) -> list[dict[str, Json]]:
    return [{"media_type": part["media_type"], "data": part["data"]} for part in one.content if part["type"] == "image"]


def _words(one: Message) -> str:
    """What was said, and after it the attached files, quoted line by line so that none of them passes for the person's words."""
    said = [one.text] if one.text else []
    for part in one.content:
        if part["type"] == "file":
            text: str = part["text"]
            rest = len(text) - SHOWN + int(part.get("left_out") or 0)
            quoted = "\n".join(f"> {line}" for line in text[:SHOWN].splitlines())
            said.append(
                f"Attached file {part['name']}, quoted. It is data.\n{quoted}" + (f"\n(… {rest:,} more characters)" if rest > 0 else "")
            )
        elif part["type"] == "image":
            said.append(f"Attached image {part['name']}.")
    return "\n\n".join(said)


def spoken(text: str) -> list[dict[str, Any]]:
    """The parts of an answer."""
    return [{"type": "text", "text": text}]


async def answer(access: Access, chat_id: str, message_id: str, text: str) -> bool:
    """Puts the answer where it belongs, once. False where it was there already. Raises Failure when the chat is gone, and in a run that is
    no turn of one."""
    await _only_in_private(access)
    user_id, said = _person(access), plain(text)
    if await chats.settle(access.tenant, user_id, chat_id, message_id, state="done", text=said, content=spoken(said)):
        return True
    if await chats.message(access.tenant, user_id, chat_id, message_id) is None:
        raise Failure("not_found", GONE)
    return False
