"""Connections that a workflow lacks: the person at the client is sent to a page of ours to set one up. No secret passes through a model."""

from __future__ import annotations

import json
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


async def invited(ctx: Ctx, caller: Caller, document: Json) -> InputRequiredResult | list[Lacking]:
    """What the workflow lacks, after the person was asked about the first of it if the client can; in the newer protocol era that takes
    a second round, and the question for it is the answer."""
    found = await lacking(caller.actor.tenant, document)
    if not found or not _can_open(ctx.client_capabilities) or not caller.may(Scope.AUTHOR):
        return found
    base = _base(ctx, caller)
    if base is None or _answered(ctx):
        return found
    invitation = await inviting.invite(caller.runtime, caller.actor, found[0].name, found[0].kind)
    url = connect_url(base, invitation.ticket)
    said = f"{found[0].sentence[:1].upper()}{found[0].sentence[1:]}. Set it up on this page of Weft; what you type there reaches no model."
    if ctx.protocol_version == MODERN:
        asked = ElicitRequest(params=ElicitRequestURLParams(message=said, url=url))
        return InputRequiredResult(input_requests={KEY: asked}, request_state=json.dumps({KEY: found[0].name}))
    await ctx.elicit_url(said, url, f"connect-{found[0].name}")
    return await lacking(caller.actor.tenant, document)


async def invited_to_run(ctx: Ctx, caller: Caller, workflow: str, version: int | None) -> InputRequiredResult | None:
    """The same before a run of a published workflow is started. Raises Conflict, saying what to do, while something is lacking."""
    known = caller.runtime.pins.get(caller.actor.tenant.org_id, workflow) if version is None else None
    target = known or await pinned(caller.actor.tenant, workflow, version)
    if version is None and known is None:
        caller.runtime.pins.keep(caller.actor.tenant.org_id, target)
    found = await invited(ctx, caller, target.body)
    if isinstance(found, InputRequiredResult):
        return found
    if found:
        raise Conflict(f"{target.name} is not started: {told(found)} Then start it again.", connections=[item.name for item in found])
    return None


def told(found: list[Lacking]) -> str:
    """What a person must do, for a model to pass on."""
    each = [f"{item.sentence}: {item.remedy}" for item in found[:5]]
    return f"{'; '.join(each)}. The user does this, not you: no secret may be written into a tool call."


def lacking_view(found: list[Lacking]) -> list[dict[str, Any]]:
    return [{"connection": item.name, "kind": item.kind, "problem": item.sentence, "fix": item.remedy} for item in found]


def _can_open(capabilities: ClientCapabilities | None) -> bool:
    asked = capabilities.elicitation if capabilities else None
    return asked is not None and asked.url is not None


def _answered(ctx: Ctx) -> bool:
    return isinstance((ctx.input_responses or {}).get(KEY), ElicitResult)


def _base(ctx: Ctx, caller: Caller) -> str | None:
    """None on stdio, where no page of ours is known to be open, unless the operator has said where."""
    headers = ctx.headers
    if caller.runtime.public_url or (headers and headers.get("host")):
        return base_of(headers or {}, caller.runtime.public_url)
    return None
