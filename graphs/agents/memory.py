"""Attached memory: what an agent is told of the past before its first turn, and what it leaves behind. Memories come quoted in a message of
the user; they never stand in `system`."""

from __future__ import annotations

from typing import Any

from graphs.agents.offers import Memory
from graphs.definition import Json
from graphs.nodetype import Context

MAX_QUERY, MAX_KEPT, MAX_ACTION = 4_000, 20_000, 200  # characters


async def told(memory: Memory | None, prompt: str, context: Context) -> str:
    """The task as the model gets it, behind what is remembered about it."""
    if memory is None or memory.recall is None:
        return prompt
    wanted = {name: value for name, value in memory.recall.model_dump(mode="json").items() if value is not None}
    found: Any = await context.step("recall", {"type": "recall", "config": {"query": prompt[:MAX_QUERY], **wanted}})
    return f"{found['text']}\n\nThe task:\n\n{prompt}" if found["memories"] else prompt


async def kept(memory: Memory | None, prompt: str, answer: str, name: str, context: Context) -> None:
    """Remembers what was asked and answered, as an agent's words: what came from outside is in them."""
    if memory is None or not memory.remember:
        return
    kinds = ("conversation",) if memory.remember is True else memory.remember
    scope = f"conversation:{memory.session}" if memory.session else "user"
    said = [
        {"role": "user", "text": prompt[:MAX_KEPT]},
        {"role": "assistant", "speaker": name, "text": answer[:MAX_KEPT] or "(nothing)"},
    ]
    items: dict[str, Json] = {
        "conversation": {"session": memory.session or context.run_id, "messages": said},
        "episode": {"actor": name, "action": " ".join(prompt.split())[:MAX_ACTION], "outcome": answer[:MAX_KEPT] or None},
    }
    for kind in kinds:
        config: dict[str, Json] = {"kind": kind, "item": items[kind], "scope": scope, "origin": "agent"}
        await context.step(f"remember_{kind}", {"type": "remember", "config": config})
