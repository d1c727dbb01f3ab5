"""The fixtures of the engine tests, with short ways to make connections and to look for what must be nowhere."""

from __future__ import annotations

from typing import Any

from graphs import connecting
from graphs.connecting import Described
from tests.engine.conftest import House, actor, evaluator, house, running

__all__ = ["actor", "evaluator", "house", "running"]


async def connect(house: House, name: str, base_url: str, auth: dict[str, Any] | None = None, **secrets: str) -> Described:
    """An http connection with its secrets."""
    settings = {"base_url": base_url, **({"auth": auth} if auth else {})}
    made = await connecting.create(house.runtime, house.actor, name=name, kind="http", settings=settings)
    for field, value in secrets.items():
        made = await connecting.set_secret(house.runtime, house.actor, name, field, value)
    return made


def call(connection: str | None = "api", url: str = "/orders", **config: Any) -> dict[str, Any]:
    """An http node that uses a connection, tried once."""
    given = {"url": url, **({"connection": connection} if connection else {}), **config}
    return {"id": "call", "type": "http", "config": given, "retry": {"max_attempts": 1}}
