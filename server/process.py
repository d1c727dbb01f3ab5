"""The house: boots Postgres, schema, database pool, sandbox, outbound client, models and engine in order, and takes them down again."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from migrations import apply as migrations
from server import collector
from server import keys as key_folder
from server.keys import Keys, open_keys
from server.settings import Settings
from store import identities, preflight
from store.embedded import embedded
from store.errors import Conflict, Misconfigured
from store.listener import Beacon, worker_number
from store.postgres import Database, Tenant

if TYPE_CHECKING:
    from graphs.engine import Engine
    from graphs.runtime import Actor, Runtime

ORGANIZATION = "default"
OWNER = "owner"
BEACON_SECONDS = 5.0  # longest wait for the connection that hears of others
DRAIN_SECONDS = 15.0  # for steps under way; what is not done by then the next worker takes up
HEAVY = (
    "graphs.engine",
    "graphs.models",
    "graphs.outbound",
    "graphs.remote.calling",
)  # what takes long to import, read while Postgres starts
LATER = ("graphs.engine.conduct", "graphs.compiler", "graphs.saver")  # what only the first run needs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the database is: `url` for the app's login, `admin_url` for migrations only."""

    url: str
    admin_url: str
    app_password: str | None


@asynccontextmanager
async def house(settings: Settings, *, drive: bool = False, door: str | None = None) -> AsyncGenerator[Runtime]:
    """Everything a door or a worker needs; with `drive` its engine also drives runs during the block, and finishes the steps under way
    at its end. `door`: the module that will be wanted next, read while Postgres starts. Raises Misconfigured or Unavailable, saying what
    to do, when something is missing."""
    keys = open_keys(settings.keys_dir)
    async with AsyncExitStack() as stack:
        imported = asyncio.create_task(asyncio.to_thread(_import, (*HEAVY, door) if door else HEAVY))
        stack.push_async_callback(_settled, imported)
        address = await stack.enter_async_context(postgres(settings))
        await ensure_schema(settings, address)
        database = await stack.enter_async_context(Database.open(address.url, max_connections=settings.max_connections))
        await bootstrap(database, keys)
        await imported
        runtime = await _furnish(stack, settings, database, keys)
        await _connect(stack, runtime.engine, _session_url(settings, address, database), drive=drive)
        with collector.rare():
            yield runtime


async def _furnish(stack: AsyncExitStack, settings: Settings, database: Database, keys: Keys) -> Runtime:
    from graphs.connections import Connections, Vault
    from graphs.embedders import open_embedder
    from graphs.engine import Engine
    from graphs.expressions import Evaluator
    from graphs.models import Models, ModelSettings
    from graphs.outbound import Outbound, Policy
    from graphs.remote.calling import Remote
    from graphs.remote.servers import read_servers
    from graphs.runtime import Runtime
    from graphs.sealing import read_keys
    from server.house import OwnTools

    evaluator = await stack.enter_async_context(Evaluator())
    policy = Policy(allow_hosts=settings.allow_hosts, allow_nets=settings.allow_nets)
    outbound = await stack.enter_async_context(Outbound(policy))
    chosen = ModelSettings(
        default=settings.model,
        openai_api_key=settings.openai_api_key,
        openai_base_url=settings.openai_base_url,
        anthropic_api_key=settings.anthropic_api_key,
        anthropic_base_url=settings.anthropic_base_url,
        memory=settings.memory_model,
    )
    connections = Connections(Vault(partial(key_folder.master_keys, keys.folder)), outbound)
    models = Models(chosen, outbound, connections)
    embedder = await open_embedder(settings.embedder, chosen, outbound)
    servers = read_servers(settings.mcp_servers) if settings.mcp_servers else {}
    remote = await stack.enter_async_context(Remote(connections, outbound, servers=servers))
    checkpoint_keys = read_keys(settings.checkpoint_key_file) if settings.checkpoint_key_file else ()
    engine = Engine(
        database,
        evaluator,
        outbound,
        models,
        variables=settings.variables,
        slots=settings.max_runs,
        checkpoint_keys=checkpoint_keys,
        connections=connections,
        remote=remote,
        embedder=embedder,
        consolidation=settings.consolidated_every,
        public_url=settings.public_url,
    )
    runtime = Runtime(
        database=database,
        evaluator=evaluator,
        outbound=outbound,
        models=models,
        variables=settings.variables,
        engine=await stack.enter_async_context(engine),
        connections=connections,
        remote=remote,
        embedder=embedder,
    )
    engine.house = OwnTools(runtime)
    return runtime


def _session_url(settings: Settings, address: Address, database: Database) -> str | None:
    """The address for the one connection that must be a session of its own; None when a pooler may hand it to others between statements."""
    if settings.listen_database_url is not None:
        return settings.listen_database_url.get_secret_value()
    if not database.pooled:
        return address.url
    log.warning(
        "A pooler is between Weft and Postgres: this process looks for news twice a second instead of hearing of it, shows nothing live of "
        "runs that others drive, and when it dies, others take over its runs only after 7 s. Set WEFT_LISTEN_DATABASE_URL to an address of "
        "Postgres itself."
    )
    return None


async def _connect(stack: AsyncExitStack, engine: Engine, url: str | None, *, drive: bool) -> None:
    """Hears at once what other processes do; as a driver also holds the session lock by which others see at once that it has died.
    Without a `url` it looks for news, and its leases alone tell that it lives."""
    lit, number = False, worker_number()
    if url is not None:
        lit = await _listen(stack, engine, url, number if drive else None)
    if drive:
        await stack.enter_async_context(engine.serving(worker=number if lit else None, grace=DRAIN_SECONDS))


async def _listen(stack: AsyncExitStack, engine: Engine, url: str, number: int | None) -> bool:
    """Whether it hears already; else it will as soon as it can."""

    def heard(payload: str) -> None:
        org_id, _, run_id = payload.partition(" ")
        if run_id:
            engine.look(org_id, run_id)
            engine.changed(run_id)
        else:
            engine.wake()

    beacon = await stack.enter_async_context(Beacon(url, number, on_notify=heard, on_live=engine.bus.heard).open())
    engine.bus.hears = lambda: beacon.lit
    return await beacon.wait_lit(BEACON_SECONDS)


@asynccontextmanager
async def archive(settings: Settings) -> AsyncGenerator[tuple[Database, Keys]]:
    """The database and the keys without sandbox, models and engine: enough for administration."""
    keys = open_keys(settings.keys_dir)
    async with postgres(settings) as address:
        await ensure_schema(settings, address)
        async with Database.open(address.url, max_connections=2) as database:
            await bootstrap(database, keys)
            yield database, keys


@asynccontextmanager
async def postgres(settings: Settings) -> AsyncGenerator[Address]:
    """The operator's Postgres, or the embedded one, started or joined."""
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        admin = settings.admin_database_url.get_secret_value() if settings.admin_database_url else url
        parts = urlsplit(url)
        app_password = unquote(parts.password) if parts.username == "weft_app" and parts.password and admin != url else None
        yield Address(url=url, admin_url=admin, app_password=app_password)
        return
    open_keys(settings.keys_dir)
    async with embedded(settings.postgres_dir, settings.keys_dir / key_folder.POSTGRES, watch=True) as server:
        yield Address(url=server.app_url, admin_url=server.admin_url, app_password=server.app_password)


async def ensure_schema(settings: Settings, address: Address) -> None:
    """The embedded database is brought up to date; somebody else's only when they said so, for others may still use the old one."""
    if settings.embedded:
        await migrate(address)
        return
    if settings.auto_migrate:
        await migrate(address)
    await preflight.check(address.url, app=True)
    found = await migrations.status(address.url)
    if found.problem:
        raise Misconfigured(found.problem)
    if found.pending:
        raise Misconfigured(
            f"The database has an old schema: {len(found.pending)} migrations are not applied, the first is {found.pending[0]}. "
            "Make a backup and run: weft migrate up (or start with WEFT_AUTO_MIGRATE=true)."
        )


async def migrate(address: Address) -> list[str]:
    """Applies what is missing; answers with the names. Raises Misconfigured, Unavailable."""
    await preflight.check(address.admin_url, app=False)
    try:
        done = await migrations.apply(address.admin_url, app_password=address.app_password)
    except migrations.Refused as refused:
        raise Misconfigured(str(refused)) from refused
    for name in done:
        log.info("applied migration %s", name)
    return done


async def bootstrap(database: Database, keys: Keys) -> None:
    """On the first start of all: the organization, its owner and the owner's API key, which stays in the key folder (0600)."""
    organization = await identities.find_organization(database, ORGANIZATION)
    if organization is None:
        with suppress(Conflict):  # another process was a moment faster
            await identities.create_organization(database, slug=ORGANIZATION, name="Default")
        organization = await identities.find_organization(database, ORGANIZATION)
    assert organization is not None  # noqa: S101  # made or found above
    tenant = database.tenant(organization.id)
    owner = await identities.find_user(tenant, OWNER)
    if owner is None:
        with suppress(Conflict):
            await identities.create_user(tenant, name=OWNER, role="owner")
        owner = await identities.find_user(tenant, OWNER)
    assert owner is not None  # noqa: S101  # made or found above
    if not await identities.list_keys(tenant):
        await _first_key(tenant, owner.id, keys)


async def _first_key(tenant: Tenant, user_id: str, keys: Keys) -> None:
    made, text = await identities.create_key(tenant, user_id=user_id, name="first key", pepper=keys.pepper)
    path = keys.folder / key_folder.OWNER_KEY
    if key_folder.write(path, text):
        return
    kept = identities.well_formed(key_folder.read(path) or "")
    if kept in {key.id for key in await identities.list_keys(tenant)}:
        await identities.revoke_key(tenant, made.id)  # another process was a moment faster, and its key is in the file
    else:
        path.unlink(missing_ok=True)  # the key of a database that was moved away
        key_folder.write(path, text)


async def first_tenant(database: Database) -> Tenant:
    """The organization of this installation."""
    organization = await identities.find_organization(database, ORGANIZATION)
    if organization is None:
        raise Misconfigured("This database has no organization yet; start `weft serve` once.")
    return database.tenant(organization.id)


async def local_owner(database: Database) -> Actor:
    """Who acts through this machine's own command line: the owner of the first organization."""
    from graphs.runtime import Actor

    tenant = await first_tenant(database)
    owner = await identities.find_user(tenant, OWNER)
    if owner is None:
        raise Misconfigured(f"This database has no user {OWNER} any more; make one: weft key create repair --user {OWNER} --role owner")
    return Actor(tenant=tenant, user_id=owner.id, user_name=owner.name, role=owner.role, via="cli")


async def warm_up() -> None:
    """Imports what only the first run needs; call it once the doors are open, so that nobody waits for it."""
    await asyncio.to_thread(_import, LATER)


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)


async def _settled(task: asyncio.Task[None]) -> None:
    """A thread cannot be cancelled: wait for it, so that nothing of it outlives us."""
    await asyncio.wait([task])
