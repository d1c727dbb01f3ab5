"""What a remote tool answered, as the output of a step: bounded, checked, and data from a stranger."""

from __future__ import annotations

import json
from typing import Any

from mcp.types import (
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from graphs.definition import Json, Schema
from graphs.inputs import problems
from graphs.nodetype import Failure
from graphs.remote.definitions import shown, usable
from store.errors import Invalid

MAX_TEXT = 200_000  # characters of all texts together
MAX_DATA = 1_000_000  # characters of structured content as JSON
MAX_BINARY = 1_000_000  # characters of base64, of all images and sounds together
MAX_PARTS = 50
SAID = 2_000  # characters of what a server says went wrong


def output(result: CallToolResult, schema: Schema | None, where: str) -> dict[str, Json]:
    """{data, text, content, notes, untrusted}. `data` is the structured content, or the text where that is JSON. Raises Failure."""
    texts = [part.text for part in result.content if isinstance(part, TextContent)]
    if result.is_error:
        said = shown(" ".join(texts).strip(), SAID) or "nothing"
        raise Failure("tool_error", f"{where} says that the tool failed. It said: {said}")
    notes: list[str] = []
    data = structured(result, schema, where)
    text = "\n".join(texts)
    if len(text) > MAX_TEXT:
        notes.append(f"the text had {len(text):,} characters; the first {MAX_TEXT:,} are here")
        text = text[:MAX_TEXT]
    elif data is None and len(texts) == 1:
        data = _parsed(texts[0])
    return {"data": data, "text": text, "content": _content(result, notes), "notes": notes, "untrusted": True}


def structured(result: CallToolResult, schema: Schema | None, where: str) -> Json:
    data = result.structured_content
    if data is None:
        if schema is not None and "structured_content" not in result.model_fields_set:
            raise Failure("remote_answer", f"{where} promises structured content for this tool and sent none")
        return None
    if len(json.dumps(data)) > MAX_DATA:
        raise Failure("remote_answer", f"{where} sent more than {MAX_DATA:,} characters of structured content")
    if schema is not None:
        try:
            wrong = problems(usable(schema), data)
        except Invalid as invalid:
            raise Failure("remote_answer", f"{where}: {invalid.message}") from None
        if wrong:
            said = "; ".join(f"{one['pointer'] or '/'}: {shown(one['message'], 200)}" for one in wrong[:5])
            raise Failure("remote_answer", f"{where} sent structured content that is not what its output schema says: {said}")
    return data


def _parsed(text: str) -> Json:
    """The value of a text that is a JSON object or list; servers without structured content send those."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None


def _refused(name: str) -> Json:
    raise ValueError(name)


def _content(result: CallToolResult, notes: list[str]) -> list[Json]:
    """What is not text: links as they are, images and sounds while there is room."""
    kept: list[Json] = []
    room = MAX_BINARY
    for part in result.content:
        if isinstance(part, TextContent):
            continue
        if len(kept) == MAX_PARTS:
            notes.append(f"only the first {MAX_PARTS} parts are here")
            break
        described, size = _part(part)
        if size > room:
            described.pop("data", None)
            described.pop("text", None)
            notes.append(f"a part of {size:,} characters ({described.get('media_type')}) was left out")
        else:
            room -= size
        kept.append(described)
    return kept


def _part(part: Any) -> tuple[dict[str, Json], int]:
    match part:
        case ImageContent() | AudioContent():
            return {"type": part.type, "media_type": shown(part.mime_type, 100), "data": part.data}, len(part.data)
        case ResourceLink():
            link: dict[str, Json] = {"type": "link", "uri": shown(str(part.uri), 2_000), "name": shown(part.name, 200)}
            return {**link, "media_type": shown(part.mime_type or "", 100)}, 0
        case EmbeddedResource():
            inner = part.resource
            described: dict[str, Json] = {"type": "resource", "uri": shown(str(inner.uri), 2_000), "media_type": inner.mime_type}
            if isinstance(inner, TextResourceContents):
                return {**described, "text": inner.text}, len(inner.text)
            return {**described, "data": inner.blob}, len(inner.blob)
        case _:
            return {"type": "other"}, 0
