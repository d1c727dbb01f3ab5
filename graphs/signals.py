"""Events from outside: kept durably, and given to every run that waits for them or comes to wait for them later."""

from __future__ import annotations

import re

from graphs.definition import Json
from graphs.runtime import Actor, Runtime
from store import jsontext, waits
from store import runs as run_rows
from store.errors import Conflict, Invalid
from store.waits import Received

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
MAX_PAYLOAD = 256_000  # characters of JSON
MAX_KEY = 200
OURS = "weft."  # names of events begin so that only Weft itself sends
OUR_KEYS = ("step:", "voice:")  # under which Weft sends its own


async def send(
    runtime: Runtime, actor: Actor, *, name: str, correlation: str | None = None, payload: Json = None, idempotency_key: str | None = None
) -> Received:
    """Acknowledged means kept. Sending again under the same idempotency key changes nothing and says `duplicate`."""
    if not NAME.fullmatch(name):
        raise Invalid(f"{name!r} is not an event name; use letters, digits and . _ : - (at most 100)")
    if name.lower().startswith(OURS):
        raise Invalid(f"only Weft itself sends events whose names begin with {OURS}; name yours otherwise")
    if (size := len(jsontext.text(payload))) > MAX_PAYLOAD:
        raise Invalid(f"the payload is {size:,} characters of JSON; at most {MAX_PAYLOAD:,} are taken")
    if idempotency_key is not None and not 0 < len(idempotency_key) <= MAX_KEY:
        raise Invalid(f"an idempotency_key has 1 to {MAX_KEY} characters")
    if idempotency_key is not None and idempotency_key.startswith(OUR_KEYS):
        raise Invalid(f"keys that begin with {' or '.join(OUR_KEYS)} are those of Weft's own events; begin yours otherwise")
    received = await waits.receive(actor.tenant, name=name, correlation=correlation, payload=payload, idempotency_key=idempotency_key)
    if received is None or not received.id:
        raise Conflict("the same event is being sent just now; try again")
    for run_id in received.woken:
        await run_rows.notify(actor.tenant, run_id)
        runtime.engine.look(actor.tenant.org_id, run_id)
    return received
