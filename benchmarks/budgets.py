"""32 agents in four processes on one budget: how far they pass it when every call turns out dearer than it was taken for.

Each agent asks a model over HTTP, as fast as it answers, until the budget refuses. Prints the limit, what was spent, by how much it was
passed, and what the calls under way could have passed it by at most.

    python -m benchmarks.budgets [--usd 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from pydantic import SecretStr

import migrations.apply
from graphs.models import Message, Models, ModelSettings
from graphs.models._messages import Call
from graphs.models._spending import estimate
from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from store import identities, models, spending
from store.embedded import embedded
from store.models import Listed
from store.postgres import Database
from tests.models.loopback import KEY, Turn, model_server

PROCESSES, AGENTS = 4, 8  # agents of each
ASKED = (Message(role="user", text="How much is left?"),)
USED = (60, 30)  # tokens that the vendor counts, where the input was taken for fewer
PRICES = (1000.0, 2000.0)  # USD for a million tokens


async def agents(url: str, org_id: str, base: str) -> None:
    """One process: prints how many calls were paid for, and how many refused."""
    paid = refused = 0
    settings = ModelSettings(openai_api_key=SecretStr(KEY), openai_base_url=f"{base}/v1")
    async with Database.open(url) as database, Outbound(Policy()) as outbound:
        asked = Models(settings, outbound).of(database.tenant(org_id))

        async def agent(number: int) -> None:
            nonlocal paid, refused
            while True:
                try:
                    await asked.complete("openai:tiny", ASKED, max_tokens=USED[1], agent=f"agent {number}")
                except Failure as failure:
                    if failure.code != "budget_exceeded":
                        raise
                    refused += 1
                    return
                paid += 1

        await asyncio.gather(*(agent(number) for number in range(AGENTS)))
    print(json.dumps({"paid": paid, "refused": refused}))


async def measure(usd: float) -> bool:
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as folder, model_server() as server:
        server.turns.extend([Turn(text="Enough.", used=USED)] * 100_000)
        async with embedded(Path(folder) / "pg", Path(folder) / "keys" / "postgres.json") as postgres:
            await migrations.apply.apply(postgres.admin_url, app_password=postgres.app_password)
            async with Database.open(postgres.app_url) as database:
                tenant = database.tenant((await identities.create_organization(database, slug="bench", name="Bench")).id)
                await models.put(tenant, Listed(name="openai:tiny", input_price=PRICES[0], output_price=PRICES[1]))
                await spending.set_budget(tenant, kind="organization", subject="", period="total", usd=usd, tokens=None)
                began = time.perf_counter()
                told = await asyncio.gather(*(_process(postgres.app_url, tenant.org_id, server.url) for _ in range(PROCESSES)))
                seconds = time.perf_counter() - began
                (budget,) = await spending.budgets(tenant)
    short = (USED[0] - estimate(Call(model="tiny", messages=ASKED))) * PRICES[0] / 1e6
    most = PROCESSES * AGENTS * short
    passed = max(budget.usd - usd, 0.0)
    paid, refused = (sum(one[name] for one in told) for name in ("paid", "refused"))
    cost = (USED[0] * PRICES[0] + USED[1] * PRICES[1]) / 1e6
    many = f"{PROCESSES * AGENTS} agents in {PROCESSES} processes"
    print(f"{many} on a budget of ${usd:g}; a call costs ${cost:g}, ${short:g} more than foreseen")
    print(f"spent ${budget.usd:.3f} in {paid} calls within {seconds:.1f} s, {refused} refused")
    print(f"passed by ${passed:.3f}; calls under way could pass it by ${most:.3f}")
    return passed <= most and refused == PROCESSES * AGENTS and abs(budget.usd - paid * cost) < 1e-6 and budget.usd_reserved == 0


async def _process(url: str, org_id: str, base: str) -> dict[str, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.budgets", "--agents", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(json.dumps([url, org_id, base]).encode())  # not as arguments: the URL holds a password
    return json.loads(said)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--usd", type=float, default=10.0)
    parser.add_argument("--agents", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.agents:
        asyncio.run(agents(*json.loads(sys.stdin.read())))
    else:
        raise SystemExit(0 if asyncio.run(measure(given.usd)) else 1)
