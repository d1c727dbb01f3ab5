"""One tool call of an agent: checked, approved of where it must be, run as a step, and answered, whatever the model made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from graphs.agents.results import error_text
from graphs.agents.tools import PLAN, READ, Offered, asks_first, effect_of
from graphs.agents.transcript import whole
from graphs.catalogue import node_types
from graphs.definition import Json
from graphs.engine.configs import explain, fitted
from graphs.inputs import problems
from graphs.nodetype import BodyFailed, Failure
from store.errors import Invalid

if TYPE_CHECKING:
    from graphs.agents.loop import Agent

MAX_SHOWN = 8_000  # characters of the arguments that a person is asked about: nobody approves of what they cannot see
GRAVE = frozenset({"in_doubt", "budget_exceeded", "wait_cancelled", "internal", "diverged", "not_approved"})
"""Codes of failures that end the agent. All others go to the model."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which call of which turn; both count from 1."""

    turn: int
    number: int

    @property
    def key(self) -> str:
        return f"call_{self.turn}_{self.number}"

    @property
    def approval(self) -> str:
        return f"approve_{self.turn}_{self.number}"


async def answered(agent: Agent, place: Place, call: Mapping[str, Any]) -> str:
    """The result of a call as the model gets it. Raises BodyFailed for what ends the agent."""
    name, arguments = str(call["name"]), call["arguments"]
    schema = agent.schemas.get(name)
    if schema is None:
        return error_text("unknown_tool", f"there is no tool {name[:100]!r}; there are {', '.join(agent.schemas)}")
    try:
        if whole(arguments) != arguments:
            return error_text("bad_arguments", "nothing was done: a text in the arguments has half of a surrogate pair")
        wrong = problems(schema, arguments)
    except (Invalid, RecursionError) as error:
        return error_text("bad_arguments", str(error)[:500])
    if wrong:
        return error_text("bad_arguments", f"nothing was done: the arguments do not fit the schema of {name}", problems=wrong)
    if name == PLAN:
        return await agent.show_plan(arguments["items"])
    if name == READ:
        return agent.results.read(arguments["call"], arguments["offset"])
    return await _run(agent, place, agent.tools[name], arguments)


async def _run(agent: Agent, place: Place, tool: Offered, arguments: dict[str, Json]) -> str:
    node = agent.node(tool, arguments)
    kind = node_types()[tool.type]
    try:
        config = fitted(kind.config, dict(node["config"]))
    except ValidationError as error:
        return error_text("bad_arguments", f"nothing was done: {explain(error)}")
    except (TypeError, RecursionError) as error:
        return error_text("bad_arguments", f"nothing was done: {error!s:.300}")
    try:
        await agent.context.permit(place.key, node)
    except Failure as refused:
        return error_text(refused.code, refused.message)
    first = asks_first(tool, agent.config.approve, config)
    if first and (refused := await _approved(agent, place, tool, node, str(effect_of(tool, config)))):
        return refused
    given = {**node, "on_error": "continue", "name": f"{tool.name} ({agent.name})"}
    try:
        output = await agent.context.step(place.key, given, approval=place.approval if first else None, limits=agent.limits)
    except BodyFailed as failed:
        if failed.error["code"] in GRAVE and not agent.is_at_limit(failed):
            raise
        return error_text(failed.error["code"], failed.error["message"])
    return agent.results.shown(place.key, output, source=tool.name if tool.untrusted else None)


async def _approved(agent: Agent, place: Place, tool: Offered, node: Mapping[str, Any], effect: str) -> str | None:
    """None when a person has approved of exactly this call; else what the model is told."""
    shown = visible(node["config"])
    if len(shown) > MAX_SHOWN:
        message = f"nothing was done: a person must approve of this call, and its arguments are {len(shown):,} characters long"
        return error_text("too_long", f"{message}; at most {MAX_SHOWN:,} can be shown. Do it in smaller calls")
    who = agent.name.removeprefix("agent ")
    described = f"The agent {who} wants to call the tool {tool.name} ({tool.type}, {effect}), exactly with:\n\n{shown}"
    if change := await agent.context.preview(node):
        described += f"\n\nWhat it changes:\n\n{change}"
    ask: dict[str, Json] = {"title": f"May {agent.name} call {tool.name}?", "description": described}
    if agent.config.approvers:
        ask["assign_to"] = agent.config.approvers.model_dump(exclude_none=True)
    said: Any = await agent.context.approve(place.approval, place.key, node, ask)
    if said["approved"]:
        return None
    words = f"; they say: {said['comment']}" if said.get("comment") else ""
    return error_text("rejected", f"a person did not allow this call, and nothing was done{words}. Do not try the same again")


def visible(value: Json) -> str:
    """JSON in which everything shows: no character that is invisible, turns text around or looks like a line of ours."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    return "".join(one if one == "\n" or one.isprintable() else f"\\u{ord(one):04x}" for one in text)
