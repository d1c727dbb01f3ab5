"""Seeded edits of a definition: one step's config, an expression or an edge, at a step that ran, so that something else happens."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.engine.cassette import Recording


@dataclass(frozen=True, slots=True)
class Edit:
    """`node`: where the difference must be found."""

    kind: str
    node: str
    definition: dict[str, Any]


def edits(recording: Recording, rng: random.Random) -> Iterator[Edit]:
    """Edits of the definition of a recorded run, in random order. Not all of them change what happens for its input."""
    ran = {one.position.rpartition("/")[2].split("[")[0].split(":")[0] for one in recording.tried if one.state in ("succeeded", "failed")}
    made = [(kind, id) for kind, id in _possible(recording.definition) if id in ran]
    rng.shuffle(made)
    for kind, id in made:
        changed = copy.deepcopy(recording.definition)
        if _change(changed, kind, id, rng):
            yield Edit(kind, id, changed)


def bodies(part: Any) -> Iterator[dict[str, Any]]:
    """Every body of a definition: the definition itself, and those inside groups."""
    if is_object(part):
        if is_array(part.get("nodes")):
            yield part
        for inner in part.values():
            yield from bodies(inner)
    elif is_array(part):
        for inner in part:
            yield from bodies(inner)


CONFIGS = (
    "set",
    "script",
    "if",
    "switch",
    "foreach",
    "while",
    "approval",
    "stop",
    "http",
    "llm",
    "wait",
    "wait_event",
    "subflow",
    "emit_event",
    "input",
)


def _possible(definition: Json) -> Iterator[tuple[str, str]]:
    for body in bodies(definition):
        for node in body["nodes"]:
            if node["type"] in CONFIGS and not node.get("disabled"):
                yield "config", node["id"]
        for edge in body.get("edges", []):
            yield "edge", edge["from"]


def _change(definition: Json, kind: str, id: str, rng: random.Random) -> bool:
    for body in bodies(definition):
        if kind == "edge":
            leaving = [edge for edge in body.get("edges", []) if edge["from"] == id and "max_loops" not in edge]
            if leaving:
                edge = rng.choice(leaving)
                edge["when"] = f"not ({edge['when']})" if "when" in edge else "1 == 2"
                return True
        else:
            node = next((node for node in body["nodes"] if node["id"] == id), None)
            if node:
                _configure(node, node["config"])
                return True
    return False


def _configure(node: dict[str, Any], config: dict[str, Any]) -> None:
    match node["type"]:
        case "set":
            config["values"] = {**config.get("values", {}), "edited": True}
        case "script":
            config["code"] = "return 'edited'"
        case "if":
            config["condition"] = f"not ({config['condition']})"
        case "switch":
            config["value"] = "'edited'"
        case "foreach":
            config["items"] = [*config["items"], "edited"] if isinstance(config["items"], list) else [1]
        case "while":
            config["condition"] = "1 == 2"
        case "approval" | "input":
            config["title"] += " (edited)"
        case "stop":
            config["output"] = "edited"
        case "http":
            config["url"] += "?edited=1"
        case "llm":
            config["prompt"] += " Be brief."
        case "wait":
            config.clear()
            config["seconds"] = 0.001
        case "wait_event" | "emit_event":
            config["event"] = "edited"
        case _:
            config["input"] = {**config.get("input", {}), "edited": True}
