"""A durable 10-step run, every step committed: Weft against LangGraph with its own AsyncPostgresSaver (durability "sync") and against
DBOS, in one run on one Postgres with its ordinary settings. Prints CPU and wall per run and runs per second at 1, 8 and 32 at once, and
the ratios.

    python -m benchmarks.engine [--seconds 3] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psycopg
import uvloop

import migrations.apply
from benchmarks.cpu import Meter
from benchmarks.peers import STEPS, Run, dbos, stock
from graphs import runs
from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.models import Models, ModelSettings
from graphs.outbound import Outbound, Policy
from graphs.runtime import Actor, Runtime
from server import collector
from store import identities, workflows
from store.embedded import embedded
from store.postgres import Database

AT_ONCE = (1, 8, 32)
PEERS = {"stock": "LangGraph + AsyncPostgresSaver, sync", "dbos": "DBOS, async steps"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Per run: CPU milliseconds of our process and of Postgres; and runs per second."""

    client: float
    postgres: float
    per_second: float

    @property
    def cpu(self) -> float:
        return self.client + self.postgres


Figures = dict[tuple[str, str, int], list[Figure]]
"""By peer, who was measured, and how many runs at once."""


@asynccontextmanager
async def weft(url: str) -> AsyncGenerator[Run]:
    """Weft's engine: started by name, driven, journalled, settled and read back."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(url))
        evaluator = await stack.enter_async_context(Evaluator())
        outbound = await stack.enter_async_context(Outbound(Policy()))
        models = Models(ModelSettings(), outbound)
        engine = await stack.enter_async_context(Engine(database, evaluator, outbound, models, variables={}))
        await stack.enter_async_context(engine.serving())
        runtime = Runtime(database=database, evaluator=evaluator, outbound=outbound, models=models, variables={}, engine=engine)
        organization = await identities.create_organization(database, slug="bench", name="Bench")
        tenant = database.tenant(organization.id)
        owner = await identities.create_user(tenant, name="bench", role="owner")
        actor = Actor(tenant=tenant, user_id=owner.id, user_name="bench", role="owner", via="cli")
        nodes = [
            {"id": f"s{n}", "type": "set", "config": {"values": {"n": f"{{{{ nodes.s{n - 1}.n }}}}" if n else "{{ input.n }}"}}}
            for n in range(STEPS)
        ]
        edges = [{"from": f"s{n - 1}", "to": f"s{n}"} for n in range(1, STEPS)]
        definition = {"name": "ten", "nodes": nodes, "edges": edges}
        made = await workflows.create(tenant, name="ten", description="", definition=definition, user_id=owner.id)
        await workflows.publish(tenant, made.id, user_id=owner.id)

        async def run() -> None:
            started = await runs.start(runtime, actor, workflow="ten", input={"n": 1})
            done = await runs.wait(runtime, actor, started.id, seconds=30)
            assert done.state == "succeeded", done
            assert done.output == {"n": 1}

        yield run


async def measure(run: Run, at_once: int, seconds: float, postmaster: int) -> Figure:
    count = 0
    end = asyncio.get_running_loop().time() + seconds

    async def work() -> None:
        nonlocal count
        while asyncio.get_running_loop().time() < end:
            await run()
            count += 1

    with Meter(postmaster) as used:
        await asyncio.gather(*(work() for _ in range(at_once)))
    return Figure(client=used.ours / count * 1000, postgres=used.postgres / count * 1000, per_second=count / used.wall)


def median(figures: list[Figure]) -> Figure:
    return Figure(**{name: statistics.median(getattr(figure, name) for figure in figures) for name in ("client", "postgres", "per_second")})


def show(figures: Figures) -> None:
    print(f"durable {STEPS}-step run, every step committed; medians; each peer in turns with Weft")
    print(f"{'':38}{'at once':>8}{'CPU ms (process + Postgres)':>30}{'runs/s':>9}{'ms wall':>9}{'  Weft':>22}")
    for peer in PEERS:
        for at_once in AT_ONCE:
            pair = {who: median(figures[peer, who, at_once]) for who in (peer, "weft")}
            less, more = pair[peer].cpu / pair["weft"].cpu, pair["weft"].per_second / pair[peer].per_second
            for who, figure in pair.items():
                parts = f"{figure.cpu:.1f} ({figure.client:.1f} + {figure.postgres:.1f})"
                ratio = f"{less:.1f}× less CPU, {more:.1f}× runs/s" if who == "weft" else ""
                rate = f"{figure.per_second:>9.0f}{1000 * at_once / figure.per_second:>9.1f}"
                print(f"{PEERS.get(who, 'Weft'):38}{at_once:>8}{parts:>30}{rate}    {ratio}")


async def main(seconds: float, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as folder:
        async with embedded(Path(folder) / "pg", Path(folder) / "keys" / "postgres.json") as server:
            await migrations.apply.apply(server.admin_url, app_password=server.app_password)
            with psycopg.connect(server.admin_url, autocommit=True) as admin:
                admin.execute("CREATE DATABASE stock")
                admin.execute("CREATE DATABASE dbos")
                (data,) = admin.execute("SHOW data_directory").fetchone() or ("",)
            postmaster = int((Path(data) / "postmaster.pid").read_text().split()[0])
            urls = {name: server.url("postgres", server.passwords.admin, name) for name in ("stock", "dbos")}
            figures: Figures = {}
            async with weft(server.app_url) as ours:
                for peer, opened in (("stock", stock), ("dbos", dbos)):  # one at a time: threads of an idle peer would be counted too
                    async with opened(urls[peer]) as theirs:
                        await _take_turns(peer, {peer: theirs, "weft": ours}, figures, postmaster, seconds, rounds)
            show(figures)


async def _take_turns(peer: str, pair: dict[str, Run], figures: Figures, postmaster: int, seconds: float, rounds: int) -> None:
    for run in pair.values():
        await measure(run, 8, 1.0, postmaster)
    for _ in range(rounds):
        for at_once in AT_ONCE:
            for who, run in pair.items():
                gc.collect()  # so that how often the collector runs does not depend on who came before
                with collector.rare() if who == "weft" else nullcontext():  # each as it is served
                    figures.setdefault((peer, who, at_once), []).append(await measure(run, at_once, seconds, postmaster))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    uvloop.run(main(given.seconds, given.rounds))
