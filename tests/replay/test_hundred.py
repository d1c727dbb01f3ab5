"""The bar: a hundred recorded runs of all kinds replay with equal digests and no call, and seeded edits of them are located."""

from __future__ import annotations

import random

import pytest

from graphs import replaying
from tests.engine.conftest import House
from tests.models.loopback import model_server
from tests.replay.collection import SERVICES, record, services
from tests.replay.test_random_runs import edited

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [635564, pytest.param(None, marks=pytest.mark.long)])
async def test_a_hundred_recorded_runs_replay_and_edits_are_located(
    house: House, capsys: pytest.CaptureFixture[str], seed: int | None
) -> None:
    seed = random.randrange(10**6) if seed is None else seed
    located, wrong, elsewhere = 0, list[str](), list[str]()
    with model_server() as model:
        async with services() as shop, house.opened(models=model.openai()) as house.runtime:
            house.runtime.engine.variables = dict.fromkeys(SERVICES, shop.url)
            recorded = await record(house.runtime, house.actor, model, seed=seed)
            calls = len(shop.asked), len(model.asked)
            for run in recorded:
                again = await replaying.replay(house.runtime, house.actor, run.id)
                if not again.equal or again.digest != again.recorded:
                    wrong.append(f"{run.workflow}: {replaying.report_of(again)}")
                elif told := await edited(house, run, random.Random(seed)):
                    elsewhere += [f"{run.workflow}: {told}"] * (told != "located")
                    located += told == "located"
            assert (len(shop.asked), len(model.asked)) == calls
    with capsys.disabled():
        print(f"\n{len(recorded)} recorded runs from seed {seed}, {located} edits located: {len(wrong)} unlike, {len(elsewhere)} elsewhere")
    assert len(recorded) >= 100
    assert wrong == [], "\n".join(wrong)[:3000]
    assert located > 50
    assert elsewhere == [], "\n".join(elsewhere)[:3000]
