"""subflow: runs another published workflow as a child run and waits for it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Closed, Json, Schema
from graphs.nodetype import Child, Context, Effect, Failure, Family, Wait

SUMMARY = "Run another published workflow as a child run and wait for its output; the version is pinned when the child starts."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
WAITS = True
EXAMPLES: tuple[dict[str, Any], ...] = ({"workflow": "send-invoice", "input": {"order": "{{ input.order }}"}},)


class Config(Closed):
    workflow: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="name of a published workflow")
    version: int | None = Field(default=None, ge=1, description="without it, the version active when the child starts")
    input: Json = Field(default_factory=dict)


def output(config: Config) -> Schema:
    properties = {"run_id": {"type": "string"}, "output": {}}
    return {"type": "object", "properties": properties, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    child = Child(workflow=config.workflow, version=config.version, input=config.input)
    done = (await context.wait(Wait(kind="child", child=child))).payload
    if done["state"] != "succeeded":
        error: Json = done.get("error") or {}
        raise Failure(
            "subflow_" + done["state"], f"{config.workflow} {done['state']}: {error.get('message', '')}", details={"run_id": done["run_id"]}
        )
    return {"run_id": done["run_id"], "output": done["output"]}
