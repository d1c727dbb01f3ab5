"""Liveness and readiness, for whoever looks after the process; open to all, and therefore cheap and silent about the inside."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphs.definition import Json
from graphs.runtime import Runtime
from migrations import apply
from server.http.operations import answer

logger = logging.getLogger(__name__)

FRESH = 2.0  # seconds for which an answer is given again, so that probing cannot load the database
PATIENCE = 5.0  # seconds Postgres has to answer


class Readiness:
    """Ready means: Postgres answers, with the schema this version of Weft needs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = asyncio.Lock()
        self._known: tuple[float, dict[str, str]] | None = None

    async def answer(self, request: Request) -> Response:
        checks = await self._checks()
        ready = all(found == "ok" for found in checks.values())
        body: Json = {"status": "ok" if ready else "unavailable", "checks": checks}
        return answer(body, 200 if ready else 503)

    async def _checks(self) -> dict[str, str]:
        async with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > FRESH:
                checks = await self._ask()
                self._known = time.monotonic(), checks
            return self._known[1]

    async def _ask(self) -> dict[str, str]:
        try:
            async with asyncio.timeout(PATIENCE):
                status = await apply.status(str(self._runtime.database.pool.conninfo))
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is "not ready", and the log says why
            logger.warning("not ready: %s", error)
            return {"postgres": "does not answer", "schema": "unknown"}
        return {"postgres": "ok", "schema": "ok" if status.current else "is not the one this version needs; run `weft migrate`"}


async def alive(request: Request) -> Response:
    return answer({"status": "ok"})


def routes(runtime: Runtime) -> list[Route]:
    return [Route("/healthz", alive, methods=["GET"]), Route("/readyz", Readiness(runtime).answer, methods=["GET"])]
