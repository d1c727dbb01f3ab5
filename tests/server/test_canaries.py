"""P6, secrets stay out: twenty secrets are sent by steps that succeed, fail, are echoed, time out, are cancelled and crash; then they
are in no column of any table, no answer of any door and no line of the log. The scanner finds what is planted."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import random
import string
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import pytest

from graphs import connecting, runs, steering
from graphs.connections import _envelope
from graphs.nodes import http as http_node
from graphs.redaction import Redactor
from server.logs import Line, SecretFilter
from tests.outbound.loopback import Asked, Origin, answer, origin
from tests.server.conftest import House, connected, http
from tests.server.test_forgetting import everything, read_everything

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P6")]
FORMS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "bearer"}, "token"),
    ({"type": "basic", "username": "ann"}, "password"),
    ({"type": "header", "name": "X-Api-Key", "prefix": "v1 "}, "value"),
    ({"type": "query", "name": "key"}, "value"),
)
NUMBER = 20


def canaries() -> list[str]:
    """Awkward on purpose: quotes, spaces, percent signs, letters beyond ASCII where HTTP takes them."""
    chance = random.Random(20261121)
    letters = string.ascii_letters + string.digits
    plain = ["".join(chance.choices(letters, k=24)) for _ in range(NUMBER)]
    return [word[:8] + ('"\\ %/+&=' if number % 2 else "-_.~") + word[8:] for number, word in enumerate(plain)]


def spellings(secret: str) -> set[str]:
    """Told apart from the code under test: what a reader of a leak would recognize."""
    raw = secret.encode()
    whole = {base64.b64encode(b"x" * pad + raw).decode()[4 if pad else 0 : -4] for pad in range(3)}
    return {secret, secret[:12], secret[-12:], quote(secret, safe=""), json.dumps(secret)[1:-1], raw.hex(), *whole}


def sung(texts: dict[str, str], secrets: list[str]) -> dict[str, list[int]]:
    """Place -> which canaries are heard there."""
    songs = [spellings(secret) for secret in secrets]
    found: dict[str, list[int]] = {}
    for place, text in texts.items():
        for number, song in enumerate(songs):
            if any(note in text for note in song):
                found.setdefault(place, []).append(number)
    return found


class Parrot:
    """Says back what it heard, in every way a server may."""

    def __init__(self, secrets: list[str]) -> None:
        self.secrets, self.hold, self.held = secrets, asyncio.Event(), asyncio.Event()

    async def reply(self, asked: Asked, writer: Any) -> None:
        path = urlsplit(asked.target).path
        heard = json.dumps({"headers": asked.headers, "target": asked.target, "query": parse_qs(urlsplit(asked.target).query)})
        credential = asked.headers.get("authorization") or asked.headers.get("x-api-key") or asked.target
        spelled = [heard, credential, credential.encode().hex(), base64.b64encode(credential.encode()).decode(), quote(credential)]
        found = next((secret for secret in self.secrets if secret in heard or quote(secret, safe="") in asked.target), "")
        body = json.dumps({"said": [*spelled, found, {found: [found]}], "nested": json.dumps(spelled)}).encode()
        if path.startswith("/token"):
            body = json.dumps({"access_token": self.secrets[-1], "expires_in": 3600, "echo": asked.body.decode()}).encode()
        if path.startswith("/slow") or (path.startswith("/hold") and not self.hold.is_set()):
            self.held.set()
            await asyncio.Event().wait()
        status = 400 if path.startswith(("/refused", "/cut")) else 500 if path.startswith("/broken") else 200
        if path.startswith("/cut"):
            body = ("x" * 270 + " " + found + credential).encode()
        shown = {"x_echo": quote(credential), "content_type": "application/json" if status == 200 else "text/plain"}
        writer.write(answer(status, body, **shown))


async def connections(house: House, api: Origin, secrets: list[str]) -> None:
    actor = house.actor()
    for number, secret in enumerate(secrets[:-2]):
        auth, field = FORMS[number % len(FORMS)]
        settings = {"base_url": api.url, "auth": auth, "health_path": "echo"}
        await connecting.create(house.runtime, actor, name=f"c{number}", kind="http", settings=settings)
        await connecting.set_secret(house.runtime, actor, f"c{number}", field, secret)
    auth = {"type": "oauth2", "grant": "client_credentials", "token_url": f"{api.url}/token", "client_id": "weft", "client_auth": "post"}
    await connecting.create(house.runtime, actor, name="oauth", kind="http", settings={"base_url": api.url, "auth": auth})
    await connecting.set_secret(house.runtime, actor, "oauth", "client_secret", secrets[-2])


def call(id: str, connection: str, url: str, **more: Any) -> dict[str, Any]:
    config = {"url": url, "connection": connection, **more.pop("config", {})}
    return {"id": id, "type": "http", "config": config, "retry": {"max_attempts": 1}, **more}


def workflow(name: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    edges = [{"from": one["id"], "to": other["id"]} for one, other in pairwise(nodes)]
    return {"name": name, "nodes": list(nodes), "edges": edges, **more}


def workflows(name: str) -> list[dict[str, Any]]:
    """What is done with each connection, by how it ends."""
    caught = {"id": "safe", "type": "try", "config": {"body": {"nodes": [call("bad", name, "/refused")]}, "catch": {"nodes": [
        {"id": "note", "type": "set", "config": {"values": {"why": "{{ error.message }}"}}}]}}}  # fmt: skip
    copy = {"id": "copy", "type": "set", "config": {"values": {"all": "{{ nodes.ask.body }}", "head": "{{ nodes.ask.headers }}"}}}
    keep = {"id": "keep", "type": "remember", "config": {"text": "It said {{ nodes.ask.body.said[0] }}", "scope": "organization"}}
    person = {"id": "person", "type": "approval", "config": {"title": "Is this right? {{ nodes.ask.body.said[1] }}"}}
    tell = {"id": "tell", "type": "emit_event", "config": {"event": "heard", "payload": "{{ nodes.ask.body }}"}}
    return [
        workflow(f"{name}-echo", call("ask", name, "/echo"), copy, keep, tell, output={"all": "{{ nodes.copy.all }}"}),
        workflow(f"{name}-refused", caught, call("last", name, "/cut")),
        workflow(f"{name}-broken", call("ask", name, "/broken", retry={"max_attempts": 2, "initial": "10ms"})),
        workflow(f"{name}-slow", call("ask", name, "/slow", config={"timeout": "200ms"})),
        workflow(f"{name}-post", call("ask", name, "/broken", config={"method": "POST", "json": {"x": 1}})),
        workflow(f"{name}-person", call("ask", name, "/echo"), person),
        workflow(f"{name}-origin", call("ask", name, "https://elsewhere.example/echo")),
    ]


@asynccontextmanager
async def sung_to(house: House) -> AsyncGenerator[tuple[Parrot, list[str], list[str]]]:
    """Every canary sent in every way; the runs that did."""
    secrets = canaries()
    parrot = Parrot(secrets)
    started: list[str] = []
    async with origin(parrot.reply) as api:
        await connections(house, api, secrets)
        for name in [*(f"c{number}" for number in range(NUMBER - 2)), "oauth"]:
            some = workflows(name) if name in ("c0", "c1", "c2", "c3", "oauth") else workflows(name)[:1]
            for definition in some:
                await house.publish(definition)
                run = await house.run(definition["name"])
                started.append(run.id)
                good = definition["name"].endswith(("-echo", "-person"))
                assert (run.state in ("succeeded", "waiting")) == good, (definition["name"], run.error)
            await connecting.test(house.runtime, house.actor(), name)
        yield parrot, secrets, started


async def cancelled(house: House, parrot: Parrot) -> str:
    await house.publish(workflow("held", call("ask", "c0", "/hold")))
    run = await runs.start(house.runtime, house.actor(), workflow="held", input={})
    async with asyncio.timeout(20):
        await parrot.held.wait()
    await steering.control(house.runtime, house.actor(), run.id, "cancel")
    ended = await runs.wait(house.runtime, house.actor(), run.id, seconds=20)
    assert ended.state == "cancelled"
    return run.id


async def crashed(house: House, monkeypatch: pytest.MonkeyPatch) -> str:
    """An error in Weft itself, with the answer of the server in its words and its traceback."""

    def broken(config: Any, given: Any) -> Any:
        raise RuntimeError(f"cannot read {given.body!r} of {given.headers!r}")

    await house.publish(workflow("crashes", call("ask", "c1", "/echo")))
    with monkeypatch.context() as patched:
        patched.setattr(http_node, "_body", broken)
        ended = await house.run("crashes")
    assert ended.error["code"] == "internal"
    return ended.id


@pytest.fixture
def log() -> Generator[io.StringIO]:
    """The log as the house writes it, at its most talkative."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(Line(SecretFilter(())))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture
async def admin(admin_url: str) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as connection:
        yield connection


async def doors(house: House, url: str, started: list[str]) -> dict[str, str]:
    """What the doors answer about connections, and about the runs that used them."""
    found = await read_everything(house, url, started, [])
    async with http(url, house.keys["owner"]) as rest:
        for path in ("connections", "connection-kinds", "openapi.json", "circuits", "workflows", *(f"connections/c{n}" for n in range(5))):
            found[path] = (await rest.get(f"/api/v1/{path}")).text
        page = (await rest.post("/api/v1/connections/c0/link", json={})).json()["url"]
        found["page"] = (await rest.get(page)).text
    async with connected(url, house.keys["owner"]) as client:
        found["tools"] = (await client.list_tools()).model_dump_json()
        found["run tool"] = (await client.call_tool("run_c0_echo", {})).model_dump_json()
        found["test tool"] = (await client.call_tool("test_workflow", {"workflow": "c1-echo"})).model_dump_json()
    return found


@pytest.mark.timeout(300)
async def test_twenty_secrets_are_nowhere(
    house: House, url: str, admin: psycopg.AsyncConnection[Any], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sung_to(house) as (parrot, secrets, started):
        started.append(await cancelled(house, parrot))
        started.append(await crashed(house, monkeypatch))
        states = [(await runs.get(house.runtime, house.actor(), run)).state for run in started]
        assert {"succeeded", "failed", "cancelled", "waiting"} <= set(states)
        answers = await doors(house, url, started[:7] + started[-9:])  # of the others the runs are read, and not each step by itself
    tables = await everything(admin)
    assert tables["secrets.sealed"]
    assert "cannot read" in log.getvalue()  # the crash is there, without what it was about
    hits = {**sung(tables, secrets), **sung(answers, secrets), **sung({"log": log.getvalue()}, secrets)}
    print(f"\n{NUMBER} secrets, {len(started)} runs, {len(tables)} columns, {len(answers)} answers: {len(hits)} hits")
    assert hits == {}


PLANTS = ("nothing is blotted out", "the log is not cleaned", "secrets are not sealed", "only plain values are blotted out")


def sow(monkeypatch: pytest.MonkeyPatch, plant: str) -> None:
    def as_it_is(redactor: Redactor, text: str) -> str:
        return text

    def unsealed(key: bytes, value: bytes, place: bytes) -> bytes:
        return value

    def plain(value: str) -> set[str]:
        return {value}

    if plant == PLANTS[0]:
        monkeypatch.setattr(Redactor, "text", as_it_is)
    elif plant == PLANTS[1]:
        monkeypatch.setattr("server.logs.without_secrets", str)
    elif plant == PLANTS[2]:
        monkeypatch.setattr(_envelope, "_encrypt", unsealed)
        monkeypatch.setattr(_envelope, "_decrypt", unsealed)
    else:
        monkeypatch.setattr("graphs.redaction.forms", plain)


@pytest.mark.parametrize("plant", PLANTS)
async def test_the_scanner_finds_what_is_planted(
    house: House, admin: psycopg.AsyncConnection[Any], log: io.StringIO, monkeypatch: pytest.MonkeyPatch, plant: str
) -> None:
    secrets = canaries()
    parrot = Parrot(secrets)
    sow(monkeypatch, plant)
    async with origin(parrot.reply) as api:
        await connections(house, api, secrets)
        await house.publish(workflows("c0")[0])
        assert (await house.run("c0-echo")).state == "succeeded"
        await crashed(house, monkeypatch)
    places = {place.partition(".")[0] for place in sung({**await everything(admin), "log": log.getvalue()}, secrets)}
    expected = {PLANTS[0]: "node_runs", PLANTS[1]: "log", PLANTS[2]: "secrets", PLANTS[3]: "node_runs"}[plant]
    assert expected in places
