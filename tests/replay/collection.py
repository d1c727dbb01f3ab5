"""A hundred runs of all kinds, recorded: every example of the repository with services and a model on loopback, and random definitions."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from graphs import authoring, runs, signals, tasks
from graphs.definition import Json, Schema
from graphs.documents import parse
from graphs.runtime import Actor, Runtime
from store.errors import Conflict
from store.runs import Run
from tests.engine.generated import graph, vectors
from tests.models.loopback import ModelServer, Turn
from tests.outbound.loopback import Asked, Origin, answer, origin

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVICES: tuple[str, ...] = ("SHOP_URL", "PAY_URL", "BILLING_URL")
TICKETS = (("refund", 20.0), ("refund", 80.0), ("question", 0.0), ("other", 0.0))
SECONDS = 60.0


@asynccontextmanager
async def services() -> AsyncGenerator[Origin]:
    """A shop that refuses what an order's name says is to be refused, and is too busy for every seventh request that may be repeated."""
    here: list[Origin] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        order = str(json.loads(asked.body or b"{}").get("order", "")) if asked.method == "POST" else ""
        busy = len(here[0].asked) % 7 == 0 and asked.target.startswith(("/orders", "/carrier", "/parcels", "/invoices"))
        status = 409 if order.endswith(asked.target) else 503 if busy else 200
        body: Json = [{"id": "A"}, {"id": "B"}, {"id": "C"}] if asked.target.startswith("/orders") else {"id": "X-1", "name": "bike"}
        writer.write(answer(status, json.dumps(body).encode(), content_type="application/json", retry_after=0))

    async with origin(reply) as opened:
        here.append(opened)
        yield opened


async def publish(runtime: Runtime, actor: Actor) -> None:
    """What runs of examples start as children."""
    child, _ = await authoring.create(runtime, actor, example("send-invoice"))
    assert child is not None
    await authoring.publish(runtime, actor, child.name)


def example(name: str) -> Any:
    return parse((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))


def plays(rng: random.Random, model: ModelServer) -> list[tuple[Any, Any]]:
    """Definitions with inputs: the examples, each with its ways of going."""
    found: list[tuple[Any, Any]] = []
    for kind, amount in TICKETS:
        model.turns.append(Turn(text=json.dumps({"kind": kind, "amount": amount})))
        found.append((example("refund-triage"), {"ticket": f"{kind}: my lamp is broken", "customer": "c-17"}))
    found += [(example("order-fanout"), {"day": f"2026-11-{20 + n}"}) for n in range(3)]
    found += [(example("reminder"), {"text": f"Renew {n}", "due": "2020-01-01T00:00:00Z", "grace": "10ms"}) for n in range(4)]
    found += [(example("payment"), {"order_id": f"A-{n}", "amount": amount}) for n, amount in enumerate((5.0, 10.0, 50.0))]
    customers = [{"name": name, "items": [{"text": "gift", "price": price}]} for name, price in (("Ada", 0), ("Bob", 2), ("Cem", 3))]
    found += [(example("monthly-invoices"), {"month": "2026-11", "customers": customers[:n]}) for n in (1, 3)]
    found += [(example("order-saga"), {"order": f"{n}{broken}", "amount": 8.5}) for n, broken in enumerate(("", "/charges", "/parcels"))]
    found += [(example("draft-review"), {"topic": topic}) for topic in ("opening hours", "returns")]
    return found


def others(seeds: Any, count: int, rng: random.Random) -> list[tuple[Any, Any]]:
    """Random definitions, each with one of its inputs."""
    made = (graph(next(seeds)) for _ in range(count))
    return [(definition, rng.choice([*vectors(flags)])) for definition, flags in made]


async def record(runtime: Runtime, actor: Actor, model: ModelServer, *, seed: int, count: int = 100) -> list[Run]:
    """Makes the runs, some at a time, and answers what they ask; all of them are over."""
    rng = random.Random(seed)
    await publish(runtime, actor)
    first = plays(rng, model)
    done = [await through(runtime, actor, definition, given, rng) for definition, given in first]  # in order: so does the model answer
    limit = asyncio.Semaphore(8)

    async def one(definition: Any, given: Any) -> Run:
        async with limit:
            return await through(runtime, actor, definition, given, rng)

    rest = others(itertools.count(seed), count - len(done), rng)
    return [*done, *await asyncio.gather(*(one(*play) for play in rest))]


async def through(runtime: Runtime, actor: Actor, definition: Any, given: Any, rng: random.Random) -> Run:
    started = await runs.start_definition(
        runtime, actor, definition=definition, input=given, mode="production", mocks=None, name=definition["name"]
    )
    async with asyncio.timeout(SECONDS):
        while True:
            run = await runs.wait(runtime, actor, started.id, seconds=2)
            if run.state in runs.FINISHED:
                return run
            for task in (await tasks.page(runtime, actor, run_id=run.id)).items:
                with suppress(Conflict):  # withdrawn meanwhile: a sibling has failed or won
                    await tasks.answer(runtime, actor, task.id, filled(task.form, rng))
            for wait in run.waiting_for:
                if wait["kind"] == "event":
                    payload = {"amount": 10.0}
                    await signals.send(runtime, actor, name=wait["event_name"], correlation=wait.get("correlation"), payload=payload)


def filled(form: Schema, rng: random.Random) -> dict[str, Any]:
    """An answer to a question, any that fits."""
    found: dict[str, Any] = {}
    for name in form.get("required", []):
        field: Schema = form["properties"][name]
        found[name] = rng.choice(field["enum"]) if "enum" in field else True if field["type"] == "boolean" else "text"
    return found
