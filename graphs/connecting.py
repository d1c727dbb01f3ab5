"""What people do with connections: make, change, give secrets to, test, show and remove them. No answer here holds a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from graphs.connections import Connections, Kind, kinds, missing, origin_of, place_of
from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.nodetype import Failure
from graphs.pinning import nearest
from graphs.redaction import LOOKS_SECRET, SHORTEST, Redactor
from graphs.runtime import Actor, Runtime
from store import connections, remote_tools, secrets
from store.connections import Event, Row
from store.errors import Conflict, Denied, Invalid, NotFound
from store.pages import Page
from store.postgres import Transaction
from store.secrets import Shown

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
ROLES = ("owner", "builder", "operator", "viewer")
MAX_SECRET = 100_000  # characters


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
    given = _validated(kind_of(kind), settings)
    row = await connections.create(
        transaction, name=name, kind=kind, description=_words(description), settings=given, roles=_roles(roles), user_id=actor.user_id
    )
    await connections.tell(transaction, row.id, "created", user_id=actor.user_id, via=actor.via, data={"kind": kind})
    return row


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
    given = row.settings if settings is None else _validated(kind_of(row.kind), settings)
    moved = _target(given) != _target(row.settings)
    async with actor.tenant.transaction() as transaction:
        saved = await connections.update(
            transaction,
            row.id,
            revision=row.revision if revision is None else revision,
            settings=given,
            description=row.description if description is None else _words(description),
            roles=row.roles if roles is None else _roles(roles or None),
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
        _fit(row, field, value, takes)
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
            raise Denied(f"{failure.message[:1].upper()}{failure.message[1:]}.") from None
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


def _validated(kind: Kind, settings: Json) -> dict[str, Json]:
    """The settings with defaults left out. Raises Invalid; its words repeat nothing that was given."""
    if not is_object(settings):
        raise Invalid("Settings are a JSON object.")
    try:
        model = kind.settings.model_validate(settings)
    except ValidationError as wrong:
        raise Invalid(" ".join(_problems(kind, wrong))[:1000]) from None
    for pointer, text in _texts(settings, ""):
        if LOOKS_SECRET.search(text):
            raise Invalid(
                f"The setting {pointer} looks like a secret, and settings are shown to everybody: set it as a secret instead "
                "(weft connections set-secret)."
            )
    return _plain(model)


def _plain(model: BaseModel) -> dict[str, Json]:
    return model.model_dump(mode="json", exclude_defaults=False, exclude_none=True)


def _problems(kind: Kind, wrong: ValidationError) -> Iterable[str]:
    for error in wrong.errors(include_url=False, include_input=False, include_context=False)[:5]:
        names = [str(part)[:50] for part in error["loc"]]
        where = "/".join(names)
        if error["type"] == "extra_forbidden" and names[-1] in kind.secrets:
            yield f"{where} is a secret and no setting: set it with weft connections set-secret, or PUT …/secrets/{names[-1]}."
        elif error["type"] == "extra_forbidden":
            yield f"There is no setting {where}; the kind {kind.name} has {', '.join(kind.settings.model_fields)}."
        else:
            yield f"{where or 'settings'}: {error['msg'].removeprefix('Value error, ')}."


def _texts(value: Json, pointer: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer, value
    elif is_object(value):
        for name, inner in value.items():
            yield from _texts(inner, f"{pointer}/{name}")
    elif is_array(value):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{pointer}/{number}")


def _target(settings: dict[str, Json]) -> tuple[Json, ...]:
    """Where its secrets go: the origins of its address and of its token server."""
    auth: dict[str, Json] = settings.get("auth") or {}
    addresses: tuple[str | None, ...] = (settings.get("base_url") or settings.get("url"), auth.get("token_url"))
    return (*(origin_of(address) if address else None for address in addresses), auth.get("type"), auth.get("client_id"))


def _fit(row: Row, field: str, value: str, takes: Sequence[str]) -> None:
    if field not in takes:
        there = f"it takes {', '.join(takes)}" if takes else "with its settings it takes none"
        raise Invalid(f"The connection {row.name!r} has no secret {field[:50]!r}; {there}.")
    if len(value) < SHORTEST:
        raise Invalid(f"The {field} is shorter than {SHORTEST} characters: Weft could not keep it out of outputs and logs.")
    if len(value) > MAX_SECRET:
        raise Invalid(f"The {field} is longer than {MAX_SECRET:,} characters.")
    if value != value.strip() or any(ord(character) < 32 for character in value if character not in "\n\t") or "\x7f" in value:
        raise Invalid(f"The {field} begins or ends with a space or line break, or holds control characters; was it copied whole?")


def _roles(roles: Sequence[str] | None) -> Sequence[str] | None:
    unknown = [role for role in roles or () if role not in ROLES]
    if unknown:
        raise Invalid(f"{unknown[0][:50]!r} is no role; roles are {', '.join(ROLES)}.")
    return roles


def _words(text: str) -> str:
    if len(text) > 500:
        raise Invalid("The description is longer than 500 characters.")
    if LOOKS_SECRET.search(text):
        raise Invalid("The description looks like it holds a secret, and it is shown to everybody.")
    return text


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
