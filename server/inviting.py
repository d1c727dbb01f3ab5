"""Connections that a workflow lacks: the person at the client is sent to a page of ours to set one up. No secret passes through a model."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp.types import ClientCapabilities, ElicitRequest, ElicitRequestURLParams, ElicitResult, InputRequiredResult

from graphs import inviting
from graphs.definition import Json
from graphs.lacking import Lacking, lacking
from graphs.pinning import pinned
from server.auth import Caller, Scope
from server.links import base_of, connect_url
from server.tools import Ctx
from store.errors import Conflict

MODERN = "2026-07-28"
KEY = "connect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a workflow lacks. `page`: where a person sets up the first of it, for a client that cannot open pages itself."""

    items: Sequence[Lacking] = ()
    page: str | None = field(default=None, repr=False)

    def told(self) -> str:
        """What a person must do, for a model to pass on."""
        first = f"The user opens {self.page} (once, within ten minutes). Or: " if self.page else ""
        each = [f"{item.sentence}: {item.remedy}" for item in self.items[:5]]
        return f"{first}{'; '.join(each)}. The user does this, not you: no secret may be written into a tool call."

    def view(self) -> list[dict[str, Any]]:
        """One by one, for an answer."""
        found = [{"connection": item.name, "kind": item.kind, "problem": item.sentence, "fix": item.remedy} for item in self.items]
        return [{**found[0], "page": f"{self.page} (for the user: opens once, within ten minutes)"}, *found[1:]] if self.page else found


async def invited(ctx: Ctx, caller: Caller, document: Json, *, without: Collection[str] = ()) -> InputRequiredResult | Missing:
    """What the workflow lacks, after the person was asked about the first of it if the client can; in the newer protocol era that takes
    a second round, and the question for it is the answer. `without`: nodes that are not to run."""
    found = await lacking(caller.actor.tenant, document, without=without)
    base = _base(ctx, caller) if found and caller.may(Scope.AUTHOR) else None
    if base is None or _answered(ctx):
        return Missing(items=found)
    invitation = await inviting.invite(caller.runtime, caller.actor, found[0].name, found[0].kind)
    url = connect_url(base, invitation.ticket)
    if not _can_open(ctx.client_capabilities):
        return Missing(items=found, page=url)
    said = f"{found[0].sentence[:1].upper()}{found[0].sentence[1:]}. Set it up on this page of Weft; what you type there reaches no model."
    if ctx.protocol_version == MODERN:
        asked = ElicitRequest(params=ElicitRequestURLParams(message=said, url=url))
        return InputRequiredResult(input_requests={KEY: asked}, request_state=json.dumps({KEY: found[0].name}))
    await ctx.elicit_url(said, url, f"connect-{found[0].name}")
    return Missing(items=await lacking(caller.actor.tenant, document, without=without))


async def invited_to_run(ctx: Ctx, caller: Caller, workflow: str, version: int | None) -> InputRequiredResult | None:
    """The same before a run of a published workflow is started. Raises Conflict, saying what to do, while something is lacking."""
    known = caller.runtime.pins.get(caller.actor.tenant.org_id, workflow) if version is None else None
    target = known or await pinned(caller.actor.tenant, workflow, version)
    if version is None and known is None:
        caller.runtime.pins.keep(caller.actor.tenant.org_id, target)
    found = await invited(ctx, caller, target.body)
    if isinstance(found, InputRequiredResult):
        return found
    if found.items:
        names = [item.name for item in found.items]
        raise Conflict(f"{target.name} is not started: {found.told()} Then start it again.", connections=names)
    return None


def _can_open(capabilities: ClientCapabilities | None) -> bool:
    asked = capabilities.elicitation if capabilities else None
    return asked is not None and asked.url is not None


def _answered(ctx: Ctx) -> bool:
    return isinstance((ctx.input_responses or {}).get(KEY), ElicitResult)


def _base(ctx: Ctx, caller: Caller) -> str | None:
    """None on stdio, where no page of ours is known to be open, unless the operator has said where; and in a chat, which is kept."""
    if caller.actor.via == "chat":
        return None
    headers = ctx.headers
    if caller.runtime.public_url or (headers and headers.get("host")):
        return base_of(headers or {}, caller.runtime.public_url)
    return None
