"""What the houses of the fault tests have as a server would give it: connections, tools of other servers, and Weft's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from graphs import connecting, remoting
from graphs.connections import Connections, MasterKey, Vault
from graphs.definition import Json
from graphs.engine import Engine
from graphs.engine.dispatch import LEASE
from graphs.expressions import Evaluator
from graphs.models import Models, ModelSettings
from graphs.nodetype import Effect
from graphs.outbound import Outbound
from graphs.remote import Remote
from graphs.remoting import Choice
from graphs.runtime import Actor, Runtime
from memory.embedding import built_in
from server.house import OwnTools
from store.postgres import Database

DOCUMENT = """
openapi: 3.1.0
info: {title: Ledger, version: "1"}
paths:
  /{tag}/{name}:
    put:
      operationId: put
      parameters:
        - {name: tag, in: path, required: true, schema: {type: string}}
        - {name: name, in: path, required: true, schema: {type: string}}
      requestBody: {content: {application/json: {schema: {}}}}
"""


@asynccontextmanager
async def furnished(
    database: Database,
    evaluator: Evaluator,
    outbound: Outbound,
    models: ModelSettings,
    *,
    lease: timedelta = LEASE,
    slots: int = 64,
) -> AsyncGenerator[Runtime]:
    """An engine that drives nothing yet, not opened, with all that its steps may reach for. Everybody here knows the key of the vault."""
    connections = Connections(Vault(lambda: [MasterKey(id="first", key=b"m" * 32)]), outbound)
    async with Remote(connections, outbound) as remote:
        engine = Engine(
            database,
            evaluator,
            outbound,
            Models(models, outbound),
            variables={},
            poll=0.02,
            slots=slots,
            connections=connections,
            remote=remote,
            embedder=built_in(),
            lease=lease,
        )
        runtime = Runtime(
            database=database,
            evaluator=evaluator,
            outbound=outbound,
            models=engine.models,
            variables={},
            engine=engine,
            connections=connections,
            remote=remote,
            embedder=engine.embedder,
        )
        engine.house = OwnTools(runtime)
        yield runtime


async def connected(runtime: Runtime, actor: Actor, *, ledger: str, tools: str) -> None:
    """Connections to the ledger by its document and to a server of tools, all of them but `post` approved as what may be repeated."""
    places: dict[str, tuple[str, Json]] = {"openapi": ("ledger", {"base_url": ledger}), "mcp": ("tools", {"url": tools})}
    for kind, (name, settings) in places.items():
        await connecting.create(runtime, actor, name=name, kind=kind, settings=settings)
        found = await remoting.upload(runtime, actor, name, DOCUMENT) if kind == "openapi" else await remoting.refresh(runtime, actor, name)
        effects = {tool.name: Effect.WRITE_ONCE if tool.name == "post" else Effect.WRITE_IDEMPOTENT for tool in found.tools}
        choices = [Choice(name=tool.name, digest=tool.digest or "", effect=effects[tool.name]) for tool in found.tools]
        await remoting.approve(runtime, actor, name, choices)
