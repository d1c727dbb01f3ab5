"""Tools of an agent as it begins: names, schemas and what a call of each becomes. Recorded with the agent's step, so that what it was
offered stays the same for as long as it works, whatever is published or changed meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from graphs.agents.nodes import DECIDING, arguments_of, config_of
from graphs.agents.offers import Approve, Settings, Tool
from graphs.catalogue import node_types
from graphs.definition import Json, Schema
from graphs.nodetype import Context, Effect, Failure, NodeType
from store import jsontext

MAX_TOOLS = 128
MAX_SIZE = 200_000  # characters of all their schemas
PLAN, READ = "plan", "read_result"  # the agent's own
_any: Schema = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """`fixed`: config that the model cannot change; `under`: field of the config that takes the arguments, where not the config itself."""

    name: str
    description: str
    schema: Schema = field(default_factory=lambda: dict(_any))
    type: str
    fixed: dict[str, Json] = field(default_factory=dict[str, Any])
    under: str | None = None
    approve: Approve | None = None
    effect: str | None = None  # where the config alone does not tell
    untrusted: bool = False

    def node(self, arguments: Mapping[str, Json]) -> dict[str, Json]:
        """What a call runs."""
        if self.under is not None:
            return {"type": self.type, "config": {**self.fixed, self.under: dict(arguments)}}
        return {"type": self.type, "config": config_of(node_types()[self.type], self.fixed, arguments, self.schema.get("properties", {}))}

    def spec(self) -> dict[str, Json]:
        return {"name": self.name, "description": self.description, "schema": self.schema}


def of_json(tools: Iterable[Mapping[str, Any]]) -> dict[str, Offered]:
    return {tool["name"]: Offered(**tool) for tool in tools}


async def offered(tools: Iterable[Tool], context: Context) -> list[dict[str, Json]]:
    """Every tool an author has listed, looked up. Raises Failure for what is not there."""
    found: dict[str, Offered] = {}
    for tool in tools:
        for one in await _look_up(tool, context):
            name = _unused(one.name, found)
            found[name] = replace(one, name=name)
    listed = [asdict(one) for one in found.values()]
    if len(listed) > MAX_TOOLS or len(jsontext.text(listed)) > MAX_SIZE:
        message = f"{len(listed)} tools of {len(jsontext.text(listed)):,} characters are too many; at most {MAX_TOOLS} of {MAX_SIZE:,}"
        raise Failure("too_many_tools", message + ". Choose: `tools` of an mcp connection, `operations` of an openapi one")
    return listed


async def _look_up(tool: Tool, context: Context) -> list[Offered]:
    match tool.kind:
        case "node":
            return [_of_node(tool)]
        case "memory":
            return [_of_memory(name, tool) for name in tool.memory or ()]
        case "ask":
            return [_asking(tool)]
        case _:
            given = tool.model_dump(exclude_none=True, exclude_defaults=True, mode="json")
            return [replace(_worded(Offered(**one), tool), approve=tool.approve) for one in await context.offered(tool.kind, given)]


def _worded(one: Offered, tool: Tool) -> Offered:
    return replace(one, name=tool.name or _named(one.name), description=tool.description or one.description)


def _of_node(tool: Tool) -> Offered:
    kind = node_types()[tool.node or ""]
    return Offered(
        name=tool.name or kind.name,
        description=tool.description or kind.summary,
        schema=_closed(tool.arguments) if tool.arguments else _any if kind.name == "script" else arguments_of(kind, tool.config),
        type=kind.name,
        fixed=dict(tool.config),
        approve=tool.approve,
        untrusted="untrusted" in kind.labels,
    )


def _closed(schema: Schema) -> Schema:
    """What the author has not listed is not the model's to give, unless the schema says that anything goes."""
    return schema if not schema.get("properties") else {"additionalProperties": False, **schema}


def _of_memory(name: str, tool: Tool) -> Offered:
    kind = node_types()[name]
    fixed: dict[str, Json] = {"origin": "agent"} if name == "remember" else {}
    return Offered(
        name=name,
        description=tool.description or kind.summary,
        schema=arguments_of(kind, fixed),
        type=name,
        fixed=fixed,
        approve=tool.approve,
        untrusted="untrusted" in kind.labels,
    )


def _asking(tool: Tool) -> Offered:
    ask = tool.ask.model_dump(exclude_none=True) if tool.ask else {}
    text = {"type": "string", "maxLength": 2000}
    form: Schema = {"type": "object", "properties": {"answer": {"type": "string", "maxLength": 10_000}}, "required": ["answer"]}
    return Offered(
        name=tool.name or "ask_person",
        description=tool.description
        or "Ask a person a question and wait for the answer. It may take days: ask only what you cannot find out.",
        schema={
            "type": "object",
            "properties": {"title": {"type": "string", "maxLength": 300, "description": "the question"}, "description": text},
            "required": ["title"],
            "additionalProperties": False,
        },
        type="input",
        fixed={"form": {**form, "additionalProperties": False}, "on_timeout": "continue", **ask},
        approve=tool.approve,
    )


def _named(name: str) -> str:
    """A name as all vendors take it."""
    plain = re.sub(r"[^a-zA-Z0-9_]+", "_", name).strip("_")[:60]
    return plain if plain[:1].isalpha() else f"tool_{plain}"


def _unused(name: str, taken: Iterable[str]) -> str:
    known = {*taken, PLAN, READ}
    return next(each for number in range(1, MAX_TOOLS + 99) if (each := name if number == 1 else f"{name}_{number}") not in known)


def effect_of(tool: Offered, config: Any) -> Effect:
    return Effect(tool.effect) if tool.effect else node_types()[tool.type].effect(config)


def asks_first(tool: Offered, general: Approve, config: Any) -> bool:
    """Whether a person is asked before this call."""
    if (tool.type, tool.fixed.get("tool")) == ("house_tool", "answer_task"):
        return True  # or an agent could answer for the people it has to ask
    rule = general if tool.approve is None else tool.approve
    if isinstance(rule, bool):
        return rule
    kind = node_types()[tool.type]
    effect = effect_of(tool, config)
    if effect is Effect.WRITE_ONCE or "irreversible" in kind.labels:
        return True
    return effect is Effect.WRITE_IDEMPOTENT and not _harmless(tool, kind, config)


def _harmless(tool: Offered, kind: NodeType, config: Any) -> bool:
    """Whether this write can be repeated by somebody else's word than the model's: the author's, or of whoever approved the tool."""
    if tool.effect or _constant(kind):
        return True
    return getattr(config, "method", None) != "DELETE" and any(tool.fixed.get(name) is True for name in DECIDING)


def own_tools() -> list[dict[str, Json]]:
    """What every agent with tools has: a plan that people see, and the rest of long results."""
    items: Schema = {
        "type": "array",
        "maxItems": 50,
        "items": {
            "type": "object",
            "properties": {"text": {"type": "string", "maxLength": 300}, "state": {"enum": ["open", "doing", "done", "dropped"]}},
            "required": ["text", "state"],
            "additionalProperties": False,
        },
    }
    call: Schema = {"call": {"type": "string", "maxLength": 100}, "offset": {"type": "integer", "minimum": 0}}
    return [
        {
            "name": PLAN,
            "description": "Show people your plan: all of it, each item with its state. Call it again when something changes.",
            "schema": {"type": "object", "properties": {"items": items}, "required": ["items"], "additionalProperties": False},
        },
        {
            "name": READ,
            "description": "Read more of a result that was cut: `call` as the note at its end says, `offset` in characters.",
            "schema": {"type": "object", "properties": call, "required": ["call", "offset"], "additionalProperties": False},
        },
    ]


def may_do(config: Settings) -> Iterator[Effect]:
    """What an agent may do to the world, as far as its definition tells: what is defined elsewhere may do anything."""
    if getattr(config, "profile", None) is not None:
        yield Effect.WRITE_ONCE
    for tool in config.tools:
        if tool.node is not None:
            yield _widest(node_types()[tool.node], tool.config)
        elif tool.kind != "ask":
            yield Effect.WRITE_IDEMPOTENT if tool.kind == "memory" else Effect.WRITE_ONCE


def _constant(kind: NodeType) -> bool:
    """Whether its effect is the same whatever the config says."""
    return isinstance(kind.effect, partial)


def _widest(kind: NodeType, fixed: Mapping[str, Json]) -> Effect:
    """Of a node type of which only a part of the config is known. Where the config decides, `method` is what does."""
    if not _constant(kind) and "method" not in fixed:
        return Effect.WRITE_ONCE
    decide: Callable[[Any], Effect] = kind.effect
    return decide(kind.config.model_construct(**{str(name): value for name, value in fixed.items()}))
