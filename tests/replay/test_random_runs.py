"""Property: whatever random definitions do, a replay does the same; and a seeded edit is located at the step it was made at."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from graphs import replaying
from graphs.replaying import Replay
from store.runs import Run
from tests.engine.conftest import House
from tests.engine.test_random_graphs import Case, cases, finished
from tests.replay.edits import edits

pytestmark = pytest.mark.anyio
AT_ONCE = 8
GRAPHS = 30


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("seed", "graphs"), [(970136, 10), pytest.param(None, GRAPHS, marks=pytest.mark.long)])
async def test_random_runs_replay_with_equal_digests_and_edits_are_located(
    running: House, capsys: pytest.CaptureFixture[str], seed: int | None, graphs: int
) -> None:
    seed = random.randrange(10**6) if seed is None else seed
    listed, wrong, elsewhere = cases(itertools.count(seed), graphs), list[str](), list[str]()
    located = 0
    for case, run in zip(listed, await recorded(running, listed), strict=True):
        again: Replay = await replaying.replay(running.runtime, running.actor, run.id)
        if not again.equal or again.digest != again.recorded:
            wrong.append(f"{case.seed}/{case.number}: {replaying.report_of(again)}")
        elif told := await edited(running, run, random.Random(case.seed)):
            elsewhere += [f"{case.seed}/{case.number}: {told}"] * (told != "located")
            located += told == "located"
    with capsys.disabled():
        print(
            f"\n{len(listed)} random runs from seed {seed}, {located} edits located: {len(wrong)} unlike, {len(elsewhere)} edits elsewhere"
        )
    assert wrong == [], "\n".join(wrong)[:3000]
    assert located > graphs
    assert elsewhere == [], "\n".join(elsewhere)[:3000]


async def recorded(house: House, listed: list[Case]) -> list[Run]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> Run:
        async with limit:
            return await finished(house, case)

    return await asyncio.gather(*(one(case) for case in listed))


async def edited(house: House, run: Run, rng: random.Random) -> str | None:
    """Makes the first edit that changes what happens: "located", or where it was looked for instead; None where none does."""
    recording = await replaying.recording_of(house.runtime, house.actor, run.id)
    for edit in itertools.islice(edits(recording, rng), 4):
        again = await replaying.replay(house.runtime, house.actor, run.id, edit.definition)
        if again.divergence:
            if again.divergence.node == edit.node:
                return "located"
            return f"{edit.kind} of {edit.node}: {replaying.divergence_of(again.divergence)}"
    return None
