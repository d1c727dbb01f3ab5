"""How agent profiles and agents at work look from outside: plain JSON, the same at every door."""

from __future__ import annotations

from datetime import UTC, datetime

from graphs.agents.watching import AtWork
from graphs.definition import Json
from store.agents import Profile


def _at(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def profile_line(profile: Profile) -> dict[str, Json]:
    return {
        "name": profile.name,
        "version": profile.version,
        "description": profile.description,
        "digest": profile.digest.hex(),
        "created_by": profile.created_by,
        "created_at": _at(profile.created_at),
    }


def profile_view(profile: Profile) -> dict[str, Json]:
    return {**profile_line(profile), "profile": profile.body}


def at_work_view(agent: AtWork) -> dict[str, Json]:
    return {
        "position": agent.position,
        "parent": agent.parent,
        "depth": agent.depth,
        "profile": agent.profile,
        "state": agent.state,
        "started_at": _at(agent.started_at),
        "finished_at": _at(agent.finished_at) if agent.finished_at else None,
        "turns": agent.turns,
        "calls": agent.calls,
        "approvals": agent.approvals,
        "usage": agent.usage,
        "error": agent.error,
        "agents": [at_work_view(inner) for inner in agent.inside],
    }
