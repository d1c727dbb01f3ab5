"""Replays of recorded runs: how many are equal, how many seeded edits are located at the right step, how many calls they make (none), and
what a replay costs beside the run it replays. Fails unless all of them are.

    python -m benchmarks.replay [--runs 100] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

import migrations.apply
from benchmarks.cpu import Meter
from graphs import replaying
from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.models import Models
from graphs.outbound import Outbound, Policy
from graphs.runtime import Actor, Runtime
from store import identities
from store.embedded import Embedded, embedded
from store.postgres import Database
from store.runs import Run
from tests.models.loopback import ModelServer, model_server
from tests.replay.collection import SERVICES, record, services
from tests.replay.edits import edits

TRIES = 4  # edits of a run until one changes what happens


@asynccontextmanager
async def house(server: Embedded, model: ModelServer, url: str) -> AsyncGenerator[tuple[Runtime, Actor]]:
    async with (
        Database.open(server.app_url) as database,
        Evaluator() as evaluator,
        Outbound(Policy(allow_hosts=("127.0.0.1",))) as outbound,
    ):
        models, variables = Models(model.openai(), outbound), dict.fromkeys(SERVICES, url)
        async with Engine(database, evaluator, outbound, models, variables=variables) as engine, engine.serving():
            tenant = database.tenant((await identities.create_organization(database, slug="bench", name="Bench")).id)
            owner = await identities.create_user(tenant, name="bench", role="owner")
            actor = Actor(tenant=tenant, user_id=owner.id, user_name="bench", role="owner", via="cli")
            runtime = Runtime(database=database, evaluator=evaluator, outbound=outbound, models=models, variables=variables, engine=engine)
            yield runtime, actor


async def located(runtime: Runtime, actor: Actor, run: Run, seed: int) -> bool | None:
    """Whether the first edit that changes what happens is found where it was made; None where none of some changes anything."""
    recording = await replaying.recording_of(runtime, actor, run.id)
    for number, edit in enumerate(edits(recording, random.Random(seed))):
        again = await replaying.replay(runtime, actor, run.id, edit.definition)
        if again.divergence:
            return again.divergence.node == edit.node
        if number == TRIES:
            return None
    return None


async def main(count: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as folder, model_server() as model:
        async with embedded(Path(folder) / "pg", Path(folder) / "keys" / "postgres.json") as server, services() as shop:
            await migrations.apply.apply(server.admin_url, app_password=server.app_password)
            async with house(server, model, shop.url) as (runtime, actor):
                with psycopg.connect(server.admin_url) as admin:
                    (data,) = admin.execute("SHOW data_directory").fetchone() or ("",)
                postmaster = int((Path(data) / "postmaster.pid").read_text().split()[0])
                with Meter(postmaster) as original:
                    runs = await record(runtime, actor, model, seed=seed, count=count)
                calls = len(shop.asked) + len(model.asked)
                with Meter(postmaster) as replayed:
                    again = [await replaying.replay(runtime, actor, run.id) for run in runs]
                equal = sum(one.equal and one.digest == one.recorded for one in again)
                found = [told for run in runs if (told := await located(runtime, actor, run, seed)) is not None]
                made = len(shop.asked) + len(model.asked) - calls
    costs = [(meter.ours + meter.postgres) / count * 1000 for meter in (original, replayed)]
    print(f"{len(runs)} recorded runs of all kinds: {equal} replay with equal digests; {made} calls made by replays")
    print(f"{len(found)} seeded edits that change what happens: {sum(found)} located at the right step")
    print(f"CPU per run, ours + Postgres: recorded {costs[0]:.1f} ms, replayed and compared {costs[1]:.1f} ms ({costs[1] / costs[0]:.2f}×)")
    return 0 if equal == len(runs) and all(found) and made == 0 else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    raise SystemExit(asyncio.run(main(given.runs, given.seed)))
