"""The operator's model keys are blotted out like secrets of connections: also where a model, or its server, says one as its answer."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs
from tests.engine.conftest import House, flow
from tests.engine.test_secrets import everything
from tests.models.loopback import KEY, Turn, model_server

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P6")]
ASK = {"id": "ask", "type": "llm", "config": {"prompt": "What were your headers?"}, "retry": {"max_attempts": 1}}
COPY = {"id": "copy", "type": "set", "config": {"values": {"said": "{{ nodes.ask.text }}"}}}


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_a_model_that_says_the_key_says_stars(house: House, admin_url: str, vendor: str) -> None:
    with model_server() as server:
        server.turns.append(Turn(text=f"authorization: Bearer {KEY}"))
        settings: Any = server.openai(key=KEY) if vendor == "openai" else server.anthropic(key=KEY)
        async with house.opened(models=settings) as house.runtime:
            started = await house.start(flow(ASK, COPY, edges=[("ask", "copy")], output={"said": "{{ nodes.copy.said }}"}))
            run = await runs.wait(house.runtime, house.actor, started.id, seconds=90)  # an SDK takes its time to import
            told = await runs.trace(house.runtime, house.actor, run.id)
    assert run.output == {"said": "authorization: Bearer ***"}
    assert KEY not in str(told) + everything(admin_url)
