"""Secrets stay out: a key given to the house is in no row, event, trace, answer or log, whatever goes wrong with the call that uses it."""

from __future__ import annotations

import logging
from typing import Any

import psycopg
import pytest

from graphs import runs
from tests.engine.conftest import House, flow
from tests.models.loopback import KEY, ModelServer, Turn, model_server

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P6")]
ROWS = 'SELECT t::text FROM weft."{table}" t'
CANARY = "sk-canary-5f0c1f7b9a2e4d6688aa"
LLM = {"id": "ask", "type": "llm", "config": {"prompt": "hello"}, "retry": {"max_attempts": 1}}
ECHO = Turn(status=400, message=f"bad request; your headers were authorization: Bearer {KEY}")


def everything(admin_url: str) -> str:
    """Every row of every table, as text."""
    with psycopg.connect(admin_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'weft'").fetchall()
        return "\n".join(str(row) for (name,) in tables for row in connection.execute(ROWS.format(table=name).encode()))


def settings(server: ModelServer, vendor: str, key: str) -> Any:
    return server.openai(key=key) if vendor == "openai" else server.anthropic(key=key)


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("key", "turn"), [(KEY, Turn(text="fine")), (KEY, ECHO), (KEY, Turn(status=500)), (KEY, Turn(cut=True)), (CANARY, Turn())]
)
async def test_a_model_key_is_nowhere(
    house: House, admin_url: str, caplog: pytest.LogCaptureFixture, vendor: str, key: str, turn: Turn
) -> None:
    caplog.set_level(logging.DEBUG)
    with model_server() as server:
        server.turns.append(turn)
        async with house.opened(models=settings(server, vendor, key)) as house.runtime:
            run = await house.run(flow(LLM))
            assert run.state == ("succeeded" if turn.text == "fine" else "failed")
            shown = [run, await runs.trace(house.runtime, house.actor, run.id), await runs.events(house.runtime, house.actor, run.id)]
    assert key not in str(shown)
    assert key not in everything(admin_url)
    assert key not in caplog.text
    assert key not in repr(settings(server, vendor, key))
