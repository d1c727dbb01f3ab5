"""Organizations, users and API keys: who comes in, and who does not."""

from __future__ import annotations

import re
from datetime import timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import identities
from store.errors import Conflict, Invalid, NotFound
from store.identities import Keys
from store.postgres import Database, Tenant

pytestmark = pytest.mark.anyio

PEPPER = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database, PEPPER)


async def test_a_slug_names_one_organization(database: Database) -> None:
    created = await identities.create_organization(database, slug="acme", name="Acme")
    assert await identities.find_organization(database, "acme") == created
    assert await identities.find_organization(database, "globex") is None
    with pytest.raises(Conflict, match="organization with this slug"):
        await identities.create_organization(database, slug="acme", name="Another")
    with pytest.raises(Invalid):
        await identities.create_organization(database, slug="Not A Slug", name="x")


async def test_a_name_is_one_user_of_an_organization_and_free_in_another(tenant: Tenant, other_tenant: Tenant) -> None:
    ann = await identities.create_user(tenant, name="Ann", role="builder")
    assert await identities.get_user(tenant, ann.id) == ann == await identities.find_user(tenant, "Ann")
    with pytest.raises(Conflict, match="user of this name"):
        await identities.create_user(tenant, name="Ann", role="viewer")
    await identities.create_user(other_tenant, name="Ann", role="viewer")
    assert await identities.list_users(tenant) == [ann]
    for absent in (ann.id[:-1] + "x", "Ann", "01a1fbdf-9b5f-7f62-92c8-a7318f3f6b4c"):
        with pytest.raises(NotFound):
            await identities.get_user(tenant, absent)
    with pytest.raises(NotFound):
        await identities.get_user(other_tenant, ann.id)
    with pytest.raises(Invalid):
        await identities.create_user(tenant, name="Bob", role="emperor")


async def test_a_fresh_key_lets_its_user_in(keys: Keys, tenant: Tenant, owner: str) -> None:
    key, text = await identities.create_key(tenant, user_id=owner, name="laptop", pepper=PEPPER)
    identity = await keys.verify(text)
    assert identity is not None
    assert (identity.org_id, identity.user_id, identity.user_name, identity.role, identity.key_id) == (
        tenant.org_id,
        owner,
        "Olga",
        "owner",
        key.id,
    )
    assert re.fullmatch(r"weft_live_[0-9a-f]{12}_[0-9A-Za-z]{49}", text)


async def test_the_key_itself_is_not_in_the_database(tenant: Tenant, owner: str, admin_url: str) -> None:
    _, text = await identities.create_key(tenant, user_id=owner, name="laptop", pepper=PEPPER)
    with psycopg.connect(admin_url) as admin:
        stored = str(admin.execute("SELECT k::text, encode(k.digest, 'escape') FROM weft.api_keys k").fetchall())
    assert text[23:] not in stored


async def test_a_wrong_key_lets_nobody_in(keys: Keys, tenant: Tenant, owner: str) -> None:
    _, text = await identities.create_key(tenant, user_id=owner, name="laptop", pepper=PEPPER)
    stranger = identities.generate()
    forged = text[:23] + stranger[23:66]  # the right id, somebody else's secret, and a checksum that fits
    forged += identities._check(forged)  # pyright: ignore[reportPrivateUsage]
    assert identities.well_formed(forged) == text[10:22]
    for wrong in (forged, stranger):
        assert await keys.verify(wrong) is None
    assert await keys.verify(text) is not None
    assert await Keys(keys._database, b"another pepper").verify(text) is None  # pyright: ignore[reportPrivateUsage]


@given(st.text() | st.from_regex(r"weft_live_[0-9a-f]{12}_[0-9A-Za-z]{49}", fullmatch=True))
def test_a_text_that_is_no_key_is_refused_without_a_query(text: str) -> None:
    assert identities.well_formed(text) is None


@given(st.integers(0, 71), st.sampled_from("0aZ_ é"))
def test_a_slip_in_a_key_is_told_by_its_checksum(place: int, character: str) -> None:
    text = identities.generate()
    changed = text[:place] + character + text[place + 1 :]
    assert (identities.well_formed(changed) is not None) == (changed == text)


@pytest.mark.parametrize("form", [" {}", "{}\n", "{}{}", "Bearer {}", "{}\0"])
async def test_a_key_is_exact(keys: Keys, tenant: Tenant, owner: str, form: str) -> None:
    _, text = await identities.create_key(tenant, user_id=owner, name="laptop", pepper=PEPPER)
    assert await keys.verify(form.format(text, text)) is None
    assert await keys.verify(text.upper()) is None


async def test_a_revoked_key_lets_nobody_in_after_the_cache_time(
    keys: Keys, tenant: Tenant, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, text = await identities.create_key(tenant, user_id=owner, name="laptop", pepper=PEPPER)
    assert await keys.verify(text) is not None
    revoked = await identities.revoke_key(tenant, key.id)
    assert (await identities.revoke_key(tenant, key.id)).revoked_at == revoked.revoked_at is not None
    monkeypatch.setattr("store.identities.CACHE_SECONDS", 0.0)
    assert await keys.verify(text) is None
    assert identities.CACHE_SECONDS <= 30


async def test_a_revocation_in_this_process_is_known_at_once(keys: Keys, tenant: Tenant, owner: str) -> None:
    key, text = await identities.create_key(tenant, user_id=owner, name="laptop", pepper=PEPPER)
    assert await keys.verify(text) is not None
    await identities.revoke_key(tenant, key.id)
    keys.forget()
    assert await keys.verify(text) is None


async def test_an_expired_key_lets_nobody_in_even_from_the_cache(
    keys: Keys, tenant: Tenant, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, old = await identities.create_key(tenant, user_id=owner, name="old", pepper=PEPPER, lifetime=timedelta(seconds=-1))
    assert await keys.verify(old) is None
    _, short = await identities.create_key(tenant, user_id=owner, name="short", pepper=PEPPER, lifetime=timedelta(seconds=20))
    assert await keys.verify(short) is not None
    now = identities.time.monotonic()
    monkeypatch.setattr(identities.time, "monotonic", lambda: now + 21)
    assert await keys.verify(short) is None


async def test_keys_are_listed_and_revoked_only_in_their_organization(tenant: Tenant, other_tenant: Tenant, owner: str, keys: Keys) -> None:
    key, text = await identities.create_key(tenant, user_id=owner, name="laptop", pepper=PEPPER)
    assert [listed.id for listed in await identities.list_keys(tenant)] == [key.id]
    assert await identities.list_keys(other_tenant) == []
    with pytest.raises(NotFound):
        await identities.revoke_key(other_tenant, key.id)
    with pytest.raises(Conflict):
        await identities.create_key(other_tenant, user_id=owner, name="stolen", pepper=PEPPER)
    assert await keys.verify(text) is not None


async def test_a_check_that_is_cached_costs_no_query(keys: Keys, database: Database, tenant: Tenant, owner: str) -> None:
    _, text = await identities.create_key(tenant, user_id=owner, name="laptop", pepper=PEPPER)
    await keys.verify(text)
    before = database.pool.get_stats()["requests_num"]
    assert await keys.verify(text) is not None
    assert database.pool.get_stats()["requests_num"] == before
