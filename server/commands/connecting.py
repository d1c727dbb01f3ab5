"""connections add, change, list, show, set-secret, test, authorize, remove, rotate-key: of the first organization, on this machine."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from graphs import authorizing, connecting, inviting, remoting
from graphs.connections import Vault, rewrap_all
from graphs.definition import Json
from graphs.documents import is_object
from server import keys as key_folder
from server.commands.home import home
from server.links import base_for, connect_url
from server.logs import start_logging
from server.process import archive
from server.settings import Settings
from server.views import stamp
from server.views.connections import connection_view, event_view, kinds_view
from server.views.remote_tools import health_words
from store.errors import Invalid
from store.postgres import Database

if TYPE_CHECKING:
    from graphs.connecting import Described
    from graphs.inviting import Invitation

NAMED = {"basic": "username", "header": "name", "query": "name"}


def read_settings(given: str | None, url: str | None, auth: str | None, kind: str = "http") -> Json:
    """Settings as JSON, from a file, or made of the short options. Raises Invalid."""
    found: Json = _json(_text(given)) if given is not None else {}
    if not is_object(found):
        raise Invalid("--settings is a JSON object.")
    if url is not None:
        found["url" if kind == "mcp" else "base_url"] = url
    if auth is not None:
        found["auth"] = _auth(auth)
    return found


def _auth(text: str) -> Json:
    form, _, name = text.partition(":")
    if form in NAMED:
        return {"type": form, NAMED[form]: name}
    if form in ("none", "bearer") and not name:
        return {"type": form}
    if form == "sign_in":
        return {"type": form, **({"client_id": name} if name else {})}
    raise Invalid(
        "--auth is bearer, basic:<user>, header:<name>, query:<name> or sign_in[:<client id>]; anything else goes into --settings. "
        "No secret belongs here: weft connections set-secret takes it."
    )


def _json(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError as wrong:
        raise Invalid(f"--settings is not JSON: {wrong}.") from None


def _text(given: str) -> str:
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{given[1:]} cannot be read: {error}.") from None


def read_secret(name: str, field: str, source: str | None) -> str:
    """From a hidden prompt, stdin or a file. Raises Invalid for one that was written on the command line."""
    if source is None and sys.stdin.isatty():
        return getpass.getpass(f"{field} of {name} (not shown): ").strip()
    if source is not None and source != "-" and not source.startswith("@"):
        raise Invalid("--from is @file or -: a secret on the command line would stay in the history of the shell.")
    return _text(source or "-").strip()


async def show_all(settings: Settings) -> None:
    """One line per connection."""
    async with home(settings) as (runtime, actor):
        sources = await remoting.sources(actor)
        cursor: str | None = None
        while True:
            page = await connecting.page(runtime, actor, limit=200, cursor=cursor)
            for item in page.items:
                typer.echo(f"{_line(item)}  {health_words(sources.get(item.row.name))}".rstrip())
            cursor = page.next_cursor
            if cursor is None:
                break
        local = await remoting.local(runtime, actor)
    for name in local:
        typer.echo(f"{name:24}  {'mcp':10}  of the operator's file  {health_words(sources.get(name))}".rstrip())
    if not page.total and not local:
        typer.echo("There are no connections yet; weft connections add makes one.", err=True)


def show_kinds() -> None:
    """The kinds there are, as JSON."""
    typer.echo(json.dumps({"kinds": kinds_view()}, indent=2))


async def add(settings: Settings, name: str, kind: str, given: Json, description: str, roles: list[str] | None) -> None:
    """Raises Invalid, Conflict."""
    async with home(settings) as (runtime, actor):
        made = await connecting.create(runtime, actor, name=name, kind=kind, settings=given, description=description, roles=roles)
        invitation = await inviting.invite(runtime, actor, name) if "refresh_token" in made.missing else None
    typer.echo(_line(made))
    if invitation:
        typer.echo("Open this address to sign in:", err=True)
        _link(settings, invitation)
    else:
        _next(made)


async def change(settings: Settings, name: str, given: Json, description: str | None, roles: list[str] | None) -> None:
    """Raises Invalid, NotFound, Conflict."""
    async with home(settings) as (runtime, actor):
        saved = await connecting.update(runtime, actor, name, settings=given, description=description, roles=roles)
    typer.echo(_line(saved))
    _next(saved)


async def show(settings: Settings, name: str) -> None:
    """Raises NotFound."""
    async with home(settings) as (runtime, actor):
        found = await connecting.get(runtime, actor, name)
        told = [event_view(event) for event in await connecting.events(actor, found.row)]
        source = (await remoting.sources(actor)).get(name)
        users = await connecting.used_by(actor, name)
    typer.echo(
        json.dumps({**connection_view(found, whole=True, source=source), "used_by": users, "events": told}, indent=2, ensure_ascii=False)
    )


async def set_secret(settings: Settings, name: str, field: str, value: str) -> None:
    """Raises Invalid, NotFound."""
    async with home(settings) as (runtime, actor):
        found = await connecting.set_secret(runtime, actor, name, field, value)
    typer.echo(f"The {field} of {name} is set; it is not shown again.")
    _next(found)


async def test(settings: Settings, name: str) -> int:
    """0 when it works. Raises NotFound."""
    async with home(settings) as (runtime, actor):
        found = await connecting.test(runtime, actor, name)
    typer.echo(f"{name}: {found.row.health}: {found.row.health_note}")
    return 0 if found.row.health == "ok" else 1


async def authorize(settings: Settings, name: str, kind: str, scopes: list[str]) -> None:
    """Prints the link to stdout, alone. Raises Invalid, NotFound."""
    async with home(settings) as (runtime, actor):
        if scopes:
            await authorizing.widen(runtime, actor, name, scopes)
        invitation = await inviting.invite(runtime, actor, name, kind)
    _link(settings, invitation)


def _link(settings: Settings, invitation: Invitation) -> None:
    typer.echo(connect_url(base_for(settings), invitation.ticket))
    typer.echo(f"It works once, until {stamp(invitation.expires_at)}, while weft serve runs. Give it to nobody else.", err=True)


async def remove(settings: Settings, name: str, *, force: bool) -> None:
    """Raises NotFound, or Conflict when workflows use it."""
    async with home(settings) as (runtime, actor):
        users = await connecting.remove(runtime, actor, name, force=force)
    typer.echo(f"The connection {name} and its secrets are removed.")
    if users:
        typer.echo(f"These workflows name it, and fail until there is another: {', '.join(users)}", err=True)


async def rotate_key(settings: Settings) -> None:
    """A new key before the others; then every secret of every organization is wrapped anew, and keys older than the one before go. That
    one stays: a server that runs may have sealed with it a moment ago."""
    start_logging("warning", settings.secrets())
    async with archive(settings) as (database, keys):
        with key_folder.rotating(keys.folder):
            await _rotate(database, keys.folder)


async def _rotate(database: Database, folder: Path) -> None:
    now = key_folder.replace_master(folder, kept=key_folder.master_keys(folder), add=True)
    done = await rewrap_all(database, Vault(lambda: key_folder.master_keys(folder)))
    key_folder.replace_master(folder, kept=now[:2], add=False)
    typer.echo(f"{done} secrets are under the new master key {now[0].id}. Keep a copy of {folder / key_folder.MASTER} in a safe place.")


def _line(found: Described) -> str:
    state = found.row.health if not found.missing else f"needs {', '.join(found.missing)}"
    note = f"  {found.row.health_note}" if found.row.health == "failing" and not found.missing else ""
    return f"{found.row.name:24}  {found.row.kind:10}  {state}{note}"


def _next(found: Described) -> None:
    if "refresh_token" in found.missing:
        typer.echo(f"Next: weft connections authorize {found.row.name}", err=True)
    elif found.missing:
        typer.echo(f"Next: weft connections set-secret {found.row.name} {found.missing[0]}", err=True)
