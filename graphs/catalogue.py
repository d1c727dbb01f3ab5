"""The node types, found by folder: a module graphs/nodes/<type>.py is the node type <type>."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType, ModuleType
from typing import Any, Literal

import graphs.nodes
from graphs.definition import Json
from graphs.nodetype import Effect, NodeType

# What other tools and people call a node type: for searching, and for repairing a type that does not exist.
ALSO_CALLED: dict[str, tuple[str, ...]] = {
    "http": ("http_request", "request", "api", "api_call", "rest", "fetch", "webhook", "web_request", "curl", "get", "post"),
    "if": ("condition", "conditional", "decision", "ifelse", "if_else", "gateway", "check"),
    "switch": ("case", "router", "route", "match"),
    "foreach": ("for_each", "loop", "for", "map", "iterate", "each", "iterator", "for_loop"),
    "while": ("repeat", "until", "do_while", "while_loop", "loop_until", "poll", "times"),
    "wait": ("delay", "sleep", "timer", "pause"),
    "wait_event": ("event", "wait_for_event", "signal", "receive", "listen"),
    "emit_event": ("emit", "send_event", "publish", "publish_event", "signal_event", "throw_event", "raise_event"),
    "script": ("code", "python", "function", "javascript", "js", "py", "exec", "lambda"),
    "llm": ("ai", "openai", "gpt", "chat", "completion", "anthropic", "claude", "prompt", "llm_call", "generate", "classify"),
    "approval": ("approve", "human", "human_approval", "manual_approval", "human_in_the_loop", "confirm"),
    "input": ("form", "human_input", "user_input", "ask", "question"),
    "voice": ("phone", "call", "telephone", "phone_call", "voice_call", "voice_task", "dial", "twilio", "ivr"),
    "join": ("merge", "sync", "gather", "wait_all"),
    "stop": ("end", "terminate", "fail", "exit", "finish", "return"),
    "subflow": ("subworkflow", "sub_workflow", "workflow", "call_workflow", "execute_workflow", "child"),
    "set": ("assign", "transform", "set_variable", "variable", "edit_fields", "compute", "data", "start", "noop"),
    "try": ("try_catch", "try_except", "catch", "error_handler", "saga", "transaction", "finally", "undo", "rollback", "compensate"),
    "race": ("first_of", "first", "any_of", "fastest", "compete", "select"),
    "parallel": ("fork", "concurrent", "fan_out", "split"),
    "summarize": ("summary", "summarise", "digest", "tldr", "condense", "abstract", "recap"),
    "embed": ("embedding", "embeddings", "vector", "vectorize", "vectorise"),
    "email": ("send_email", "mail", "smtp"),
}
MAX_DESCRIPTION = 3000  # characters of JSON
SAYS_NOTHING: Json = [["default", None], ["default", {}], ["default", []], ["default", ""], ["additionalProperties", True]]
"""Keywords of a schema with their values."""
BODY = {"type": "object", "description": "group body {nodes: […], edges: […]}, written like the top level of a workflow"}


def _fixed(effect: Effect, config: Any) -> Effect:
    return effect


def _describe(name: str, module: ModuleType) -> NodeType:
    fixed: Effect | None = getattr(module, "EFFECT", None)
    effect: Callable[[Any], Effect] = getattr(module, "effect", None) or partial(_fixed, fixed or Effect.PURE)
    return NodeType(
        name=name,
        summary=module.SUMMARY,
        family=module.FAMILY,
        labels=getattr(module, "LABELS", frozenset[str]()),
        connects=getattr(module, "CONNECTS", frozenset[str]()),
        waits=getattr(module, "WAITS", False),
        ends=getattr(module, "ENDS", False),
        inner=getattr(module, "INNER", False),
        config=module.Config,
        effect=effect,
        settle=getattr(module, "settle", None),
        retry=getattr(module, "RETRY", None),
        examples=module.EXAMPLES,
        output=module.output,
        branches=getattr(module, "branches", lambda config: ()),
        taken=getattr(module, "taken", None),
        bodies=getattr(module, "bodies", lambda config: {}),
        scope=getattr(module, "scope", lambda config, key: {}),
        sees=getattr(module, "sees", lambda config: {}),
        run=module.run,
        version=getattr(module, "VERSION", 1),
    )


@cache
def node_types() -> Mapping[str, NodeType]:
    """Every node type by name, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(graphs.nodes.__path__))
    return MappingProxyType({name: _describe(name, importlib.import_module(f"graphs.nodes.{name}")) for name in names})


def effect_of(kind: NodeType, config: Any) -> Effect:
    """The effect class of a node with this (validated) config."""
    return kind.effect(config)


def describe(kind: NodeType, detail: Literal["summary", "full"] = "full") -> dict[str, Json]:
    """What an author needs to use a node type; at most 3,000 characters as JSON. Raises nothing."""
    found: dict[str, Json] = {"type": kind.name, "family": kind.family, "summary": kind.summary}
    if detail == "summary":
        return found
    first = kind.config.model_validate(kind.examples[0])
    if kind.version > 1:
        found["type_version"] = kind.version
    found["effect"] = str(kind.effect(first))
    if branches := kind.branches(first):
        found["branches"] = [*branches, "error"]
    if kind.waits:
        found["waits"] = True
    if kind.labels:
        found["labels"] = sorted(kind.labels)
    found["config"] = lean(kind.config.model_json_schema(by_alias=True))
    found["output"] = kind.output(first)
    examples: list[Json] = []
    for example in kind.examples:  # the first always, more while there is room
        found["examples"] = [*examples, example]
        if examples and len(json.dumps(found, ensure_ascii=False)) > MAX_DESCRIPTION:
            break
        examples.append(example)
    return {**found, "examples": examples}


def lean(schema: dict[str, Any]) -> dict[str, Any]:
    """A model's JSON Schema without what says nothing to an author: titles, null as a type of what may be left out, bodies in full."""
    definitions: dict[str, Any] = schema.get("$defs", {})

    def lighter(part: Any, depth: int = 0) -> Any:
        if isinstance(part, list):
            return [lighter(inner, depth) for inner in part]  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(part, dict):
            return part
        reference = str(part.get("$ref", "")).removeprefix("#/$defs/")  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        if reference:
            return BODY if reference == "Body" or depth > 6 else lighter(definitions[reference], depth + 1)
        kept: dict[str, Any] = {}
        for key, value in part.items():  # pyright: ignore[reportUnknownVariableType]
            if key == "properties":
                kept[key] = {name: lighter(inner, depth + 1) for name, inner in value.items()}  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            elif key not in ("title", "$defs") and [key, value] not in SAYS_NOTHING:
                kept[str(key)] = lighter(value, depth + 1)  # pyright: ignore[reportUnknownArgumentType]
        options = [option for option in kept.get("anyOf", []) if option != {"type": "null"}]
        if "anyOf" in kept and len(options) == 1:
            del kept["anyOf"]
            kept = {**options[0], **kept}
        return kept

    return lighter(schema)
