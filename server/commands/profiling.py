"""agents: lists, shows and saves agent profiles."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from graphs import profiles
from graphs.documents import is_object, parse, to_yaml
from server.commands.home import home
from server.settings import Settings
from store.agents import Profile
from store.errors import Invalid


async def show_list(settings: Settings, *, limit: int) -> None:
    async with home(settings) as (runtime, actor):
        page = await profiles.page(runtime, actor, limit=limit)
    for item in page.items:
        typer.echo(_line(item))
    if page.total > len(page.items):
        typer.echo(f"({page.total:,} in all)", err=True)


async def show(settings: Settings, name: str, *, versions: bool) -> None:
    bare, _, number = name.partition("@")
    if number and not number.isdigit():
        raise Invalid(f"{name!r}: write name or name@version")
    async with home(settings) as (runtime, actor):
        if versions:
            for item in await profiles.versions(runtime, actor, bare):
                typer.echo(_line(item))
        else:
            typer.echo(to_yaml((await profiles.get(runtime, actor, bare, int(number) if number else None)).body), nl=False)


async def save(settings: Settings, name: str, file: Path, *, description: str | None) -> None:
    body = parse(_read(file))
    if not is_object(body):
        raise Invalid(f"{file}: a profile is an object of fields, such as system, model and tools")
    async with home(settings) as (runtime, actor):
        saved = await profiles.save(runtime, actor, name, body, description=description or "")
    typer.echo(f"{saved.name}@{saved.version}")


def _line(profile: Profile) -> str:
    tools = ", ".join(profiles.uses_of(profile)) or "no tools"
    return "  ".join([f"{profile.name}@{profile.version}", profile.description, f"({tools})"])


def _read(file: Path) -> str:
    return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
