"""What validation accepts compiles and runs: the mutated definitions that pass the checks are run, every one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from graphs.checks import check
from graphs.documents import is_object
from graphs.samples import sample
from store.errors import Invalid
from tests.checks.mutations import mutations
from tests.checks.orders import order
from tests.checks.samples import ten_nodes
from tests.engine.conftest import House

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P4")]
MOCKS: dict[str, Any] = {
    "order": {"status": 200, "ok": True, "headers": {}, "body": {"items": [{"price": 3, "sku": "a"}, {"price": 4, "sku": "b"}]}},
    "refund": {"status": 201, "ok": True, "headers": {}, "body": {"id": 1}},
}
ANSWERED: dict[str, Any] = {"status": 200, "ok": True, "headers": {}, "body": {"id": "x-1"}}
MOCKS_OF_ORDER: dict[str, Any] = {
    **dict.fromkeys(("reserve", "charge", "poll", "remind"), ANSWERED),
    "review": {"answer": {"decision": "accept", "remark": ""}, "answered_by": "a", "timed_out": False},
}
ORIGINS = pytest.mark.parametrize(("origin", "mocks"), [(ten_nodes, MOCKS), (order, MOCKS_OF_ORDER)], ids=["ten nodes", "order"])
OURS = {"internal", "unprepared", "stuck", "poison"}  # codes that no accepted definition may end with


def given(document: Any) -> Any:
    """An input that fits, with an instant where one is due."""
    input: Any = sample(document.get("input") or {"type": "object"})
    return {**input, "due": "2099-12-31T00:00:00Z"} if is_object(input) and "due" in input else input


async def fates(house: House, documents: list[Any], mocks: dict[str, Any]) -> dict[str, int]:
    """How the accepted ones of these definitions ended in a test run, by code."""
    limit = asyncio.Semaphore(8)
    ended: dict[str, int] = {}

    async def one(document: Any) -> None:
        async with limit:
            report = await check(document, house.evaluator)
            if not report.ok:
                return
            try:
                run = await house.run(document, given(document), mode="test", mocks=mocks)
            except Invalid:
                code = "input refused"
            else:
                code = run.error["code"] if run.error else run.state
                assert code not in OURS, (run.error, json.dumps(document)[:3000])
            ended[code] = ended.get(code, 0) + 1

    await asyncio.gather(*(one(document) for document in documents))
    return ended


@ORIGINS
async def test_accepted_mutations_of_a_definition_run(running: House, origin: Callable[[], Any], mocks: dict[str, Any]) -> None:
    ended = await fates(running, [origin(), *mutations(origin(), 250)], mocks)
    assert ended.get("succeeded", 0) > 5, ended


@pytest.mark.long
@pytest.mark.timeout(900)
@ORIGINS
async def test_of_four_thousand_mutations_every_accepted_one_runs(
    running: House, capsys: pytest.CaptureFixture[str], origin: Callable[[], Any], mocks: dict[str, Any]
) -> None:
    ended = await fates(running, list(mutations(origin(), 4000, seed=7)), mocks)
    with capsys.disabled():
        print(f"\n4,000 mutated definitions; the accepted ones ended: {ended}")
    assert ended.get("succeeded", 0) > 5, ended
