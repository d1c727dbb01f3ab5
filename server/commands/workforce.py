"""workers and org: who drives runs, and how many an organization may have driven at once."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from server.logs import start_logging
from server.process import archive
from server.settings import Settings
from store import identities, workers
from store.errors import Invalid, NotFound

HEAD = f"{'host':24}  {'pid':>8}  {'version':10}  {'state':8}  {'driving':>11}  {'since':20}  last seen"


async def show(settings: Settings) -> None:
    """One line per worker; those that were lost are shown for a day."""
    start_logging("warning", settings.secrets())
    async with archive(settings) as (database, _):
        found = await workers.listed(database)
    typer.echo(HEAD if found else "No worker drives runs here; start one with: weft worker")
    for worker in found:
        driving = f"{worker.driving} of {worker.slots}"
        ago = max((datetime.now(UTC) - worker.seen_at).total_seconds(), 0.0)
        since = f"{worker.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        typer.echo(
            f"{worker.host:24}  {worker.pid:>8}  {worker.version:10}  {worker.state:8}  {driving:>11}  {since:20}  {_passed(ago)} ago"
        )


def _passed(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


async def limit(settings: Settings, slug: str, most: str | None) -> None:
    """Shows, or with `most` (a number or "none") sets, how many runs of an organization are driven at once. Raises NotFound, Invalid."""
    start_logging("warning", settings.secrets())
    async with archive(settings) as (database, _):
        found = await identities.find_organization(database, slug)
        if found is None:
            raise NotFound(f"There is no organization {slug!r}.")
        if most is not None:
            found = await identities.limit_organization(database.tenant(found.id), _number(most))
    said = "no limit" if found.max_running is None else f"at most {found.max_running:,}"
    typer.echo(f"{found.slug}: {said} of its runs are driven at once" if found.max_running else f"{found.slug}: {said}")


def _number(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isascii() or not text.isdecimal():
        raise Invalid(f"{text!r} is not a limit; write a number such as 10, or none")
    return int(text)
