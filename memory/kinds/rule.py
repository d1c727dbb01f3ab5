"""Rules: when something holds, do something. Only a person makes them; text from outside never becomes one, whatever it says."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from memory.kinds import Given, Outcome, Short, Text
from memory.writing import Desk
from store import conversations, facts, rules
from store.errors import Denied
from store.memories import Memory
from store.postgres import Session

ROWS = ("rule",)
PERSON = 3
Evaluate = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""The value of an expression over names; given from outside, where the expression language is."""


class Item(Given):
    """`conditions`: expressions that must all be true; `actions`: data for whoever asks which rules apply. Of a name the newest counts."""

    name: Short
    conditions: tuple[Text, ...] = Field(default=(), max_length=50)
    actions: tuple[dict[str, Any] | Text, ...] = Field(min_length=1, max_length=50)
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    description: Text | None = None
    domain: Short | None = None


async def keep(desk: Desk, item: Item) -> Outcome:
    """Raises Denied when it is not a person who says so, or when it was made of what no person said."""
    if await desk.trust(desk.tenant) < PERSON:
        raise Denied("Only a person makes rules; what a tool, a page, a document or a model says never becomes one.")
    data = {
        "name": item.name, "conditions": list(item.conditions), "actions": list(item.actions), "priority": item.priority,
        "description": item.description, "domain": item.domain,
    }  # fmt: skip
    when = " and ".join(item.conditions) or "always"
    then = "; ".join(action if isinstance(action, str) else json.dumps(action, ensure_ascii=False) for action in item.actions)
    body = f"{item.name}: when {when}, then {then}" + (f". {item.description}" if item.description else "")
    made = desk.memory("rule", body, title=item.name, data=data, identity=json.dumps(data, sort_keys=True), **item.common())
    async with desk.sheet() as sheet:
        await conversations.lock(sheet.transaction, desk.scope.id)
        row = await sheet.keep_one(made)
        older = [rule.id for rule in await rules.standing(sheet.transaction, [desk.scope.id], name=item.name) if rule.id != row.id]
        await facts.retract(sheet.transaction, older, f"superseded by {row.id}")
    return Outcome(created=[row.id], superseded=older) if row.created else Outcome(known=[row.id], superseded=older)


async def applying(session: Session, scope_ids: Sequence[int], values: Mapping[str, Any], evaluate: Evaluate) -> list[Memory]:
    """The rules all of whose conditions are true of the values, highest priority first."""
    return [rule for rule in await rules.standing(session, scope_ids) if await holds(rule, values, evaluate)]


async def holds(rule: Memory, values: Mapping[str, Any], evaluate: Evaluate) -> bool:
    """Whether all its conditions are true; those after one that is not are not looked at."""
    for condition in rule.data["conditions"]:
        if not await evaluate(condition, values):
            return False
    return True


def show(memory: Memory) -> dict[str, Any]:
    return dict(memory.data or {"name": memory.title})
