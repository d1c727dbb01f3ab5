"""Forgetting reaches everywhere: canaries are put into memories of all kinds and into all that runs leave behind, and then looked for."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg import sql

from graphs import runs
from store.columns import INLINE
from tests.server.conftest import House, connected, http, text_of, told

pytestmark = pytest.mark.anyio
PATH = "/api/v1/memories"
SOURCE = "https://canary.example/book"
SUBJECT = "Quorvine Marsh"
WORD = "Halvemoon"
WAYS = ("subject", "source", "query", "ids")
EACH = 25
CUT = "return {'words': [one for one in text.split(' ')], 'tail': text[-60:]}"

CHILD: dict[str, Any] = {
    "name": "echo",
    "input": {"type": "object", "properties": {"text": {"type": "string"}}},
    "nodes": [{"id": "say", "type": "set", "config": {"values": {"said": "{{ input.text }}"}}}],
    "output": {"said": "{{ nodes.say.said }}"},
}


def step(id: str, type: str, /, **config: Any) -> dict[str, Any]:
    return {"id": id, "type": type, "config": config}


SPREAD: dict[str, Any] = {
    "name": "spread",
    "input": {"type": "object", "properties": {name: {} for name in ("note", "question", "large", "source", "key")}},
    "vars": {"kept": ""},
    "nodes": [
        step("keep", "remember", text="{{ input.note }}", speaker="Ann", origin="user", source="{{ input.source }}", scope="organization"),
        step("find", "recall", query="{{ input.question }}", k=60, scope="organization"),
        step("read", "retrieve", query="{{ input.question }}", k=60, scope="organization"),
        step("copy", "set", values={"kept": "{{ nodes.find.text }}", "first": "{{ nodes.find.memories[0].quote }}"}),
        step("cut", "script", code=CUT, values={"text": "{{ nodes.find.text }}"}),
        step("ask", "llm", prompt="What of {{ input.note }}?\n{{ nodes.read.text }}", model="scripted"),
        step("call", "subflow", workflow="echo", input={"text": "{{ nodes.find.text }}"}),
        step("large", "set", values={"large": "{{ input.large }}"}),
        step("tell", "emit_event", event="told", correlation="{{ input.note }}", payload={"text": "{{ nodes.find.text }}"}),
        step(
            "form", "input", title="Is {{ input.note }} so?", description="{{ nodes.find.text }}",
            form={"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]},
        ),
        step("hear", "wait_event", event="go", correlation="{{ input.key }}"),
        step("last", "set", values={"why": "{{ nodes.form.answer.why }}", "heard": "{{ nodes.hear.payload }}"}),
    ],
    "edges": [
        {"from": one, "to": other}
        for one, other in zip(
            ("keep", "find", "read", "copy", "cut", "ask", "call", "large", "tell", "form", "hear"),
            ("find", "read", "copy", "cut", "ask", "call", "large", "tell", "form", "hear", "last"),
            strict=True,
        )
    ],
    "output": {"why": "{{ nodes.last.why }}", "all": "{{ nodes.find.memories }}", "answer": "{{ nodes.ask.text }}"},
}  # fmt: skip


def canaries(seed: int, number: int) -> list[str]:
    """Words that nobody has ever written: plain ones, names, codes, and some with letters beyond ASCII."""
    chance = random.Random(seed)
    made: list[str] = []
    for at in range(number):
        word = "".join(chance.choice("bdfgklmnprtvz") + chance.choice("aeiou") for _ in range(6)) + chance.choice("kqxz")
        made.append((word, word.capitalize(), f"ZK-{chance.randrange(10**6):06}-{word[:4]}", f"ż{word}ü")[at % 4])
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of choosing, and the canaries that it is to reach."""

    name: str
    tokens: list[str]

    def says(self, token: str) -> str:
        about = {"subject": f"The locker of {SUBJECT} opens with", "query": f"At {WORD} the word is"}.get(
            self.name, "The secret of the well is"
        )
        return f"{about} {token}."

    @property
    def source(self) -> str | None:
        return f"{SOURCE}/page" if self.name == "source" else None

    def choice(self, ids: Sequence[str]) -> dict[str, Any]:
        return {"subject": {"subject": SUBJECT}, "source": {"source": SOURCE}, "query": {"query": WORD}}.get(self.name, {"ids": list(ids)})


def items(way: Way, tokens: Sequence[str]) -> list[dict[str, Any]]:
    """What is remembered of a way's canaries, in every kind there is."""
    who = SUBJECT if way.name == "subject" else "Bob"
    mark = f" {WORD}" if way.name == "query" else ""
    say = way.says
    made: list[dict[str, Any]] = [{"text": say(token)} for token in (*tokens[:6], *tokens[21:])]

    def add(kind: str, first: int, last: int, item: Callable[[str], dict[str, Any]]) -> None:
        made.extend({"kind": kind, "item": item(token)} for token in tokens[first:last])

    add("fact", 6, 9, lambda token: {"subject": who, "predicate": f"likes{mark}", "object": token})
    add("entity", 9, 11, lambda token: {"name": f"{token} club", "aliases": [f"the {token}"], "attributes": {"of": f"{who}{mark}"}})
    add("episode", 11, 13, lambda token: {"actor": who, "action": "bought", "object": token, "context": f"in May{mark}"})
    add("rule", 13, 14, lambda token: {"name": f"{token}{mark} {who}", "conditions": ["x == 1"], "actions": [say(token)]})
    add("graph", 14, 16, lambda token: {"edges": [{"from": f"{who}{mark} {token}", "to": "Oslo", "type": "near"}]})
    add("document", 16, 18, lambda token: {"title": f"On {token}{mark}", "text": f"{say(token)} It is said by {who}{mark}. " * 40})
    add("conversation", 18, 19, lambda token: {"messages": [{"text": say(token), "data": {"x": token}}]})
    add("vector", 19, 20, lambda token: {"collection": "sounds", "vector": [1.0, 0.5], "text": say(token), "data": {"x": token}})
    return made


@pytest.fixture
async def admin(admin_url: str) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as connection:
        yield connection


async def everything(admin: psycopg.AsyncConnection[Any]) -> dict[str, str]:
    """Every column of every table as one text each, as the house reads it: JSON and checkpoints decoded, from behind row security."""
    columns = await (
        await admin.execute(
            "SELECT table_name, column_name, udt_name FROM information_schema.columns "
            "WHERE table_schema = 'weft' AND table_name <> 'migrations'"
        )
    ).fetchall()
    found: dict[str, str] = {}
    for table, column, kind in columns:
        query = sql.SQL("SELECT {} FROM weft.{}").format(
            sql.Identifier(column) if kind == "bytea" else sql.SQL("{}::text").format(sql.Identifier(column)), sql.Identifier(table)
        )
        values = [row[0] for row in await (await admin.execute(query)).fetchall() if row[0] is not None]
        found[f"{table}.{column}"] = "\n".join(shown(value, kind) for value in values)
    return found


def shown(value: Any, kind: str) -> str:
    if isinstance(value, bytes):
        decoded = [value.decode("latin-1"), value.decode("utf-8", "replace"), base64.b64encode(value).decode()]
        for packed in ("msgpack", "json"):
            try:
                decoded.append(str(JsonPlusSerializer().loads_typed((packed, value))))
            except Exception:  # noqa: BLE001 it is of the other kind, or no checkpoint
                continue
        return "\n".join(decoded)
    return f"{value}\n{json.dumps(json.loads(value), ensure_ascii=False)}" if kind in ("json", "jsonb") else value


def holding(texts: dict[str, str], tokens: Sequence[str]) -> dict[str, list[str]]:
    """Where a canary still sings, whatever its case and however it is escaped."""
    found: dict[str, list[str]] = {}
    for place, text in texts.items():
        low = text.lower()
        if heard := [token for token in tokens if token.lower() in low or json.dumps(token.lower())[1:-1] in low]:
            found[place] = heard
    return found


async def fill(house: House, url: str, way: Way) -> tuple[list[str], list[str]]:
    """Remembers the canaries of a way at both doors and has runs spread them: ids of memories, and of runs."""
    ids: list[str] = []
    async with connected(url, house.keys["owner"]) as client, http(url, house.keys["owner"]) as rest:
        for number, one in enumerate(items(way, way.tokens)):
            said = {**one, "scope": "organization", "origin": "user", **({"source": way.source} if way.source else {})}
            if number % 2:
                kept = told(await client.call_tool("remember", said))
            else:
                answer = await rest.post(PATH, json=said)
                assert answer.status_code == 200, answer.text
                kept = answer.json()
            ids += [*kept["created"], *kept.get("concluded", ())]
        summary = {"kind": "summary", "item": {"text": way.says(way.tokens[20]), "of": ids[:2]}, "scope": "organization"}
        made = (await rest.post(PATH, json={**summary, **({"source": way.source} if way.source else {})})).json()
        ids += made["created"]
        started: list[str] = []
        for number, until in enumerate(("done", "form", "hear")):
            note = way.says(way.tokens[21 + number])
            given = {
                "note": note, "question": f"What is the word, the locker, the secret? {way.tokens[20]}", "key": f"{way.name}{number}",
                "large": f"{note} " * (INLINE // len(note) + 10), "source": way.source or "chat",
            }  # fmt: skip
            run = told(await client.call_tool("start_run", {"workflow": "spread", "input": given, "idempotency_key": f"{note}"}))
            started.append(run["run_id"])
            await until_waiting(house, run["run_id"], "task")
            if until != "form":
                task = (await rest.get(f"/api/v1/tasks?run_id={run['run_id']}")).json()["tasks"][0]
                answered = await rest.post(
                    f"/api/v1/tasks/{task['task_id']}/answer", json={"answer": {"why": f"Since {way.tokens[24]}, {note}"}, "comment": note}
                )
                assert answered.status_code == 200, answered.text
                await until_waiting(house, run["run_id"], "event")
            if until == "done":
                sent = {"name": "go", "correlation": f"{way.name}{number}", "payload": {"heard": note, way.tokens[24]: [way.tokens[24]]}}
                assert (await rest.post("/api/v1/events", json=sent)).status_code < 300
                finished = await runs.wait(house.runtime, house.actor(), run["run_id"], seconds=30)
                assert finished.state == "succeeded", finished.error
    return ids, started


async def until_waiting(house: House, run_id: str, kind: str) -> None:
    async with asyncio.timeout(60):
        while True:
            run = await runs.get(house.runtime, house.actor(), run_id)
            assert run.state not in ("failed", "cancelled", "succeeded"), run.error
            if run.state == "waiting" and any(one["kind"] == kind for one in run.waiting_for):
                return
            await asyncio.sleep(0)


async def read_everything(house: House, url: str, started: Sequence[str], tokens: Sequence[str]) -> dict[str, str]:
    """What every reading path of every door answers."""
    found: dict[str, str] = {}
    async with connected(url, house.keys["owner"]) as client, http(url, house.keys["owner"]) as rest:
        for path in (
            f"{PATH}?limit=200", f"{PATH}/export", "/api/v1/runs?limit=100", "/api/v1/tasks?state=open", "/api/v1/tasks?state=answered",
        ):  # fmt: skip
            found[f"GET {path}"] = (await rest.get(path)).text
        for number, token in enumerate(tokens):
            if number % 5 == 0:
                asked = (await rest.post(f"{PATH}/recall", json={"query": token, "k": 50})).json()
                found[f"recall {number}"] = json.dumps(asked, ensure_ascii=False)
                found[f"mcp recall {number}"] = text_of(await client.call_tool("recall", {"query": token}))
        every = [one["run_id"] for one in (await rest.get("/api/v1/runs?limit=100")).json()["runs"]]
        assert set(started) <= set(every)
        for run_id in every:
            for part in ("", "/trace?limit=200", "/events?limit=500", "/state", "/effects"):
                answer = await rest.get(f"/api/v1/runs/{run_id}{part}")
                assert answer.status_code == 200, (part, answer.text)
                found[f"{run_id}{part}"] = answer.text
            for one in (await rest.get(f"/api/v1/runs/{run_id}/trace?limit=200")).json()["steps"] if run_id in started else ():
                answer = await rest.get(f"/api/v1/runs/{run_id}/nodes/{one['position']}")
                assert answer.status_code == 200, answer.text
                found[f"{run_id} {one['position']}"] = answer.text
            found[f"mcp {run_id}"] = text_of(await client.call_tool("get_run", {"run_id": run_id, "include": "trace"}))
        for tool in ("list_runs", "list_tasks"):
            found[tool] = text_of(await client.call_tool(tool, {}))
        found["resource"] = (await client.read_resource("weft://memory/kinds/all")).model_dump_json()
    return found


@pytest.fixture
def ways() -> list[Way]:
    tokens = canaries(20261121, EACH * len(WAYS))
    return [Way(name=name, tokens=tokens[at * EACH : (at + 1) * EACH]) for at, name in enumerate(WAYS)]


async def test_a_hundred_canaries_spread_through_memories_and_runs_are_nowhere_after_forgetting(
    house: House, url: str, admin: psycopg.AsyncConnection[Any], ways: list[Way]
) -> None:
    await house.publish(CHILD)
    await house.publish(SPREAD)
    async with http(url, house.keys["owner"]) as rest:
        await rest.post(PATH, json={"text": "The harbour opens at nine.", "scope": "organization"})
    filled = {way.name: await fill(house, url, way) for way in ways}
    tokens = [token for way in ways for token in way.tokens]
    started = [run_id for _, run_ids in filled.values() for run_id in run_ids]
    before = holding(await everything(admin), tokens)
    assert {token for heard in before.values() for token in heard} == set(tokens)
    for place in (
        "runs.input", "runs.output", "node_runs.output", "events.data", "waits.payload", "tasks.answer", "tasks.title", "payloads.body",
        "received_events.payload", "memories.body", "memory_names.name",
    ):  # fmt: skip
        assert place in before, f"nothing to forget in {place}"
    checkpoints = await (await admin.execute("SELECT count(*) FROM weft.checkpoints")).fetchone()
    assert checkpoints
    assert checkpoints[0]

    async with http(url, house.keys["owner"]) as rest:
        ours = [json.loads(line) for line in (await rest.get(f"{PATH}/export")).text.splitlines()[1:-1]]
    async with connected(url, house.keys["owner"]) as client:
        for way in ways:
            ids, _ = filled[way.name]
            if way.name == "ids":  # also what the runs remembered
                ids = list(
                    dict.fromkeys([*ids, *(one["id"] for one in ours if holding({"it": json.dumps(one, ensure_ascii=False)}, way.tokens))])
                )
            chosen = {"action": "forget", **way.choice(ids)}
            counted = told(await client.call_tool("remember", chosen))
            gone = told(await client.call_tool("remember", {**chosen, "expect": counted["count"]}))
            assert gone["receipt_id"]
            assert gone["redacted"]["node_runs"] > 0
            assert set(filled[way.name][1]) <= set(gone["runs"])
            again = told(await client.call_tool("remember", {**chosen, "expect": counted["count"]}))  # as after an answer that got lost
            assert again["count"] == 0
            left = holding(await everything(admin), way.tokens)
            assert left == {}, way.name
    assert holding(await read_everything(house, url, started, tokens), tokens) == {}
    async with http(url, house.keys["owner"]) as rest:
        assert "The harbour opens at nine." in (await rest.get(f"{PATH}/export")).text
        # what waits goes on, what has ended can be repeated
        for way in ways:
            done, form, hear = filled[way.name][1]
            task = (await rest.get(f"/api/v1/tasks?run_id={form}")).json()["tasks"][0]
            assert (await rest.post(f"/api/v1/tasks/{task['task_id']}/answer", json={"answer": {"why": "so"}})).status_code == 200
            await until_waiting(house, form, "event")
            for key in (1, 2):
                await rest.post("/api/v1/events", json={"name": "go", "correlation": f"{way.name}{key}", "payload": {"now": 1}})
            for run_id in (form, hear):
                ended = await runs.wait(house.runtime, house.actor(), run_id, seconds=30)
                assert ended.state == "succeeded", ended.error
            forked = await rest.post(f"/api/v1/runs/{done}/control", json={"action": "fork", "node": "form"})
            assert forked.status_code == 200, forked.text
    assert holding(await everything(admin), tokens) == {}
