"""A small repro of a failed run: its failing step with what that depends on pinned, tried by a replay before anybody sees it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from graphs import replaying
from graphs.definition import Json
from graphs.documents import is_object
from graphs.engine.cassette import Recording, Tried
from graphs.runtime import Actor, Runtime
from store.errors import Conflict, Invalid

NAMED = re.compile(r"\b(?:nodes|errors)\.([a-z][a-z0-9_]*)|\b(?:nodes|errors)\[['\"]([a-z][a-z0-9_]*)['\"]\]")
INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repro:
    """`nodes` of `of` nodes at the top level are left. `cassette` answers the calls of the step; everything else is in the definition."""

    definition: Json
    input: Json
    position: str
    code: str
    message: str
    nodes: int
    of: int
    cassette: Recording

    def as_json(self) -> dict[str, Any]:
        names = ("definition", "input", "position", "code", "message", "nodes", "of")
        return {name: getattr(self, name) for name in names}


async def reduced(runtime: Runtime, actor: Actor, recording: Recording) -> Repro:
    """The smallest one found that fails with the same code at the same step. Raises Conflict where the run did not fail at a step."""
    error: dict[str, Any] = recording.head.error or {}
    position = error.get("position")
    if not position or not any(one.position == position for one in recording.tried):
        raise Conflict(f"the run failed as a whole ({error.get('code')}), not at a step: there is no smaller repro than the run itself")
    for made in (_reduced(recording, position, single=True), _reduced(recording, position, single=False)):
        if made and await _fails_alike(runtime, actor, made, error["code"]):
            return made
    whole = _repro(recording, recording.definition, recording, position)
    if await _fails_alike(runtime, actor, whole, error["code"]):
        return whole
    raise Conflict("the failure does not come again when the run is replayed")


async def _fails_alike(runtime: Runtime, actor: Actor, made: Repro, code: str) -> bool:
    try:
        found = await replaying.replay_recording(runtime, actor, made.cassette, made.definition, mocks=_pins(made.definition))
    except (Invalid, Conflict):
        return False
    error: dict[str, Any] = found.run.error or {}
    return found.run.state == "failed" and error.get("code") == code and error.get("position") == made.position


def _pins(definition: Json) -> dict[str, Json]:
    return {node["id"]: node["pin"] for node in definition["nodes"] if "pin" in node}


def _reduced(recording: Recording, position: str, *, single: bool) -> Repro | None:
    """The top-level step in which it failed, with the steps it names pinned. `single`: of a list, only the item that failed is left."""
    definition = recording.definition
    top = re.split(r"[\[:/~]", position)[0]
    nodes: dict[str, dict[str, Any]] = {node["id"]: node for node in definition["nodes"]}
    if top not in nodes or ":" in position.split("/")[0] or "~" in position:
        return None
    node = dict(nodes[top])
    moved, kept = position, [one for one in recording.tried if re.split(r"[\[:/~]", one.position)[0] == top]
    if single and node["type"] == "foreach" and (found := INDEX.match(position[len(top) :])):
        moved, kept = f"{top}[0]{position[len(top) + found.end() :]}", _only(kept, top, int(found[1]))
        group = next((one for one in recording.tried if one.position == top and is_object(one.input)), None)
        items: Json = group.input.get("items") if group else node["config"].get("items")
        if not isinstance(items, list):
            return None
        node["config"] = {**node["config"], "items": [items[int(found[1])]]}
        if "{{" in json.dumps(node["config"]["items"]):
            return None  # data that reads like a template would be computed
        kept = [one for one in kept if one.position != top]
    needed = [id for id in dict.fromkeys(a or b for a, b in NAMED.findall(json.dumps(node))) if id in nodes and id != top]
    outputs = {one.position: one.output for one in recording.tried if one.state in ("succeeded", "compensated")}
    pinned = [{"id": id, "type": "script", "config": {"code": "return None"}, "pin": outputs.get(id)} for id in needed]
    small: dict[str, Any] = {
        "name": definition["name"],
        "input": definition.get("input") or {"type": "object"},
        "vars": _vars(recording, position),
        "nodes": [*pinned, {name: value for name, value in node.items() if name not in ("boundary", "compensate", "milestone")}],
        "edges": [{"from": id, "to": top} for id in needed],
    }
    return _repro(recording, small, replace(recording, definition=small, tried=tuple(kept), fired=()), moved)


def _only(kept: list[Tried], top: str, index: int) -> list[Tried]:
    prefix = f"{top}[{index}]"
    return [replace(one, position=f"{top}[0]{one.position[len(prefix) :]}") for one in kept if one.position.startswith(prefix)]


def _vars(recording: Recording, position: str) -> dict[str, Json]:
    """The variables as they were when the step began."""
    found: dict[str, Json] = dict(recording.definition.get("vars") or {})
    for one in recording.tried:
        if one.position == position:
            break
        if one.type == "set" and one.state == "succeeded" and is_object(one.input) and is_object(one.input.get("vars")):
            found |= one.input["vars"]
    return found


def _repro(recording: Recording, definition: Json, cassette: Recording, position: str) -> Repro:
    error: dict[str, Any] = recording.head.error or {}
    return Repro(
        definition=definition,
        input=recording.head.input,
        position=position,
        code=error["code"],
        message=error["message"],
        nodes=len(definition["nodes"]),
        of=len(recording.definition["nodes"]),
        cassette=replace(cassette, definition=definition),
    )
