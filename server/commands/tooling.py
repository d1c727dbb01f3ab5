"""connections tools, refresh, approve, disable, upload: the tools of other servers, for the first organization."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from graphs import remoting
from graphs.nodetype import Effect
from graphs.remoting import Choice, Tools, ToolView
from server.commands.home import home
from server.settings import Settings
from server.views.remote_tools import arguments, difference, line
from store.errors import Invalid, NotFound

if TYPE_CHECKING:
    pass

EFFECTS = ("read", "write-idempotent", "write-once")


async def show(settings: Settings, name: str) -> None:
    """One line per tool, and what has changed of it. Raises NotFound."""
    async with home(settings) as (runtime, actor):
        _print(await remoting.show(runtime, actor, name))


async def refresh(settings: Settings, name: str) -> None:
    """Raises NotFound, Unavailable."""
    async with home(settings) as (runtime, actor):
        _print(await remoting.refresh(runtime, actor, name))


async def discover(settings: Settings, url: str) -> None:
    """Prints the settings as JSON. Raises Unavailable."""
    async with home(settings) as (runtime, actor):
        auth = await remoting.discover(runtime, actor, url)
    typer.echo(json.dumps({"url": url, "auth": {**auth, "client_id": "…"}}, indent=2, ensure_ascii=False))
    typer.echo(
        f"`weft connections add NAME --kind mcp --url {url}` signs in; a client id only where the server refuses to register.", err=True
    )


async def upload(settings: Settings, name: str, file: str, include: Sequence[str]) -> None:
    """Raises Invalid, NotFound."""
    try:
        text = Path(file).read_text(encoding="utf-8")  # noqa: ASYNC240  # nobody else waits
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {error}.") from None
    async with home(settings) as (runtime, actor):
        _print(await remoting.upload(runtime, actor, name, text, include=include))


async def approve(settings: Settings, name: str, tools: Sequence[str], effect: str | None, *, yes: bool) -> None:
    """Shows each tool as it is offered and asks; without names those that wait for it. Raises NotFound, Conflict, Invalid."""
    if effect is not None and effect not in EFFECTS:
        raise Invalid(f"--effect is {', '.join(EFFECTS)}; not {effect!r}.")
    async with home(settings) as (runtime, actor):
        found = await remoting.show(runtime, actor, name)
        chosen = _chosen(found, tools)
        if not chosen:
            typer.echo(f"No tool of {name} waits for approval.", err=True)
            return
        agreed = [tool for tool in chosen if yes or _agreed(tool, effect)]
        choices = [Choice(name=tool.name, digest=tool.digest or "", effect=Effect(effect) if effect else None) for tool in agreed]
        if choices:
            await remoting.approve(runtime, actor, name, choices)
        typer.echo(f"{len(choices)} of {len(chosen)} tools of {name} are approved.")


async def disable(settings: Settings, name: str, tools: Sequence[str]) -> None:
    """Raises NotFound."""
    async with home(settings) as (runtime, actor):
        _print(await remoting.disable(runtime, actor, name, tools))


def _chosen(found: Tools, names: Sequence[str]) -> list[ToolView]:
    by_name = {tool.name: tool for tool in found.tools}
    for name in names:
        if name not in by_name:
            raise NotFound(f"The connection {found.connection!r} has no tool {name!r}.")
        if by_name[name].digest is None:
            raise NotFound(f"The tool {name!r} is not offered any more.")
    return [by_name[name] for name in names] or remoting.waiting(found)


def _agreed(tool: ToolView, effect: str | None) -> bool:
    typer.echo(f"\n{line(tool)}")
    for text in tool.description.splitlines()[:20]:
        typer.echo(f"    | {text[:200]}")
    for change in tool.changes:
        typer.echo(difference(change))
    for text in arguments(tool.schema):
        typer.echo(f"    {text}")
    return typer.confirm(f"Approve {tool.name} as {effect or tool.becomes}?", default=False)


def _print(found: Tools) -> None:
    source = found.source
    if source is not None:
        told = f", told in {source.latency_ms} ms" if source.kind == "mcp" and source.latency_ms is not None else ""
        typer.echo(f"{source.title or found.connection} ({source.kind} {source.protocol or '?'}): {len(found.tools)} tools{told}")
        if source.error:
            typer.echo(f"Last error: {source.error}", err=True)
    for tool in found.tools:
        typer.echo(line(tool))
        for change in tool.changes:
            typer.echo(difference(change))
    for note in found.notes:
        typer.echo(note, err=True)
    if wait := remoting.waiting(found):
        typer.echo(f"{len(wait)} wait for approval: weft connections approve {found.connection}", err=True)
