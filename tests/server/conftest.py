"""The doors over a running house: an app on a real loopback port, keys for every role, another organization, and MCP clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from graphs import authoring, runs
from graphs.connections import Connections, Vault
from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.models import Models, ModelSettings
from graphs.outbound import Outbound, Policy
from graphs.runtime import Actor, Runtime
from server import keys
from server.app import create_app
from server.commands.serving import Door
from server.mcp import WeftServer, build_server
from server.settings import Settings
from store import identities
from store.postgres import Database, Tenant
from store.runs import Run
from tests.server.samples import ROLES


@pytest.fixture(scope="module")
async def evaluator(anyio_backend: str) -> AsyncGenerator[Evaluator]:
    async with Evaluator() as opened:
        yield opened


@pytest.fixture
async def runtime(database: Database, evaluator: Evaluator, settings: Settings) -> AsyncGenerator[Runtime]:
    """A house whose engine drives runs."""
    async with AsyncExitStack() as stack:
        outbound = await stack.enter_async_context(Outbound(Policy(allow_hosts=("127.0.0.1",))))
        models = Models(ModelSettings(), outbound)
        connections = Connections(Vault(partial(keys.master_keys, keys.open_keys(settings.keys_dir).folder)), outbound)
        engine = Engine(database, evaluator, outbound, models, variables={}, poll=0.05, connections=connections)
        await stack.enter_async_context(engine)
        await stack.enter_async_context(engine.serving(grace=2.0))
        yield Runtime(
            database=database,
            evaluator=evaluator,
            outbound=outbound,
            models=models,
            variables={},
            engine=engine,
            connections=connections,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One organization as its doors see it."""

    runtime: Runtime
    settings: Settings
    tenant: Tenant
    users: dict[str, str]  # role -> user id
    keys: dict[str, str]  # role -> API key
    key_ids: dict[str, str]

    def actor(self, role: str = "owner") -> Actor:
        return Actor(tenant=self.tenant, user_id=self.users[role], user_name=f"{role} of {self.tenant.org_id[:4]}", role=role, via="mcp")

    def server(self, role: str = "owner", **options: Any) -> WeftServer:
        """An MCP server whose local caller has this role, as stdio has."""
        return build_server(self.runtime, keys=[b"k" * 32], local=self.actor(role), **options)

    async def create(self, definition: dict[str, Any]) -> str:
        workflow, report = await authoring.create(self.runtime, self.actor(), definition)
        assert workflow is not None, report
        return workflow.name

    async def publish(self, definition: dict[str, Any]) -> str:
        name = await self.create(definition)
        await authoring.publish(self.runtime, self.actor(), name)
        return name

    async def run(self, workflow: str, input: Any = None) -> Run:
        """Starts a run and waits until it is finished or needs somebody."""
        started = await runs.start(self.runtime, self.actor(), workflow=workflow, input=input or {})
        return await runs.wait(self.runtime, self.actor(), started.id, seconds=20)


async def _house(runtime: Runtime, tenant: Tenant, settings: Settings, pepper: bytes) -> House:
    users: dict[str, str] = {}
    texts: dict[str, str] = {}
    ids: dict[str, str] = {}
    for role in ROLES:
        users[role] = (await identities.create_user(tenant, name=role.capitalize(), role=role)).id
        key, texts[role] = await identities.create_key(tenant, user_id=users[role], name=role, pepper=pepper)
        ids[role] = key.id
    return House(runtime=runtime, settings=settings, tenant=tenant, users=users, keys=texts, key_ids=ids)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "weft")


@pytest.fixture
async def house(runtime: Runtime, tenant: Tenant, settings: Settings) -> House:
    return await _house(runtime, tenant, settings, keys.open_keys(settings.keys_dir).pepper)


@pytest.fixture
async def stranger(runtime: Runtime, other_tenant: Tenant, settings: Settings) -> House:
    """Another organization in the same house."""
    return await _house(runtime, other_tenant, settings, keys.open_keys(settings.keys_dir).pepper)


@pytest.fixture
async def url(runtime: Runtime, settings: Settings) -> AsyncGenerator[str]:
    """The address of the whole app on a loopback port."""
    async with served(create_app(runtime, settings)) as address:
        yield address


@asynccontextmanager
async def served(app: Any) -> AsyncGenerator[str]:
    door = Door(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named TCP, or asyncio leaves Nagle on
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    task = asyncio.create_task(door.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            await door.ready.wait()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        door.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def connected(url: str, key: str, mode: Any = "auto", **options: Any) -> AsyncGenerator[Client]:
    """An MCP client over streamable HTTP."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode, **options) as client,
    ):
        yield client


def http(url: str, key: str | None) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.AsyncClient(base_url=url, headers=headers, timeout=60)


def text_of(result: CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


def told(result: CallToolResult) -> dict[str, Any]:
    """The structured content of an answer that is no error."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content
