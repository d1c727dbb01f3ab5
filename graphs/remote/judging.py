"""A tool of another server as a person judges it: its words with whatever hides in them made visible, and what has changed of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonpatch

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.nodetype import Effect
from graphs.remote.definitions import cautious, hinted, shown, shown_schema
from store.remote_tools import Pin

MAX_CHANGES = 100  # of a diff


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolView:
    """A tool for a person to judge. `digest` is that of what is offered: what an approval names. `changes`: [{op, path, from, to}] from
    what was approved to what is offered. `effect` is as approved, `claims` what the definition says of itself, `becomes` what an approval
    gives it unless the person says another."""

    name: str
    state: str
    title: str
    description: str
    schema: Json
    effect: Effect | None
    claims: Effect
    becomes: Effect
    digest: str | None
    changes: Sequence[Mapping[str, Json]]
    approved_at: str | None


def view_of(pin: Pin) -> ToolView:
    definition = pin.offered or pin.definition or {}
    return ToolView(
        name=pin.name,
        state=pin.state,
        title=shown(definition.get("title") or "", 200),
        description=shown(definition.get("description") or ""),
        schema=shown_schema(definition.get("input_schema") or {}),
        effect=Effect(pin.effect) if pin.effect else None,
        claims=hinted(definition),
        becomes=effect_of(pin),
        digest=pin.offered_digest,
        changes=list(_changes(pin)) if pin.state in ("changed", "disabled") else [],
        approved_at=pin.approved_at.isoformat() if pin.approved_at else None,
    )


def _changes(pin: Pin) -> Iterator[dict[str, Json]]:
    """What a person must see: the old words and the new ones, with whatever hides in them made visible."""
    if pin.definition is None or pin.offered is None:
        return
    found: list[dict[str, Any]] = list(jsonpatch.make_patch(pin.definition, pin.offered))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    for change in found[:MAX_CHANGES]:
        view: dict[str, Json] = {"op": change["op"], "path": shown(change["path"], 500)}
        if change["op"] in ("replace", "remove"):
            view["from"] = _words(_at(pin.definition, change["path"]))
        if change["op"] in ("replace", "add"):
            view["to"] = _words(change["value"])
        if change["op"] in ("move", "copy"):
            view["from"] = shown(change["from"], 500)
        yield view


def _words(value: Json) -> Json:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown(text, 2_000)


def _at(value: Json, pointer: str) -> Json:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if is_object(value) and name in value:
            value = value[name]
        elif is_array(value) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None  # an operation before it has moved it
    return value


def effect_of(pin: Pin) -> Effect:
    """As before; at first the cautious one: what a server says of itself is a claim."""
    return Effect(pin.effect) if pin.effect else cautious(pin.offered or {})
