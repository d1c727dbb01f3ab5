"""The workflows that come with Weft and keep memories: starting them, by hand or when they are due."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from graphs import runs, shipped
from graphs.definition import Json
from graphs.memories import Access, embedder_of
from graphs.runtime import Actor, Runtime
from store import consolidations, identities
from store import runs as run_rows
from store.consolidations import Due
from store.errors import Conflict, Denied, Invalid, NotFound
from store.ids import new_id
from store.postgres import Tenant
from store.runs import Run

if TYPE_CHECKING:
    from graphs.engine import Engine

CONSOLIDATION = "memory-consolidation"
REEMBEDDING = "memory-reembedding"
UNDER_WAY = ("running", "waiting", "queued", "paused")
AT_ONCE = 20  # that one look starts: of ten thousand users some wait for the next look

log = logging.getLogger(__name__)


async def consolidate(runtime: Runtime, actor: Actor) -> Run:
    """Keeps the memories in order that the actor may write."""
    return await _start(runtime, actor, CONSOLIDATION, {"whose": "all"})


async def reembed(runtime: Runtime, actor: Actor, access: Access) -> Run:
    """Moves the organization's memories to the configured embedder; the move that is under way already, if there is one. Raises Invalid
    where no embedder is configured, Denied."""
    embedder = embedder_of(access)
    if actor.role not in ("builder", "owner"):
        raise Denied(f"Moving the memories of all to another embedder takes the role builder, and you are {actor.role}.")
    input: dict[str, Json] = {"model": f"{embedder.provider}:{embedder.model}"}
    for state in UNDER_WAY:
        found, _ = await run_rows.page(
            actor.tenant, workflow=REEMBEDDING, state=state, mode="production", before=None, limit=10, dead=False
        )
        for listed in found:
            run = await runs.get(runtime, actor, listed.id)
            if run.input == input:
                return run
    return await _start(runtime, actor, REEMBEDDING, input)


async def _start(runtime: Runtime, actor: Actor, name: str, input: Json, id: str | None = None) -> Run:
    definition = shipped.definition(name)
    return await runs.start_definition(runtime, actor, definition=definition, input=input, mode="production", mocks=None, name=name, id=id)


async def look(engine: Engine, every: timedelta) -> int:
    """Starts what is due in any organization; how many. Whichever process looks first begins a round: each is begun once."""
    runtime = Runtime(
        database=engine.database, evaluator=engine.evaluator, outbound=engine.outbound, models=engine.models, variables=engine.variables,
        engine=engine, connections=engine.connections, embedder=engine.embedder,
    )  # fmt: skip
    count = 0
    for org_id in await identities.all_organizations(engine.database):
        tenant = engine.database.tenant(org_id)
        try:
            for due in await consolidations.due(tenant, every, AT_ONCE):
                count += await _begin(runtime, tenant, due)
        except (Invalid, Conflict, NotFound) as wrong:  # of this one: the others have their turn all the same
            log.warning("memories of organization %s are not consolidated: %s", org_id, wrong.message)
    return count


async def _begin(runtime: Runtime, tenant: Tenant, due: Due) -> bool:
    actor = await _keeper(tenant, due.user_id) if due.needed else None
    run_id = new_id() if actor else None
    if not await consolidations.take(tenant, due, run_id) or actor is None or run_id is None:
        return False
    await _start(runtime, actor, CONSOLIDATION, {"whose": "own" if due.user_id else "shared"}, run_id)
    await consolidations.started(tenant, due, run_id)
    return True


async def _keeper(tenant: Tenant, user_id: str | None) -> Actor | None:
    """On whose behalf: whose memories they are, and of everybody's the first owner."""
    users = [await identities.get_user(tenant, user_id)] if user_id else await identities.list_users(tenant)
    user = next((user for user in users if user_id or user.role == "owner"), None)
    return Actor(tenant=tenant, user_id=user.id, user_name=user.name, role=user.role, via="schedule") if user else None
