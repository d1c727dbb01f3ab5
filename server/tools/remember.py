"""remember: keeps what is to be known later; forgets it again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs import memories
from graphs.memories import Remembrance, Selection, forgotten_view, outcome_view
from server.answers import answer
from server.auth import Scope
from server.tools import Ctx, caller_of, hints
from server.tools.recall import instant
from store.errors import Invalid

DESCRIPTION = (
    "Remember a text (facts, names and events are found in it) or an item of a kind. Twice the same is one; newer facts supersede. "
    "forget removes by ids, query, source or subject, with all derived from it; without expect it only counts."
)
ANNOTATIONS = hints(read_only=False, destructive=True)
SCOPE = Scope.MEMORY_WRITE


async def run(
    ctx: Ctx,
    action: Literal["remember", "forget"] = "remember",
    text: Annotated[str | None, Field(description="what to remember")] = None,
    kind: Annotated[str | None, Field(description="of item: fact, episode, …")] = None,
    item: Annotated[dict[str, Any] | None, Field(description="e.g. {subject, predicate, object}")] = None,
    scope: Annotated[str | None, Field(description="user (default), organization, conversation:x, agent:x, …")] = None,
    origin: Annotated[Literal["user", "agent", "tool", "web", "document"], Field(description="whose words; trust follows")] = "agent",
    speaker: Annotated[str | None, Field(description="who said it")] = None,
    at: Annotated[str | None, Field(description="ISO 8601")] = None,
    source: Annotated[str | None, Field(description="URL or file")] = None,
    ids: Annotated[list[str] | None, Field(description="forget")] = None,
    query: Annotated[str | None, Field(description="forget")] = None,
    subject: Annotated[str | None, Field(description="forget: all about it")] = None,
    expect: Annotated[int | None, Field(description="forget: the count to remove")] = None,
) -> CallToolResult:
    caller = caller_of(ctx)
    access = memories.access(caller.runtime, caller.actor)
    if action == "remember":
        if ids or query or subject or expect is not None:
            raise Invalid('ids, query, subject and expect are for action="forget"')
        wanted = Remembrance(
            text=text, kind=kind, item=item, scope=scope or memories.OWN, origin=origin, speaker=speaker, at=instant(at), source=source
        )
        return answer(outcome_view(await memories.remember(access, wanted)), next="recall(query) finds it")
    if text is not None or kind is not None or item is not None:
        raise Invalid('text, kind and item are for action="remember"')
    chosen = Selection(ids=ids or (), query=query, source=source, subject=subject, scope=scope)
    if expect is not None:
        return answer(forgotten_view(await memories.forget(access, chosen, expect=expect)))
    counted = await memories.count_forgotten(access, chosen)
    return answer(forgotten_view(counted), next=f"nothing is removed yet; ask your user, then repeat the call with expect={counted.count}")
