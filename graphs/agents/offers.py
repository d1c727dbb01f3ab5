"""What an author offers an agent: the forms of its tools, of its memory, and what both the node and a profile may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from graphs.definition import Closed, Schema
from graphs.models import Effort
from graphs.nodes.approval import Assignee
from graphs.nodes.llm import MAX_PROMPT, check_schema

KINDS = ("node", "workflow", "agent", "mcp", "openapi", "memory", "house", "ask")
TOOL_NAME = r"^[a-z][a-z0-9_]{0,47}$"
PROFILE_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}(@[1-9][0-9]{0,5})?$"
WORKFLOW_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
INSTEAD = {
    "subflow": '{"workflow": name}', "agent": '{"agent": profile}', "mcp_tool": '{"mcp": connection, "tools": […]}',
    "openapi": '{"openapi": connection, "operations": […]}', "house_tool": '{"house": […]}',
}  # fmt: skip
"""Node types that have a form of their own here, which knows what a call of them may do."""
FORBIDDEN = frozenset({"if", "switch", "parallel", "foreach", "while", "try", "race", "join", "stop"} | INSTEAD.keys())
"""Node types that are no tools: groups, what leads on by edges or ends the run, and what has a form of its own here."""

Approve = Annotated[bool | Literal["effects"], WithJsonSchema({"enum": [True, False, "effects"]})]
Text = Annotated[str, Field(max_length=200)]


class Ask(Closed):
    """A question to a person; the agent words it."""

    assign_to: Assignee | None = None
    timeout: str | None = None


class Tool(Closed):
    """One thing an agent may do; exactly one of node, workflow, agent, mcp, openapi, memory, house and ask."""

    node: str | None = Field(default=None, description='a node type, e.g. "http"; `config` is fixed, the model gives the rest')
    workflow: str | None = Field(default=None, pattern=WORKFLOW_NAME, description="a published workflow, run as a child")
    agent: str | None = Field(default=None, pattern=PROFILE_NAME, description="a profile, as a sub-agent")
    mcp: Text | None = Field(default=None, description="a connection")
    openapi: Text | None = Field(default=None, description="a connection")
    memory: tuple[Literal["recall", "remember", "forget"], ...] | None = Field(default=None, strict=False, min_length=1)
    house: tuple[Text, ...] | None = Field(default=None, strict=False, min_length=1, max_length=20, description="Weft's own tools")
    ask: Ask | None = Field(default=None, description="ask a person")
    name: str | None = Field(default=None, pattern=TOOL_NAME)
    description: str | None = Field(default=None, max_length=2000)
    config: dict[str, Any] = Field(default_factory=dict, description="of node: what the model cannot change")
    arguments: Schema | None = Field(default=None, description="of node: JSON Schema of what the model gives, narrower than the type's own")
    tools: tuple[Text, ...] | None = Field(default=None, strict=False, max_length=100, description="of mcp: only these")
    operations: tuple[Text, ...] | None = Field(default=None, strict=False, max_length=100, description="of openapi: only these")
    approve: Approve | None = Field(default=None, description="ask a person first; without it as the agent says")

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _one_kind(self) -> Tool:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"a tool is exactly one of {', '.join(KINDS)}")
        for field, kind in (("config", "node"), ("arguments", "node"), ("tools", "mcp"), ("operations", "openapi")):
            if field in self.model_fields_set and given != [kind]:
                raise ValueError(f"`{field}` belongs to a tool that is a {kind}")
        if self.name is not None and given[0] in ("mcp", "openapi", "memory", "house"):
            raise ValueError(f"tools of {given[0]} have names of their own; leave out `name`")
        if self.node is not None:
            _check_node(self)
        return self

    @field_validator("arguments")
    @classmethod
    def _schema(cls, schema: Schema | None) -> Schema | None:
        if schema is not None:
            check_schema(schema)
            if schema.get("type") != "object":
                raise ValueError('`arguments` is the schema of an object: {"type": "object", "properties": {…}}')
        return schema


def _check_node(tool: Tool) -> None:
    from graphs.agents.nodes import AUTHORS, NEVER, raw_names
    from graphs.catalogue import node_types

    kind = node_types().get(tool.node or "")
    if tool.node in INSTEAD:
        raise ValueError(f"{tool.node!r} is no node type that can be a tool; write {INSTEAD[tool.node]}")
    if kind is None or tool.node in FORBIDDEN:
        usable = [name for name in node_types() if name not in FORBIDDEN]
        raise ValueError(f"{tool.node!r} is no node type that can be a tool; there are {', '.join(usable)}")
    fields = {field.alias or name for name, field in kind.config.model_fields.items()}
    if unknown := [name for name in tool.config if name not in fields]:
        raise ValueError(f"{tool.node} has no field {unknown[0]!r} in its config; it has {', '.join(sorted(fields))}")
    listed = set((tool.arguments or {}).get("properties", {})) if tool.node != "script" else set[str]()
    if barred := sorted(listed & NEVER & fields):
        raise ValueError(f"`{barred[0]}` says who pays for a call; a model cannot give it: take it out of `arguments`")
    required = {field.alias or name for name, field in kind.config.model_fields.items() if field.is_required()}
    if missing := sorted((required & AUTHORS) - listed - tool.config.keys()):
        raise ValueError(f"`{missing[0]}` of {tool.node} is the author's: put it into `config`, or list it in `arguments`")
    for name in raw_names(kind):
        if "{{" in str(tool.config.get(name, "")):
            raise ValueError(f"`{name}` of a tool is code and not a template: pass values as arguments")


class Recalling(Closed):
    """What is recalled before the first turn, for the words of the task."""

    kinds: tuple[str, ...] | None = Field(default=None, max_length=8, strict=False)
    scope: str | None = Field(default=None, max_length=220)
    k: int = Field(default=8, ge=1, le=100)
    token_budget: int | None = Field(default=2000, ge=1, le=100_000)


Kept = Annotated[tuple[Literal["conversation", "episode"], ...], Field(strict=False, min_length=1)]


class Memory(Closed):
    """Memory of an agent: what it begins with, and whether what was said is remembered at the end."""

    recall: Recalling | None = None
    remember: bool | Kept = Field(default=False, description="the task and the answer, when done")
    session: str | None = Field(default=None, max_length=200, description="conversation they belong to; without it the run")


Turns = Annotated[int, Field(ge=1, le=200)]
Calls = Annotated[int, Field(ge=1, le=2000)]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]
Money = Annotated[float, Field(gt=0, le=10_000, strict=False)]
Depth = Annotated[int, Field(ge=0, le=5)]


TOOLS: Schema = {
    "type": "array",
    "items": {"type": "object"},
    "maxItems": 64,
    "description": 'each {"node": type, "config": fixed, "arguments"?: schema}, {"workflow": name}, {"agent": profile}, '
    '{"mcp": connection, "tools"?: […]}, {"openapi": connection, "operations"?: […]}, {"memory": ["recall", "remember", "forget"]}, '
    '{"house": […]} or {"ask": {}}; with "name"?, "description"?, "approve"?',
}
MEMORY: Schema = {
    "type": "object",
    "description": '{"recall"?: {"kinds"?, "scope"?, "k"?, "token_budget"?}, "remember"?: true, "session"?: name}',
}


class Settings(Closed):
    """What a profile may say, and the node as well."""

    system: str | None = Field(default=None, max_length=MAX_PROMPT, description="instructions")
    model: str | None = Field(default=None, max_length=200, description='"vendor:name"')
    effort: Effort | None = None  # of its thinking
    tools: Annotated[tuple[Tool, ...], WithJsonSchema(TOOLS)] = Field(default=(), max_length=64, strict=False)
    approve: Approve = Field(default="effects", description="when a person is asked first; effects: before what cannot be undone")
    approvers: Annotated[Assignee, WithJsonSchema({"type": "object"})] | None = Field(default=None, description="{user} or {group}")
    memory: Annotated[Memory, WithJsonSchema(MEMORY)] | None = None
    output_schema: Schema | None = Field(default=None, description="JSON Schema of the output; without it `text`")
    max_turns: Turns = 20
    max_calls: Calls = 200
    max_tokens: Tokens | None = Field(default=None, description="in all")
    max_usd: Money | None = None
    max_depth: Depth = Field(default=2, description="of sub-agents")
    on_limit: Literal["fail", "answer"] = Field(default="fail", description="answer: one last turn without tools")

    @field_validator("output_schema")
    @classmethod
    def _schema(cls, schema: Schema | None) -> Schema | None:
        if schema is not None:
            check_schema(schema)
        return schema

    @field_validator("tools")
    @classmethod
    def _names(cls, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
        names = [tool.name for tool in tools if tool.name]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two tools are called {min(twice)!r}")
        return tools
