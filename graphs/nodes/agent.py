"""agent: works on a task with tools, turn by turn, until it answers."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.agents.loop import Agent
from graphs.agents.offers import PROFILE_NAME, Settings
from graphs.agents.profiles import settled
from graphs.definition import Json, Schema
from graphs.models import Message
from graphs.nodes.llm import MAX_PROMPT, Items
from graphs.nodetype import QUOTED, Context, Effect, Failure, Family

SUMMARY = "Let a model work on a task with tools and other agents. Every call is a durable step."
FAMILY: Family = "ai"
EFFECT = Effect.READ  # of itself; its calls are steps with effects of their own
LABELS = frozenset({"egress"})
WAITS = True
INNER = True
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "prompt": "Find out why order {{ input.order }} is late.",
        "tools": [
            {"node": "http", "name": "orders", "config": {"url": "https://shop.example.com/orders"}},
            {"node": "http", "name": "mail", "config": {"method": "POST", "url": "https://mail.example.com"}, "approve": True},
            {"workflow": "refund"},
        ],
    },
    {
        "prompt": "Research {{ input.topic }}",
        "profile": "researcher@2",
        "output_schema": {"type": "object", "properties": {"summary": {"type": "string"}}, "required": ["summary"]},
        "memory": {"recall": {"kinds": ["fact"], "k": 5}, "remember": True},
    },
)


class Config(Settings):
    prompt: str = Field(min_length=1, max_length=MAX_PROMPT, description="the task")
    messages: Items = Field(default=[], description="said before: [{role, text, images}]")
    profile: str | None = Field(default=None, pattern=PROFILE_NAME, description='"name" or "name@version"')


def output(config: Config) -> Schema:
    if config.output_schema is not None:
        return config.output_schema
    if config.profile is not None:
        return {}  # the profile may say of what form it is
    properties: Schema = {"text": {"type": "string"}, "model": {"type": "string"}, "usage": {"type": "object"}}
    properties |= {"turns": {"type": "integer"}, "calls": {"type": "integer"}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    if config.system and QUOTED in config.system:
        message = "`system` holds recalled memories, which may be anybody's words; put them into `prompt`"
        raise Failure("memory_in_system", message)
    settings, name = await settled(config, config.profile, context)
    agent = Agent(settings, config.prompt, context, name)
    agent.earlier = [said.to_json() for said in map(Message.of_json, config.messages)]
    return await agent.work()
