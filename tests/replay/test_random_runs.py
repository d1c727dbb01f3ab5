"""Property: whatever random definitions do, a replay does the same; and a seeded edit is located at the step it was made at."""

from __future__ import annotations

import asyncio
import itertools
import os
import random

import pytest

from graphs import replaying
from graphs.replaying import Replay
from store.runs import Run
from tests.engine.conftest import House
from tests.engine.test_random_graphs import Case, cases, finished

pytestmark = pytest.mark.anyio
AT_ONCE = 8
GRAPHS = 40


async def recorded(house: House, listed: list[Case]) -> list[Run]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> Run:
        async with limit:
            return await finished(house, case)

    return await asyncio.gather(*(one(case) for case in listed))


async def test_random_runs_replay_with_equal_digests(running: House, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    listed = cases(itertools.count(seed), GRAPHS)
    found: list[str] = []
    ran = await recorded(running, listed)
    for case, run in zip(listed, ran, strict=True):
        again: Replay = await replaying.replay(running.runtime, running.actor, run.id)
        if not again.equal or again.digest != again.recorded:
            found.append(f"{case.seed}/{case.number}: {replaying.report_of(again)}")
    with capsys.disabled():
        print(f"\n{len(listed)} random runs from seed {seed}: {len(found)} replays differ")

    pathlib.Path("/tmp/found5.txt").write_text("\n".join(found))
    assert found == [], found[0]
