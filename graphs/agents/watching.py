"""Agents at work, for people to watch: who runs whom, and what was said and done, built again from the journal."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from graphs import runs
from graphs.definition import Json
from graphs.pinning import nearest
from graphs.runtime import Actor, Runtime
from store import agents
from store.agents import Inside
from store.errors import NotFound

TURN = re.compile(r"turn_\d+|last")
CALL = re.compile(r"call_(\d+)_(\d+)")
APPROVAL = re.compile(r"approve_(\d+)_(\d+)(?:_again\d+)?")


@dataclass(slots=True, kw_only=True)
class AtWork:
    """An agent of a run; `inside` are the sub-agents it has run. `usage` is of its own turns."""

    position: str
    parent: str | None
    depth: int
    profile: str | None
    state: str
    started_at: datetime
    finished_at: datetime | None
    turns: int = 0
    calls: int = 0
    approvals: int = 0
    usage: dict[str, Any] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0})
    error: Any = None
    inside: list[AtWork] = field(default_factory=list["AtWork"])


async def at_work(runtime: Runtime, actor: Actor, run_id: str) -> list[AtWork]:
    """The agents of a run as trees. Raises NotFound for the run."""
    await runs.get(runtime, actor, run_id)
    rows = await agents.inside(actor.tenant, run_id, await agents.at_work(actor.tenant, run_id))
    found = {row.position: _agent(row) for row in rows if row.node_type == "agent"}
    roots: list[AtWork] = []
    for position, each in found.items():
        parent = found.get(position.rpartition("/")[0])
        if parent is None:
            roots.append(each)
        else:
            each.parent, each.depth = parent.position, parent.depth + 1
            parent.inside.append(each)
    for row in rows:
        _count(row, found.get(row.position.rpartition("/")[0]))
    return roots


def _agent(row: Inside) -> AtWork:
    pinned: Any = (row.input or {}).get("#profile")
    profile = f"{pinned['name']}@{pinned['version']}" if pinned else None
    return AtWork(
        position=row.position,
        parent=None,
        depth=0,
        profile=profile,
        state=row.state,
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=row.error,
    )


def _count(row: Inside, agent: AtWork | None) -> None:
    key = row.position.rpartition("/")[2]
    if agent is None:
        return
    agent.calls += CALL.fullmatch(key) is not None
    agent.approvals += APPROVAL.fullmatch(key) is not None
    if TURN.fullmatch(key):
        agent.turns += 1
        for name in agent.usage:
            spent = _usage(row).get(name)
            agent.usage[name] = None if spent is None or agent.usage[name] is None else agent.usage[name] + spent


def _usage(row: Inside) -> dict[str, Any]:
    """What a turn has used; one that is not done has used nothing yet that anybody knows of."""
    output: Any = row.output if isinstance(row.output, dict) else {}
    return output.get("usage") or ({"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0} if row.state != "succeeded" else {})


async def transcript(runtime: Runtime, actor: Actor, run_id: str, position: str) -> dict[str, Json]:
    """What an agent was told, said, called, was answered and shown. Raises NotFound for what is no agent of the run."""
    await runs.get(runtime, actor, run_id)
    rows = await agents.inside(actor.tenant, run_id, [position])
    own = next((row for row in rows if row.position == position and row.node_type == "agent"), None)
    if own is None:
        known = await agents.at_work(actor.tenant, run_id)
        raise NotFound(f"there is no agent at {position[:200]!r} in this run. {nearest(position, known, 'There are agents at')}")
    inner = {row.position.removeprefix(f"{position}/"): row for row in rows if row.position != position}
    direct = {key: row for key, row in inner.items() if "/" not in key}
    return {
        "position": position,
        "profile": _agent(own).profile,
        "state": own.state,
        "plan": ((own.input or {}).get("#plan") or {}).get("items", []),
        "messages": _messages(direct),
        "calls": [_call(key, row) for key, row in direct.items() if CALL.fullmatch(key)],
        "approvals": [_approval(key, row) for key, row in direct.items() if APPROVAL.fullmatch(key)],
        "output": own.output,
        "error": own.error,
    }


def _messages(direct: dict[str, Inside]) -> list[Json]:
    """Every turn keeps the messages that were new in it, and its output is the next one."""
    messages: list[Json] = []
    for key, row in direct.items():
        if TURN.fullmatch(key):
            given: Any = row.input or {}
            messages = [*messages[: (given.get("earlier") or {}).get("count", 0)], *(given.get("messages") or [])]
            if row.state == "succeeded":
                messages.append(_said(row.output))
    return messages


def _said(output: Json) -> Json:
    """The words of the model in a turn; a later turn has them as it was told them, with the names of their calls."""
    if isinstance(output, dict) and "text" in output:
        calls: Any = output.get("calls") or []
        return {"role": "assistant", "text": output["text"], **({"calls": calls} if calls else {})}
    return {"role": "assistant", "json": output}


def _call(key: str, row: Inside) -> Json:
    found = CALL.fullmatch(key)
    assert found is not None  # noqa: S101 the caller has looked
    return {
        "position": row.position,
        "turn": int(found[1]),
        "number": int(found[2]),
        "type": row.node_type,
        "config": {name: value for name, value in (row.input or {}).items() if not name.startswith("#")},
        "effect": row.effect,
        "state": row.state,
        "attempts": row.attempt,
        "output": row.output,
        "error": row.error,
    }


def _approval(key: str, row: Inside) -> Json:
    found = APPROVAL.fullmatch(key)
    assert found is not None  # noqa: S101 the caller has looked
    output: Any = row.output or {}
    asked: Any = row.input or {}
    return {
        "position": row.position,
        "turn": int(found[1]),
        "number": int(found[2]),
        "state": row.state,
        "asked": asked.get("description"),
        "approved": output.get("approved"),
        "comment": output.get("comment"),
        "by": output.get("answered_by"),
    }
