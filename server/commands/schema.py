"""migrate: brings the schema of the database to this version, or says where it stands."""

from __future__ import annotations

import typer

from migrations import apply as migrations
from server.logs import start_logging
from server.process import migrate as apply_all
from server.process import postgres
from server.settings import Settings
from store.postgres import Database


async def migrate(settings: Settings) -> int:
    """Prints what was applied. Raises Misconfigured or Unavailable."""
    start_logging("warning", settings.secrets())
    async with postgres(settings) as address:
        done = await apply_all(address)
    for name in done:
        typer.echo(f"applied {name}")
    typer.echo(f"{len(done)} migrations applied; the schema is up to date." if done else "The schema is up to date; nothing to do.")
    return 0


async def status(settings: Settings) -> int:
    """Prints every migration and whether it is applied. 0: up to date, 1: not."""
    start_logging("warning", settings.secrets())
    async with postgres(settings) as address:
        async with Database.open(address.admin_url, max_connections=2):
            pass  # a database that does not answer is said in a sentence
        found = await migrations.status(address.admin_url)
    for name in found.applied:
        typer.echo(f"applied  {name}")
    for name in found.pending:
        typer.echo(f"pending  {name}")
    if found.problem:
        typer.echo(f"problem  {found.problem}")
    elif found.pending:
        typer.echo("Run: weft migrate up")
    return 0 if found.current else 1
