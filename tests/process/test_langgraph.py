"""Agents of LangGraph with Weft's memory, opened with an API key as their programs do it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import uuid4

import psycopg
import pytest
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

from server.langgraph import open_store, open_sync_store
from server.settings import Settings, load
from store import identities
from store.errors import Denied, Unauthenticated
from tests.docs.pages import page
from tests.process.conftest import ROOT, SECONDS, Installation, Kept, surroundings

pytestmark = pytest.mark.anyio
TOLD = ["My parrot is called Bertrand.", "I live in Porto.", "I play the tuba."]


class State(TypedDict, total=False):
    said: str
    known: list[str]


async def listen(state: State, runtime: Runtime[None]) -> State:
    """Looks for what it knows about this, and keeps it."""
    store = runtime.store
    assert store is not None
    said = state.get("said", "")
    found = await store.asearch(("users", "ann"), query=said, limit=1)
    await store.aput(("users", "ann"), said, {"text": said})
    return {"known": [item.value["text"] for item in found]}


def listen_in_step(state: State, *, store: BaseStore) -> State:
    said = state.get("said", "")
    found = store.search(("users", "ann"), query=said, limit=1)
    store.put(("users", "ann"), said, {"text": said})
    return {"known": [item.value["text"] for item in found]}


def compiled(node: Any, store: BaseStore) -> Any:
    graph: Any = StateGraph(State)
    return graph.add_node("listen", node).add_edge(START, "listen").compile(store=store)


@pytest.fixture
def settings(installation: Installation) -> Settings:
    return load(data_dir=installation.data_dir, embedder="builtin")


@pytest.fixture
def scope() -> str:
    return f"agent:{uuid4().hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    id: str
    text: str


def key_for(installation: Installation, role: str) -> Key:
    """An API key of a new user of this role."""
    made = installation.weft("key", "create", "agent", "--user", uuid4().hex, "--role", role)
    assert made.code == 0, made.err
    text = made.out.strip()
    return Key(id=text.split("_")[2], text=text)


async def test_a_compiled_graph_remembers_from_run_to_run(settings: Settings, installation: Installation, scope: str) -> None:
    key = key_for(installation, "builder").text
    async with open_store(api_key=key, scope=scope, settings=settings) as store:
        graph = compiled(listen, store)
        assert (await graph.ainvoke({"said": TOLD[0]}))["known"] == []
        for told in TOLD[1:]:
            await graph.ainvoke({"said": told})
    async with open_store(api_key=key, scope=scope, settings=settings) as store:  # another day
        graph = compiled(listen, store)
        assert (await graph.ainvoke({"said": "What is my parrot called?"}))["known"] == [TOLD[0]]
        assert (await graph.ainvoke({"said": "Do I play an instrument?"}))["known"] == [TOLD[2]]


async def test_synchronous_graphs_have_a_store_in_a_thread_of_its_own(settings: Settings, installation: Installation, scope: str) -> None:
    key = key_for(installation, "builder").text
    with open_sync_store(api_key=key, scope=scope, settings=settings, source="graph") as store:
        graph = compiled(listen_in_step, store)
        for told in TOLD:
            graph.invoke({"said": told})
        assert graph.invoke({"said": "Where do I live, Porto?"})["known"] == [TOLD[1]]
        assert (await graph.ainvoke({"said": "A parrot?"}))["known"] == [TOLD[0]]  # its loop is not the store's
        assert len(await store.asearch(("users",))) == 5


async def test_a_key_that_opens_nothing_opens_no_store(
    settings: Settings, installation: Installation, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in ("", "weft_live_0123456789ab_nonsense"):
        with pytest.raises(Unauthenticated, match="no valid API key"):
            async with open_store(api_key=wrong, settings=settings):
                pass
    monkeypatch.setattr(identities, "CACHE_SECONDS", 0.0)
    key = key_for(installation, "builder")
    async with open_store(api_key=key.text, settings=settings) as store:
        await store.aput(("n",), "k", {"v": 1})
        assert installation.weft("key", "revoke", key.id).code == 0
        with pytest.raises(Unauthenticated):
            await store.aget(("n",), "k")
        with pytest.raises(Unauthenticated):
            await store.aput(("n",), "k", {"v": 2})


async def test_the_role_of_the_key_decides(settings: Settings, installation: Installation, scope: str) -> None:
    builder, operator, viewer = [key_for(installation, role).text for role in ("builder", "operator", "viewer")]
    async with open_store(api_key=builder, scope=scope, settings=settings) as store:
        await store.aput(("n",), "k", {"v": 1})
    async with open_store(api_key=operator, scope=scope, settings=settings) as store:
        assert (await store.aget(("n",), "k")) is not None
        with pytest.raises(Denied, match="takes the role builder, and you are operator"):
            await store.aput(("n",), "k", {"v": 2})
    async with open_store(api_key=viewer, scope=scope, settings=settings) as store:
        assert (await store.aget(("n",), "k")) is not None
        with pytest.raises(Denied, match=r"memory:write.*operator or builder or owner"):
            await store.adelete(("n",), "k")
    async with open_store(api_key=viewer, settings=settings) as store:
        assert await store.aget(("n",), "k") is None
        with pytest.raises(Denied, match="memory:write"):
            await store.aput(("n",), "k", {"v": 2})


WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from server.langgraph import open_sync_store

key, scope, name = sys.argv[1:]
with open_sync_store(api_key=key, scope=scope) as store, ThreadPoolExecutor(4) as threads:
    def work(number):
        store.put(("shared",), f"k{number % 5}", {"by": name, "number": number, "text": f"{name} wrote {number}. " * 40})
        store.put(("own", name), f"k{number}", {"text": f"{name} {number}"})
        if number % 10 == 9:
            store.delete(("shared",), f"k{number % 5}")
            store.put(("shared",), f"k{number % 5}", {"by": name, "number": number})
    print("ready", flush=True)
    sys.stdin.readline()
    list(threads.map(work, range(60)))
"""


def test_two_processes_that_put_the_same_keys_neither_lose_nor_double_one(
    settings: Settings, installation: Installation, scope: str, kept: Kept
) -> None:
    key = key_for(installation, "builder").text
    command = [sys.executable, "-c", WRITER, key, scope]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, name], cwd=ROOT, env=surroundings(installation.data_dir), **pipes) for name in ("ann", "bob")]
    try:
        for writer in writers:
            assert writer.stdout is not None
            ready = writer.stdout.readline()
            assert ready == "ready\n", writer.communicate(timeout=SECONDS)
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            _, errors = writer.communicate(timeout=SECONDS)
            assert (writer.returncode, errors) == (0, "")
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate(timeout=SECONDS)
    with open_sync_store(api_key=key, scope=scope, settings=settings) as store:
        shared = store.search(("shared",), limit=100)
        own = store.search(("own",), limit=1_000)
    assert sorted(item.key for item in shared) == [f"k{number}" for number in range(5)]
    assert len({(item.namespace, item.key) for item in own}) == len(own) == 120
    with psycopg.connect(kept.postgres.admin_url) as connection:
        rows: Any = connection.execute(
            """SELECT count(*) FILTER (WHERE m.kind = 'document'),
                 count(*) FILTER (WHERE m.kind = 'chunk'
                   AND NOT EXISTS (SELECT FROM weft.memory_entries e WHERE e.memory_id::text = m.series))
               FROM weft.memories m JOIN weft.memory_scopes s ON s.id = m.scope_id WHERE s.kind = 'agent' AND s.name = %s""",
            (scope.partition(":")[2],),
        ).fetchone()
    assert rows == (125, 0)


def test_the_examples_of_the_page_run_as_they_are(installation: Installation) -> None:
    key = key_for(installation, "builder").text
    programs = page("docs/memory.md").blocks("python")
    assert len(programs) == 2
    for program, printed in zip(programs, ("['Ann: My parrot is called Bertrand.']\n", "My parrot is called Bertrand.\n"), strict=True):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, env=surroundings(installation.data_dir, AGENT_KEY=key), check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, printed), done.stderr
    assert "My parrot is called Bertrand." in installation.weft("memory", "list", "--kind", "document").out
