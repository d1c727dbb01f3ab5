"""What people do with connections: make, change, give secrets to, test, show and remove them. No answer here holds a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphs.connections import Connections, Kind, kinds, missing, origin_of, place_of
from graphs.connections._given import MAX_SECRET as MAX_SECRET
from graphs.connections._given import fit, known_roles, validated, words
from graphs.definition import Json
from graphs.documents import is_object
from graphs.nodetype import Failure
from graphs.pinning import nearest
from graphs.redaction import Redactor
from graphs.runtime import Actor, Runtime
from store import connections, remote_tools, secrets
from store.connections import Event, Row
from store.errors import Conflict, Denied, Invalid, NotFound
from store.pages import Page
from store.postgres import Transaction
from store.secrets import Shown

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A connection as it may be shown: which secrets are set, which are missing yet, and which may be set at all."""

    row: Row
    secrets: Sequence[Shown]
    missing: Sequence[str]
    takes: Sequence[str]


async def create(
    runtime: Runtime,
    actor: Actor,
    *,
    name: str,
    kind: str,
    settings: Json,
    description: str = "",
    roles: Sequence[str] | None = None,
) -> Described:
    """Raises Invalid for settings that do not fit the kind or look secret, Conflict when the name is taken."""
    await free(runtime, actor, name)
    settings = await settled(runtime, actor, kind_of(kind), settings)
    async with actor.tenant.transaction() as transaction:
        row = await make(transaction, actor, name=name, kind=kind, settings=settings, description=description, roles=roles)
    return await described(actor, row)


async def make(
    transaction: Transaction,
    actor: Actor,
    *,
    name: str,
    kind: str,
    settings: Json,
    description: str = "",
    roles: Sequence[str] | None = None,
) -> Row:
    """The same, together with what else the transaction does."""
    if not NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot name a connection: small letters, digits, - and _, at most 64, a letter first.")
    given = validated(kind_of(kind), settings)
    row = await connections.create(
        transaction, name=name, kind=kind, description=words(description), settings=given, roles=known_roles(roles), user_id=actor.user_id
    )
    await connections.tell(transaction, row.id, "created", user_id=actor.user_id, via=actor.via, data={"kind": kind})
    return row


async def free(runtime: Runtime, actor: Actor, name: str) -> None:
    """Raises Conflict for the name of a local server: whoever took it would decide what its steps call, and end its approvals."""
    local = await runtime.remote.local(actor.tenant) if runtime.remote else []
    if name in {server.name for server in local}:
        raise Conflict(f"The name {name!r} is taken by a local MCP server of the operator's file.")


def sentence(failure: Failure) -> str:
    """What went wrong, for a person: an address keeps its small letter."""
    text = failure.message
    return f"{text if text.startswith(('http://', 'https://')) else text[:1].upper() + text[1:]}."


async def settled(runtime: Runtime, actor: Actor, kind: Kind, settings: Json) -> dict[str, Json]:
    """The settings as they will be kept, with what the other side tells of itself where the kind asks it. Raises Invalid."""
    given = validated(kind, settings)
    asks = kind.settle is not None and is_object(settings) and "auth" not in settings
    return validated(kind, await kind.settle(given, runtime.outbound.of(actor.tenant))) if asks and kind.settle else given


async def update(
    runtime: Runtime,
    actor: Actor,
    name: str,
    *,
    settings: Json = None,
    description: str | None = None,
    roles: Sequence[str] | None = None,
    revision: int | None = None,
) -> Described:
    """Replaces what is given; `roles` empty: everybody. Secrets stay, unless the origin changes: they were meant for the old one.
    Raises Invalid, NotFound, Conflict when it is not at `revision`."""
    row = await changeable(actor, name)
    given = row.settings if settings is None else await settled(runtime, actor, kind_of(row.kind), settings)
    moved = _target(given) != _target(row.settings)
    async with actor.tenant.transaction() as transaction:
        saved = await connections.update(
            transaction,
            row.id,
            revision=row.revision if revision is None else revision,
            settings=given,
            description=row.description if description is None else words(description),
            roles=row.roles if roles is None else known_roles(roles or None),
        )
        if moved:
            await secrets.remove(transaction, row.id)
        data = {"revision": saved.revision, **({"secrets_removed": True} if moved else {})}
        await connections.tell(transaction, row.id, "changed", user_id=actor.user_id, via=actor.via, data=data)
    return await described(actor, saved)


async def set_secret(runtime: Runtime, actor: Actor, name: str, field: str, value: str) -> Described:
    """Sets or replaces one secret. Raises Invalid for a field that it does not take, or a value that could not be blotted out."""
    row = await changeable(actor, name)
    async with actor.tenant.transaction() as transaction:
        await put(runtime, transaction, actor, row, {field: value})
    return await described(actor, await connections.by_id(actor.tenant, row.id))


async def put(runtime: Runtime, transaction: Transaction, actor: Actor, row: Row, values: Mapping[str, str]) -> None:
    """The same for several, together with what else the transaction does."""
    kind = kind_of(row.kind)
    takes = kind.takes(kind.settings.model_validate(row.settings))
    for field, value in values.items():
        fit(row, field, value, takes)
        version = await connections.next_version(transaction, row.id)
        sealed = house_of(runtime).vault.seal(place_of(actor.tenant, row.id, version, field), value)
        await secrets.put(transaction, row.id, sealed, user_id=actor.user_id)
    if "client_secret" in values:  # a token that was got with another secret is not known to be good
        await secrets.remove(transaction, row.id, "access_token")
    if values:
        await connections.checked(transaction, row.id, "unknown", "")
        data = {"fields": sorted(values)}
        await connections.tell(transaction, row.id, "secret set", user_id=actor.user_id, via=actor.via, data=data)


async def test(runtime: Runtime, actor: Actor, name: str) -> Described:
    """Tries the connection; the answer's health says how it went. Raises NotFound, Denied for one that the actor may not use."""
    row = await changeable(actor, name)
    redactor = Redactor()
    try:
        opened = await house_of(runtime).open(actor.tenant, name, user_id=actor.user_id, redactor=redactor)
        check = kind_of(row.kind).check
        said = await check(opened, runtime.outbound.of(actor.tenant)) if check else "its secrets open; nothing more can be tested"
        health = "ok"
    except Failure as failure:
        if failure.code == "connection_denied":
            raise Denied(sentence(failure)) from None
        health, said = "failing", failure.message
    said = redactor.text(said)[:500]
    await connections.checked(actor.tenant, row.id, "ok" if health == "ok" else "failing", said)
    data = {"health": health}
    await connections.tell(actor.tenant, row.id, "tested", user_id=actor.user_id, via=actor.via, data=data)
    return await described(actor, await connections.by_id(actor.tenant, row.id))


async def get(runtime: Runtime, actor: Actor, name: str) -> Described:
    """Raises NotFound with the nearest names."""
    return await described(actor, await find(actor, name))


async def page(runtime: Runtime, actor: Actor, *, kind: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[Described]:
    """By name."""
    found = await connections.page(actor.tenant, kind=kind, limit=limit, cursor=cursor)
    shown = await secrets.shown(actor.tenant, [row.id for row in found.items])
    items = [_view(row, shown[row.id]) for row in found.items]
    return Page(items=items, next_cursor=found.next_cursor, total=found.total)


async def used_by(actor: Actor, name: str) -> list[str]:
    """Names of the workflows that name it in their draft or active version, and of the models that are asked by it."""
    return await connections.used_by(actor.tenant, name)


async def events(actor: Actor, row: Row) -> list[Event]:
    """Who did what to it, newest first."""
    return await connections.events(actor.tenant, row.id)


async def remove(runtime: Runtime, actor: Actor, name: str, *, force: bool = False) -> list[str]:
    """Removes it and its secrets for good; the workflows that used it. Raises Conflict, naming them, without `force`."""
    row = await changeable(actor, name)
    users = await used_by(actor, name)
    if users and not force:
        raise Conflict(
            f"The connection {name!r} is used by {', '.join(users[:10])}; change them first, or remove it with force and they fail.",
            workflows=users,
        )
    async with actor.tenant.transaction() as transaction:
        await secrets.remove(transaction, row.id)
        await connections.delete(transaction, row.id)
        await remote_tools.forget(transaction, name)
        data = {"workflows": users} if users else None
        await connections.tell(transaction, row.id, "removed", user_id=actor.user_id, via=actor.via, data=data)
    return users


async def find(actor: Actor, name: str) -> Row:
    """Raises NotFound with the nearest names."""
    row = await connections.find(actor.tenant, name)
    if row is None:
        known = await connections.kinds(actor.tenant)
        raise NotFound(f"There is no connection {name[:100]!r}. " + nearest(name, known, "There are"))
    return row


async def changeable(actor: Actor, name: str) -> Row:
    """Raises NotFound, or Denied where it is only for roles that the actor has not."""
    row = await find(actor, name)
    if row.roles is not None and actor.role not in (*row.roles, "owner"):
        raise Denied(f"The connection {name!r} is for {' or '.join(row.roles) or 'nobody'}, and you are {actor.role}.")
    return row


def house_of(runtime: Runtime) -> Connections:
    if runtime.connections is None:
        raise Invalid("This process has no key folder, and so no connections.")
    return runtime.connections


def kind_of(name: str) -> Kind:
    """Raises Invalid with the nearest names."""
    found = kinds().get(name)
    if found is None:
        raise Invalid(f"There is no kind of connection {name[:100]!r}. " + nearest(name, kinds(), "There are"))
    return found


def _target(settings: dict[str, Json]) -> tuple[Json, ...]:
    """Where its secrets go: the origins of its address and of its token server."""
    auth: dict[str, Json] = settings.get("auth") or {}
    addresses: tuple[str | None, ...] = (settings.get("base_url") or settings.get("url"), auth.get("token_url"))
    return (*(origin_of(address) if address else None for address in addresses), auth.get("type"), auth.get("client_id"))


async def described(actor: Actor, row: Row) -> Described:
    return _view(row, (await secrets.shown(actor.tenant, [row.id]))[row.id])


def _view(row: Row, shown: Sequence[Shown]) -> Described:
    kind = kinds().get(row.kind)
    if kind is None:  # made by another version of Weft
        return Described(row=row, secrets=shown, missing=(), takes=())
    settings = kind.settings.model_validate(row.settings)
    return Described(
        row=row, secrets=shown, missing=missing(kind, settings, {secret.field for secret in shown}), takes=kind.takes(settings)
    )
