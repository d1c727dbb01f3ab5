"""What agents of a run may be given, looked up by name: profiles, published workflows, remote tools, Weft's own tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphs.catalogue import node_types
from graphs.definition import Body, Definition, Json, Schema
from graphs.engine.patience import patiently
from graphs.nodetype import Effect, Failure
from graphs.pinning import nearest, pinned
from store import agents, connections, identities
from store.errors import Conflict, NotFound

if TYPE_CHECKING:
    from graphs.engine.drive import Drive


WORST = (Effect.WRITE_ONCE, Effect.WRITE_IDEMPOTENT, Effect.READ, Effect.PURE)


async def profile(drive: Drive, wanted: str) -> dict[str, Json]:
    """A profile {name, version, body}: the version named, else the newest there was when the run began. Raises Failure."""
    name, _, version = wanted.partition("@")
    tenant, since = drive.tenant, drive.loaded.started_at
    found = await patiently(lambda: agents.get(tenant, name, version=int(version) if version else None, at=None if version else since))
    if found is None:
        known = await patiently(lambda: agents.known(tenant))
        if name in known:
            raise Failure(
                "unknown_agent", f"the profile {name!r} had no {f'version {version}' if version else 'version when this run began'}"
            )
        raise Failure("unknown_agent", f"there is no agent profile {name!r}. {nearest(name, known, 'There are')}")
    return {"name": found.name, "version": found.version, "body": found.body, "description": found.description}


async def tools(drive: Drive, kind: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools that one item of an agent's list stands for, as graphs/agents/tools.py Offered takes them. Raises Failure."""
    match kind:
        case "workflow":
            return [await _workflow(drive, given["workflow"])]
        case "agent":
            return [await _agent(drive, given["agent"])]
        case "house":
            return await _house(drive, given["house"])
        case _:
            return await _remote(drive, kind, given)


async def _workflow(drive: Drive, name: str) -> dict[str, Any]:
    from graphs.authoring import effects

    try:
        target = await patiently(lambda: pinned(drive.tenant, name, None))
    except NotFound as error:
        raise Failure("unknown_workflow", error.message) from error
    except Conflict as error:
        raise Failure("not_published", error.message) from error
    said = target.body.get("description") or f"Runs the workflow {target.name}."
    worst = effects(target.body)
    if Effect.WRITE_IDEMPOTENT in worst and _irreversible(Definition.model_validate(target.body)):
        worst |= {Effect.WRITE_ONCE}
    return {
        "name": target.name,
        "description": f"{said} Answers with its output.",
        "schema": _closed(target.body.get("input") or {}),
        "type": "subflow",
        "fixed": {"workflow": target.name, "version": target.version},
        "under": "input",
        "effect": str(
            next((effect for effect in (Effect.WRITE_ONCE, Effect.WRITE_IDEMPOTENT, Effect.READ) if effect in worst), Effect.PURE)
        ),
    }


def _irreversible(body: Body) -> bool:
    """Whether something in it cannot be undone."""
    for node in body.nodes:
        kind = node_types()[node.type]
        if "irreversible" in kind.labels or node.config.get("method") == "DELETE":
            return True
        if any(map(_irreversible, kind.bodies(kind.config.model_validate(node.config)).values())):
            return True
    return False


def _closed(schema: Schema) -> Schema:
    found: Schema = {"properties": {}, **schema, "type": "object"}
    return found if found.get("additionalProperties") is not None or not found["properties"] else {**found, "additionalProperties": False}


async def _agent(drive: Drive, wanted: str) -> dict[str, Any]:
    found = await profile(drive, wanted)
    task = {"type": "string", "minLength": 1, "maxLength": 50_000, "description": "the whole task: it knows nothing of what you know"}
    return {
        "name": found["name"],
        "description": f"{(found['description'] or 'An agent').rstrip('. ')}. Give it a task of its own; it answers when it is done.",
        "schema": {"type": "object", "properties": {"prompt": task}, "required": ["prompt"], "additionalProperties": False},
        "type": "agent",
        "fixed": {"profile": f"{found['name']}@{found['version']}"},
    }


async def _house(drive: Drive, wanted: list[str]) -> list[dict[str, Any]]:
    from graphs.lending import ASKED

    house, tenant, user_id = drive.engine.house, drive.tenant, drive.loaded.created_by
    if house is None:
        raise Failure("no_house", "this process lends runs none of Weft's own tools")
    user = await patiently(lambda: identities.get_user(tenant, user_id))
    specs = {tool.name: tool for tool in house.specs(user.role)}
    if missing := [name for name in wanted if name not in specs]:
        raise Failure("unknown_tool", f"{user.name} may use no tool {missing[0]!r} of Weft. {nearest(missing[0], specs, 'There are')}")
    return [
        {
            "name": name,
            "description": specs[name].description,
            "schema": specs[name].schema,
            "type": "house_tool",
            "fixed": {"tool": name},
            "under": "arguments",
            "effect": str(Effect.WRITE_ONCE if name in ASKED else specs[name].effect),
        }
        for name in wanted
    ]


async def _remote(drive: Drive, kind: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    from graphs import remote

    connection, field = given[kind], {"mcp": "tools", "openapi": "operations"}[kind]
    there = await patiently(lambda: connections.kinds(drive.tenant))
    if connection not in there:
        raise Failure("connection_missing", f"there is no connection {connection!r}. {nearest(connection, there, 'There are')}")
    found = {tool.name: tool for tool in await patiently(lambda: remote.tools(drive.tenant, connection))}
    usable = {name: tool for name, tool in found.items() if tool.state == "approved"}
    wanted = given.get(field) or list(usable)
    if not wanted:
        raise Failure("tool_unusable", f"no tool of {connection} is approved; approve some: weft connections tools {connection}")
    if missing := [name for name in wanted if name not in usable]:
        why = f"is {found[missing[0]].state}, and not approved" if missing[0] in found else "is not there"
        raise Failure("tool_unusable", f"{missing[0]!r} of {connection} {why}. {nearest(missing[0], usable, 'Approved are')}")
    return [
        {
            "name": name,
            "description": f"{usable[name].description} (of {connection})",
            "schema": usable[name].schema,
            "type": {"mcp": "mcp_tool", "openapi": "openapi"}[kind],
            "fixed": {"connection": connection, {"mcp": "tool", "openapi": "operation"}[kind]: name, "approved": usable[name].approval},
            "under": "arguments",
            "effect": str(usable[name].effect),
            "untrusted": True,
        }
        for name in wanted
    ]
