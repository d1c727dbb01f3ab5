"""Stores to hold against each other: Weft's over real Postgres, with vectors and without, and LangGraph's InMemoryStore, the reference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, Literal

import pytest
from anyio.from_thread import start_blocking_portal
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from graphs.basestore import WeftStore
from graphs.memories import Access
from memory.embedding import Embedder
from memory.scopes import Principal
from store import identities
from store.postgres import Database
from tests.basestore.embeddings import CharacterEmbedder, CharacterEmbeddings

DIMENSIONS = 500
NAMELESS: tuple[tuple[Any, ...], ...] = (("foo.bar",), ("foo", ""), ("foo", 1), (123,))
SCOPE = "agent:helper"


@asynccontextmanager
async def weft(
    url: str, embedder: Embedder | None = None, role: str = "owner", scope: str = SCOPE, **options: Any
) -> AsyncGenerator[WeftStore]:
    """A store of an organization of its own; the same organization for the same database."""
    async with Database.open(url) as database:
        found = await identities.find_organization(database, "langgraph")
        organization = found or await identities.create_organization(database, slug="langgraph", name="LangGraph")
        tenant = database.tenant(organization.id)
        user = await identities.find_user(tenant, role) or await identities.create_user(tenant, name=role, role=role)

        async def enter(_doing: Literal["read", "write"]) -> Access:
            return Access(tenant=tenant, principal=Principal(user_id=user.id, role=role), embedder=embedder)

        store = WeftStore(enter, scope=scope, **options)
        try:
            yield store
        finally:
            await store.aclose()


@contextmanager
def in_thread(url: str, embedder: Embedder | None = None, **options: Any) -> Generator[WeftStore]:
    """The same in a thread of its own, for tests that are not asynchronous."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(weft(url, embedder, **options)) as store:
        yield store


def in_memory(fields: list[str] | None = None) -> InMemoryStore:
    return InMemoryStore(index={"dims": DIMENSIONS, "embed": CharacterEmbeddings(DIMENSIONS), "fields": fields or ["$"]})


@pytest.fixture(params=["weft", "memory"])
def store(request: pytest.FixtureRequest) -> Generator[BaseStore]:
    """For synchronous tests."""
    if request.param == "memory":
        yield InMemoryStore()
        return
    with in_thread(request.getfixturevalue("app_url")) as opened:
        yield opened


@pytest.fixture(params=["weft", "memory"])
async def astore(request: pytest.FixtureRequest, app_url: str, anyio_backend: str) -> AsyncGenerator[BaseStore]:
    """For asynchronous tests, in their own loop; `app_url` is asked for outside it, because the first to need it starts Postgres."""
    if request.param == "memory":
        yield InMemoryStore()
        return
    async with weft(app_url) as opened:
        yield opened


@pytest.fixture
def weft_in_thread(app_url: str) -> Generator[WeftStore]:
    """Weft's alone, for synchronous tests."""
    with in_thread(app_url) as opened:
        yield opened


@pytest.fixture
async def weft_store(app_url: str, anyio_backend: str) -> AsyncGenerator[WeftStore]:
    """Weft's alone, by words."""
    async with weft(app_url) as opened:
        yield opened


async def together(*calls: Awaitable[Any], return_exceptions: bool = False) -> list[Any]:
    return list(await asyncio.gather(*calls, return_exceptions=return_exceptions))


Vectors = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(params=["weft", "memory"])
def vectors(request: pytest.FixtureRequest) -> Vectors:
    """Makes a store that finds by LangGraph's character embeddings: `vectors(fields=[…])`."""
    if request.param == "weft":
        url = request.getfixturevalue("app_url")

        def opened(fields: list[str] | None = None) -> AbstractContextManager[BaseStore]:
            return in_thread(url, CharacterEmbedder(DIMENSIONS), fields=fields)

        return opened

    @contextmanager
    def made(fields: list[str] | None = None) -> Generator[BaseStore]:
        yield in_memory(fields)

    return made


@pytest.fixture(params=["weft", "weft words only", "memory"])
def vector_store(request: pytest.FixtureRequest) -> Generator[BaseStore]:
    if request.param == "memory":
        yield in_memory()
        return
    embedder = CharacterEmbedder(DIMENSIONS) if request.param == "weft" else None
    with in_thread(request.getfixturevalue("app_url"), embedder) as opened:
        yield opened


@pytest.fixture(params=["weft", "weft words only", "memory"])
async def avector_store(request: pytest.FixtureRequest, app_url: str, anyio_backend: str) -> AsyncGenerator[BaseStore]:
    if request.param == "memory":
        yield in_memory()
        return
    embedder = CharacterEmbedder(DIMENSIONS) if request.param == "weft" else None
    async with weft(app_url, embedder) as opened:
        yield opened
