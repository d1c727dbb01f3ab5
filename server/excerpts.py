"""Values and errors in as much room as their reader has: one line of JSON, previews, portions, errors with the details that fit."""

from __future__ import annotations

import json
from typing import Any

from graphs.definition import Json
from graphs.documents import is_array, is_object
from store.errors import WeftError

MAX_ANSWER = 8_000  # characters of one answer
MAX_ERROR = 1_000  # characters of one error text
PORTION = 6_000  # characters of a long value that one call hands over


def compact(value: Json) -> str:
    """One line of JSON. Characters that no UTF-8 text can carry become question marks."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return _readable(text)


def _readable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def preview(value: Json, room: int, rest: str) -> Json:
    """`value` if its JSON fits into `room` characters; else as much of it as fits, with notes saying what was cut and how to get it."""
    if len(compact(value)) <= room:
        return value
    if is_object(value):
        return _preview_object(value, room, rest)
    if is_array(value):
        return _preview_list(value, room, rest)
    text = value if isinstance(value, str) else compact(value)
    kept = max(0, room - len(rest) - 60)
    while kept and len(compact(text[:kept])) > room - len(rest) - 45:
        kept = kept * 3 // 4
    return f"{text[:kept]}… [{len(text) - kept} more characters; {rest}]"


def _preview_object(value: dict[str, Json], room: int, rest: str) -> Json:
    """Small values stay whole and the large ones share what is left."""
    sizes = sorted((len(compact(child)), key) for key, child in value.items())
    left = room - 60 - len(rest) - sum(len(compact(key)) + 2 for key in value)
    if left < 40 * len(sizes):
        kept = list(value)[: max(1, room // 200)]
        return {
            **{key: preview(value[key], room // (len(kept) + 1), rest) for key in kept},
            "…": f"{len(value) - len(kept)} more fields; {rest}",
        }
    allowed: dict[str, int] = {}
    for index, (size, key) in enumerate(sizes):
        allowed[key] = min(size, left // (len(sizes) - index))
        left -= allowed[key]
    return {key: preview(child, allowed[key], rest) for key, child in value.items()}


def _preview_list(value: list[Json], room: int, rest: str) -> Json:
    kept: list[Json] = []
    left = room - 60 - len(rest)
    for child in value:
        item = preview(child, max(left // 2, 300), rest)
        left -= len(compact(item)) + 1
        if left < 0:
            break
        kept.append(item)
    return [*kept, f"… [{len(value) - len(kept)} more items; {rest}]"] if len(kept) < len(value) else kept


def portion(value: Json, offset: int, call: str) -> dict[str, Json]:
    """A value in parts: {"value": …} when it fits; else a part of its text (or of its JSON) as {"text", "offset", "total_chars"} and,
    while more follows, "more": the `call` that gets it."""
    text = _readable(value) if isinstance(value, str) else compact(value)
    if offset == 0 and len(compact(text)) <= PORTION:
        return {"value": value}
    part = text[offset : offset + PORTION]
    while len(compact(part)) > PORTION + 1_000:  # quotes and line ends count twice once they stand inside a JSON string
        part = part[: len(part) * 3 // 4]
    end = offset + len(part)
    found: dict[str, Json] = {"text": part, "offset": offset, "total_chars": len(text)}
    return {**found, "more": call.replace("{offset}", str(end))} if end < len(text) else found


def _is_told(detail: Json, message: str) -> bool:
    """Whether the message itself lists these problems, or names this value."""
    if is_array(detail):
        return bool(detail) and all(is_object(item) and str(item.get("message")) in message for item in detail)
    return str(detail) in message


def explain(error: WeftError) -> str:
    """An error as a model reads it: what failed, why, what to do; then the details that fit."""
    untold = {key: value for key, value in error.details.items() if not _is_told(value, error.message)}
    room = MAX_ERROR - len(error.message) - 1
    details: Any = preview(untold, room, "…") if untold and room > 120 else None
    return f"{error.message} {compact(details)}"[:MAX_ERROR] if details else error.message[:MAX_ERROR]
