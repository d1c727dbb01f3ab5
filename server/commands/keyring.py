"""key create, list, revoke: API keys of the first organization."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer

from server.logs import start_logging
from server.process import archive, first_tenant
from server.settings import Settings
from store import identities
from store.errors import Conflict
from store.postgres import Session


async def create(settings: Settings, *, name: str, role: str, user: str | None, days: int | None) -> None:
    """Makes a key for `user` (made when new) and prints it to stdout, alone, so that it can be piped."""
    start_logging("warning", settings.secrets())
    async with archive(settings) as (database, keys):
        tenant = await first_tenant(database)
        user_id = await _user(tenant, user or role, role)
        lifetime = timedelta(days=days) if days else None
        key, text = await identities.create_key(tenant, user_id=user_id, name=name, pepper=keys.pepper, lifetime=lifetime)
    typer.echo(text)
    until = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "until revoked"
    typer.echo(f"Key {key.id} ({name}) acts as {user or role} ({role}) {until}. It is shown this once.", err=True)


async def _user(tenant: Session, name: str, role: str) -> str:
    found = await identities.find_user(tenant, name) or await identities.create_user(tenant, name=name, role=role)
    if found.role != role:
        raise Conflict(f"The user {name} has the role {found.role}, not {role}; leave --role out or name another user with --user.")
    return found.id


async def show(settings: Settings) -> None:
    """One line per key."""
    start_logging("warning", settings.secrets())
    async with archive(settings) as (database, _):
        tenant = await first_tenant(database)
        found = await identities.list_keys(tenant)
        users = {user.id: f"{user.name} ({user.role})" for user in await identities.list_users(tenant)}
    now = datetime.now(UTC)
    for key in found:
        expired = key.expires_at is not None and key.expires_at <= now
        state = "revoked" if key.revoked_at else "expired" if expired else "active"
        typer.echo(f"{key.id}  {state:8}  {key.created_at:%Y-%m-%d}  {users.get(key.user_id, '?'):24}  {key.name}")


async def revoke(settings: Settings, key_id: str) -> None:
    """Raises NotFound."""
    start_logging("warning", settings.secrets())
    async with archive(settings) as (database, _):
        key = await identities.revoke_key(await first_tenant(database), key_id)
    typer.echo(f"Key {key.id} ({key.name}) is revoked; servers that know it forget it within half a minute.")
