"""circuits list, reset, limit: circuit breakers and rate limits of the first organization."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import typer

from graphs import circuits
from server.logs import start_logging
from server.process import archive, first_tenant
from server.settings import Settings
from server.views.circuits import circuit_view
from store.circuits import Circuit
from store.errors import Invalid
from store.postgres import Tenant


@asynccontextmanager
async def _tenant(settings: Settings) -> AsyncGenerator[Tenant]:
    start_logging("warning", settings.secrets())
    async with archive(settings) as (database, _):
        yield await first_tenant(database)


async def show(settings: Settings) -> None:
    """One line per target."""
    async with _tenant(settings) as tenant:
        cursor: str | None = None
        while True:
            page = await circuits.page(tenant, limit=200, cursor=cursor)
            for circuit in page.items:
                typer.echo(_line(circuit))
            cursor = page.next_cursor
            if cursor is None:
                break
    if not page.total:
        typer.echo("No target has failed of late, and none has a rate limit.", err=True)


async def reset(settings: Settings, target: str) -> None:
    """Raises Invalid, NotFound."""
    key = circuits.target(target)
    async with _tenant(settings) as tenant:
        await circuits.reset(tenant, key)
    typer.echo(f"Calls to {key} are let through again; servers and workers know it within a second.")


async def limit(settings: Settings, target: str, rate: str, burst: int | None) -> None:
    """`rate` none removes the limit. Raises Invalid, NotFound."""
    key = circuits.target(target)
    if rate == "none" and burst is not None:
        raise Invalid("--burst belongs to a rate; leave it out to remove the limit.")
    if rate != "none":
        circuits.rate(rate, burst)
    async with _tenant(settings) as tenant:
        found = await (circuits.unlimit(tenant, key) if rate == "none" else circuits.limit(tenant, key, rate, burst))
    typer.echo(_line(found))


def _line(circuit: Circuit) -> str:
    view = circuit_view(circuit)
    parts = [f"{view['state']:9}  {view['target']:40}"]
    if "rate" in view:
        parts.append(f"{view['rate']} (burst {view['burst']})")
    if "retry_at" in view:
        parts.append(f"closed to calls until {view['retry_at']}")
    if "held_until" in view:
        parts.append(f"asked for no calls until {view['held_until']}")
    if view["failures"]:
        parts.append(f"{view['failures']} failures: {view.get('last_error')}")
    return "  ".join(parts).rstrip()
