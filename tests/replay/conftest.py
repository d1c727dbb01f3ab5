"""The engine's house serves the tests of replays too; what those of fixes say again and again."""

from __future__ import annotations

from typing import Any

from graphs import fixing
from graphs.trying import Proposal
from store.runs import Run
from tests.engine.conftest import House, actor, evaluator, house, running

__all__ = ["actor", "evaluator", "failed", "house", "proposed", "running"]


async def failed(house: House, definition: dict[str, Any], input: Any = None) -> Run:
    run = await house.run(definition, input or {})
    assert run.state == "failed", run.state
    return run


async def proposed(house: House, run: Run, patch: list[dict[str, Any]], **how: Any) -> Proposal:
    return await fixing.propose(house.runtime, house.actor, run.id, patch, **how)
