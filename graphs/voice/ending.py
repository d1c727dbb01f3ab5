"""Calls that nobody waits for any longer are ended at the provider: the run is over, its time is up, or somebody answered elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphs.nodetype import Failure
from graphs.quiet import side_by_side
from graphs.voice import provider
from graphs.voice.dialogue import Script, farewell
from store import voice_calls as rows
from store.postgres import Tenant
from store.voice_calls import Found

if TYPE_CHECKING:
    from graphs.engine import Engine

log = logging.getLogger(__name__)


async def end_all(engine: Engine, found: Sequence[Found]) -> None:
    """Whichever process finds them, it is done for all, and each by one of them at a time."""
    await side_by_side(end(engine, engine.database.tenant(one.org_id), one.id) for one in found)


async def end(engine: Engine, tenant: Tenant, id: str) -> None:
    """Ends one call. What the provider does not hear now, it is told again later."""
    if await rows.wind_up(tenant, id) is None:
        return
    call = await rows.get(tenant, id)
    if call is None or call.kind is None or call.provider_id is None or engine.connections is None:
        return  # its name may come yet, and with it the wish to hang up
    script = Script.of_json(call.script)
    try:
        connection = await engine.connections.open(tenant, call.connection, kind=call.kind)
        words = farewell(script, "settled") if call.answered_at else None
        await provider(call.kind).hang_up(connection, engine.outbound.of(tenant), call.provider_id, words)
    except Failure as failure:
        log.warning("call %s was not ended: %s", id, failure.message)
    else:
        await rows.hung_up(tenant, id)
