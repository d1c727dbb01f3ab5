"""The door for agents of LangGraph: Weft's memory as the store that `graph.compile(store=…)` takes, for whoever has an API key.

async with open_store(api_key="weft_live_…", scope="agent:helper") as store:
    graph = builder.compile(store=store)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Literal

from anyio.from_thread import start_blocking_portal

from graphs.basestore import TTLConfig, WeftStore
from graphs.embedders import open_embedder
from graphs.memories import Access
from graphs.models import ModelSettings
from graphs.outbound import Outbound, Policy
from memory.scopes import Principal
from server.auth import Scope, need
from server.keys import open_keys
from server.process import ensure_schema, postgres
from server.settings import Settings, load
from store import identities
from store.errors import Unauthenticated
from store.postgres import Database

NEEDED = {"read": Scope.MEMORY_READ, "write": Scope.MEMORY_WRITE}


@asynccontextmanager
async def open_store(
    database_url: str | None = None, *, api_key: str, scope: str = "user", origin: str = "agent", source: str | None = None,
    fields: Sequence[str] | None = None, ttl: TTLConfig | None = None, settings: Settings | None = None,
) -> AsyncGenerator[WeftStore]:  # fmt: skip
    """A store in a scope, for the block, on behalf of the user the key was made for; a key that is revoked later on no longer opens it.

    Database, embedder and key folder are those of the environment (WEFT_…), as for `weft serve`. `origin`: whose words values are, and
    `source` where from; `fields`: paths of what they are found by ("text", "notes[*].title"), without any all they say; `ttl`: LangGraph's
    TTLConfig. Raises Unauthenticated, Misconfigured, Unavailable, Invalid.
    """
    chosen = settings or load(database_url=database_url)
    keys = open_keys(chosen.keys_dir)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(postgres(chosen))
        await ensure_schema(chosen, address)
        database = await stack.enter_async_context(Database.open(address.url, max_connections=chosen.max_connections))
        known = identities.Keys(database, keys.pepper)
        outbound = await stack.enter_async_context(Outbound(Policy(allow_hosts=chosen.allow_hosts, allow_nets=chosen.allow_nets)))
        models = ModelSettings(openai_api_key=chosen.openai_api_key, openai_base_url=chosen.openai_base_url)
        embedder = await open_embedder(chosen.embedder, models, outbound)

        async def enter(doing: Literal["read", "write"]) -> Access:
            who = await known.verify(api_key)
            if who is None:
                raise Unauthenticated("This is no valid API key (any more); `weft key create` makes one.")
            need(who.role, NEEDED[doing])
            return Access(tenant=database.tenant(who.org_id), principal=Principal(user_id=who.user_id, role=who.role), embedder=embedder)

        await enter("read")
        store = WeftStore(enter, scope=scope, origin=origin, source=source, fields=fields, ttl=ttl)
        stack.push_async_callback(store.aclose)
        yield store


@contextmanager
def open_sync_store(
    database_url: str | None = None, *, api_key: str, scope: str = "user", origin: str = "agent", source: str | None = None,
    fields: Sequence[str] | None = None, ttl: TTLConfig | None = None, settings: Settings | None = None,
) -> Generator[WeftStore]:  # fmt: skip
    """The same for programs without an event loop, such as those that call `graph.invoke`: the store lives in a thread of its own."""
    opened = open_store(
        database_url, api_key=api_key, scope=scope, origin=origin, source=source, fields=fields, ttl=ttl, settings=settings
    )  # fmt: skip
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(opened) as store:
        yield store
