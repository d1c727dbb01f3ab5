"""Scopes: who may read and write whose memories."""

from __future__ import annotations

import asyncio

import pytest

from memory import scopes
from memory.scopes import Principal
from store import identities
from store.errors import Denied, Invalid, NotFound
from store.postgres import Tenant

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ann(tenant: Tenant) -> Principal:
    return Principal(user_id=(await identities.create_user(tenant, name="Ann", role="viewer")).id, role="viewer")


@pytest.fixture
def boss(owner: str) -> Principal:
    return Principal(user_id=owner, role="owner")


async def test_a_scope_is_made_once_however_many_ask(tenant: Tenant, boss: Principal) -> None:
    made = await asyncio.gather(*(scopes.make(tenant, boss, "conversation", "c1") for _ in range(8)))
    assert len({scope.id for scope in made}) == 1
    assert await scopes.find(tenant, boss, "conversation", "c1") == made[0]


async def test_what_is_not_there_is_not_found(tenant: Tenant, boss: Principal) -> None:
    with pytest.raises(NotFound):
        await scopes.find(tenant, boss, "agent", "nobody")


async def test_a_users_own_scope_is_closed_to_the_owner_of_the_organization_too(tenant: Tenant, boss: Principal, ann: Principal) -> None:
    mine = await scopes.make(tenant, ann, "user")
    assert scopes.readable(mine, ann)
    assert scopes.writable(mine, ann)
    assert not scopes.readable(mine, boss)
    assert not scopes.writable(mine, boss)
    with pytest.raises(Denied):
        await scopes.find(tenant, boss, "user", ann.user_id or "")
    with pytest.raises(NotFound):
        await scopes.get(tenant, boss, mine.id)
    assert mine.id not in {scope.id for scope in await scopes.visible(tenant, boss)}
    assert mine.id in {scope.id for scope in await scopes.visible(tenant, ann)}


async def test_two_users_private_scopes_of_one_name_are_two(tenant: Tenant, boss: Principal, ann: Principal) -> None:
    first = await scopes.make(tenant, boss, "agent", "helper", private=True)
    second = await scopes.make(tenant, ann, "agent", "helper", private=True)
    assert first.id != second.id


@pytest.mark.parametrize("kind", ["organization", "agent", "workflow", "conversation", "run"])
async def test_a_viewer_writes_to_no_scope_of_everybody(tenant: Tenant, ann: Principal, kind: scopes.Kind) -> None:
    with pytest.raises(Denied):
        await scopes.make(tenant, ann, kind, "" if kind == "organization" else "x")


async def test_names_are_asked_for_where_they_are_needed(tenant: Tenant, boss: Principal) -> None:
    for kind, name in (("agent", ""), ("organization", "x"), ("agent", "x" * 201), ("planet", "x")):
        with pytest.raises(Invalid):
            await scopes.make(tenant, boss, kind, name)  # pyright: ignore[reportArgumentType]
    with pytest.raises(Invalid):
        await scopes.make(tenant, Principal(user_id=None, role="owner"), "user")


async def test_another_organization_sees_no_scope(tenant: Tenant, other_tenant: Tenant, boss: Principal) -> None:
    scope = await scopes.make(tenant, boss, "organization")
    with pytest.raises(NotFound):
        await scopes.get(other_tenant, boss, scope.id)
