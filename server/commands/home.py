"""The house for one command, as the owner of this installation. It drives no runs: whoever serves does that."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from server.logs import start_logging
from server.process import house, local_owner
from server.settings import Settings

if TYPE_CHECKING:
    from graphs.runtime import Actor, Runtime


@asynccontextmanager
async def home(settings: Settings) -> AsyncGenerator[tuple[Runtime, Actor]]:
    start_logging("warning", settings.secrets())
    async with house(settings) as runtime:
        yield runtime, await local_owner(runtime.database)
