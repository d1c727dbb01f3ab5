"""Profiles: what a named, versioned profile says, narrowed by the node that uses it. A node may take away and never add."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from graphs.agents.offers import Approve, Settings, Tool
from graphs.definition import Json
from graphs.documents import is_array
from graphs.engine.configs import explain
from graphs.nodetype import Context, Failure

CAUTION: tuple[Any, ...] = (False, "effects", True)  # the further on, the more a person is asked
LIMITS = ("max_turns", "max_calls", "max_tokens", "max_usd", "max_depth")


async def settled(config: Settings, profile: str | None, context: Context) -> tuple[Settings, str]:
    """What the agent is, and its name. The profile is looked up once and recorded: the agent keeps the version it began with."""
    if profile is None:
        return config, f"agent {context.node_id}"
    known: Any = context.known("profile")
    if known is None:
        known = await context.profile(profile)
        context.keep("profile", known)
    try:
        said = Settings.model_validate(known["body"])
    except ValidationError as error:
        raise Failure("bad_profile", f"profile {known['name']}@{known['version']}: {explain(error)}") from None
    return narrowed(said, config), f"{known['name']}@{known['version']}"


def narrowed(profile: Settings, node: Settings) -> Settings:
    """The profile as this node uses it. Raises Failure("widened") where the node wants what the profile does not have."""
    given = node.model_fields_set
    changes: dict[str, Json] = {name: getattr(node, name) for name in ("model", "memory", "output_schema", "on_limit") if name in given}
    changes["system"] = "\n\n".join(text for text in (profile.system, node.system) if text) or None
    if "approve" in given:
        changes["approve"] = stricter(profile.approve, node.approve)
    if profile.approvers is None:
        changes["approvers"] = node.approvers
    if "tools" in given:
        changes["tools"] = tuple(_chosen(profile.tools, node.tools))
    if "approve" in given:
        changes["tools"] = tuple(_careful(tool, node.approve) for tool in changes.get("tools", profile.tools))
    for name in LIMITS:
        limits = [limit for limit in (getattr(profile, name), getattr(node, name) if name in given else None) if limit is not None]
        changes[name] = min(limits) if limits else None
    return profile.model_copy(update=changes)


def stricter(one: Approve, other: Approve) -> Approve:
    found: Any = max(one, other, key=CAUTION.index)
    return found


def _careful(tool: Tool, approve: Approve) -> Tool:
    """A tool that the profile asks less about is asked about as the node says."""
    return tool if tool.approve is None else tool.model_copy(update={"approve": stricter(tool.approve, approve)})


def _chosen(has: Iterable[Tool], wanted: Iterable[Tool]) -> Iterable[Tool]:
    for tool in wanted:
        plain = tool.model_copy(update={"approve": None})
        same = next((own for own in has if own.model_copy(update={"approve": None}) == plain), None)
        if same is None:
            said = tool.model_dump(mode="json")[tool.kind]
            label = tool.name or (", ".join(map(str, said)) if is_array(said) else said if isinstance(said, str) else "")
            raise Failure(
                "widened", f"the profile has no such tool as {tool.kind} {label!r}; with a profile, `tools` can only leave some out"
            )
        rules = [rule for rule in (same.approve, tool.approve) if rule is not None]
        yield same.model_copy(update={"approve": max(rules, key=CAUTION.index) if rules else None})
