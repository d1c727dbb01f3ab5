"""Sealed secrets open in their own place only: moved, swapped, old or altered bytes are refused, and a retired key opens nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from graphs import connecting, runs
from graphs.connections import MasterKey, Place, Vault, rewrap_all
from graphs.nodetype import Failure
from store import secrets
from store.errors import Denied, Misconfigured
from store.postgres import Tenant
from store.secrets import Sealed
from tests.connections.conftest import call, connect
from tests.engine.conftest import House, flow
from tests.outbound.loopback import always, answer, origin

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P6")]
SECRET = "tok-77aa01c4b2e95d36"
HERE = Place(org_id="org-1", connection_id="con-1", version=3, field="token")
FIRST, SECOND = MasterKey(id="first", key=b"1" * 32), MasterKey(id="second", key=b"2" * 32)


def vault(*keys: MasterKey) -> Vault:
    return Vault(lambda: list(keys or (FIRST,)))


def test_a_secret_opens_where_it_was_sealed_and_each_seal_is_another() -> None:
    sealed, again = vault().seal(HERE, SECRET), vault().seal(HERE, SECRET)
    assert vault().open(HERE, sealed) == SECRET
    assert sealed.sealed != again.sealed
    assert SECRET.encode() not in sealed.sealed + sealed.wrapped
    assert "1111" not in repr(FIRST) + repr(vault())


@pytest.mark.parametrize("change", [{"org_id": "org-2"}, {"connection_id": "con-2"}, {"version": 2}, {"field": "password"}])
def test_a_secret_does_not_open_in_another_place(change: dict[str, Any]) -> None:
    sealed = vault().seal(HERE, SECRET)
    with pytest.raises(Misconfigured, match="does not open"):
        vault().open(replace(HERE, **change), sealed)


@pytest.mark.parametrize("part", ["sealed", "wrapped"])
@pytest.mark.parametrize("place", [0, 11, 12, 20, -1])
def test_a_flipped_bit_is_refused(part: str, place: int) -> None:
    sealed = vault().seal(HERE, SECRET)
    raw = bytearray(getattr(sealed, part))
    raw[place] ^= 1
    with pytest.raises(Misconfigured, match="does not open"):
        vault().open(HERE, replace(sealed, **{part: bytes(raw)}))


@pytest.mark.parametrize("cut", [0, 5, 12, 20])
def test_a_cut_value_is_refused(cut: int) -> None:
    sealed = vault().seal(HERE, SECRET)
    with pytest.raises(Misconfigured, match="does not open"):
        vault().open(HERE, replace(sealed, sealed=sealed.sealed[:cut]))


def test_the_data_key_of_another_secret_is_refused() -> None:
    one, other = vault().seal(HERE, SECRET), vault().seal(replace(HERE, version=4), "another secret")
    with pytest.raises(Misconfigured):
        vault().open(HERE, replace(one, wrapped=other.wrapped))
    with pytest.raises(Misconfigured):
        vault().open(HERE, replace(other, version=3))


def test_another_master_key_and_another_name_for_it_are_refused() -> None:
    sealed = vault().seal(HERE, SECRET)
    with pytest.raises(Misconfigured, match="not in the key folder"):
        vault(SECOND).open(HERE, sealed)
    with pytest.raises(Misconfigured):
        vault(replace(SECOND, id="first")).open(HERE, sealed)
    with pytest.raises(Misconfigured):
        vault(FIRST, replace(FIRST, id="second")).open(HERE, replace(sealed, key_id="second"))


def test_a_new_key_that_another_process_made_is_found() -> None:
    keys = [FIRST]
    running = Vault(lambda: list(keys))
    assert running.open(HERE, running.seal(HERE, SECRET)) == SECRET
    keys.insert(0, SECOND)
    assert running.open(HERE, vault(SECOND).seal(HERE, SECRET)) == SECRET
    assert running.seal(HERE, SECRET).key_id == "second"


async def test_rotation_wraps_every_organizations_keys_and_leaves_the_values(running: House, other_tenant: Tenant, admin_url: str) -> None:
    async with origin(always(answer())) as api:
        await connect(running, "api", api.url, {"type": "bearer"}, token=SECRET)
        before = rows(admin_url)
        running.master_keys.insert(0, SECOND)
        assert await rewrap_all(running.database, vault(SECOND, *running.master_keys[1:])) == 1
        after = rows(admin_url)
        assert [row["sealed"] for row in after] == [row["sealed"] for row in before]
        assert [(row["key_id"], row["version"]) for row in after] == [("second", before[0]["version"])]
        del running.master_keys[1:]  # retired: it opens nothing any more, and is not needed
        assert (await running.run(flow(call()))).state == "succeeded"
    old = Sealed(**{name: before[0][name] for name in ("field", "version", "key_id", "wrapped", "sealed")})
    with pytest.raises(Misconfigured, match="not in the key folder"):
        vault(SECOND).open(replace(HERE, version=old.version), old)


def rows(admin_url: str) -> list[dict[str, Any]]:
    with psycopg.connect(admin_url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM weft.secrets ORDER BY connection_id, field").fetchall()


ATTACKS: dict[str, Callable[[psycopg.Connection], object]] = {
    "values of two connections swapped": lambda db: db.execute(
        "UPDATE weft.secrets s SET sealed = o.sealed, wrapped = o.wrapped, version = o.version FROM weft.secrets o WHERE o.ctid <> s.ctid"
    ),
    "rows given to each other's connection": lambda db: db.execute(
        "UPDATE weft.secrets s SET sealed = o.sealed, wrapped = o.wrapped FROM weft.secrets o WHERE o.connection_id <> s.connection_id"
    ),
    "an old value put back": lambda db: db.execute("UPDATE weft.secrets SET version = version + 1"),
    "a value altered": lambda db: db.execute("UPDATE weft.secrets SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)"),
    "another master key named": lambda db: db.execute("UPDATE weft.secrets SET key_id = 'second'"),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_somebody_did_to_the_rows_is_noticed_by_the_step_and_nothing_is_sent(
    running: House, admin_url: str, attack: str
) -> None:
    async with origin(always(answer())) as api:
        await connect(running, "api", api.url, {"type": "bearer"}, token=SECRET)
        await connect(running, "other", api.url, {"type": "bearer"}, token="tok-of-the-other-one")
        running.master_keys.append(SECOND)
        with psycopg.connect(admin_url, autocommit=True) as admin:
            ATTACKS[attack](admin)
        run = await running.run(flow(call()))
        assert run.error["code"] == "connection_unusable"
        assert not api.asked
        told = str(await runs.trace(running.runtime, running.actor, run.id))
    assert SECRET not in told


async def test_the_apps_login_reads_sealed_bytes_only_and_never_another_organizations(
    running: House, other_tenant: Tenant, admin_url: str
) -> None:
    async with origin(always(answer())) as api:
        made = await connect(running, "api", api.url, {"type": "bearer"}, token=SECRET)
    assert await secrets.of(other_tenant, made.row.id) == []
    sealed = await secrets.of(running.actor.tenant, made.row.id)
    assert SECRET not in str(sealed)
    assert SECRET.encode() not in b"".join(secret.sealed + secret.wrapped for secret in sealed)
    house = running.runtime.connections
    assert house
    with pytest.raises(Failure) as missing:
        await house.open(other_tenant, "api")
    assert missing.value.code == "connection_missing"


async def test_a_removed_connection_leaves_no_sealed_bytes(running: House, admin_url: str) -> None:
    await connect(running, "api", "https://api.example", {"type": "bearer"}, token=SECRET)
    await connecting.remove(running.runtime, running.actor, "api")
    assert rows(admin_url) == []
    await connect(running, "api", "https://api.example", {"type": "bearer"}, token=SECRET)
    assert len(rows(admin_url)) == 1


async def test_history_of_connections_can_only_grow(running: House, database: Any, tenant: Tenant) -> None:
    from store.queries import Query

    await connect(running, "api", "https://api.example", {"type": "bearer"}, token=SECRET)
    for words in (b"UPDATE weft.connection_events SET act = 'x'", b"DELETE FROM weft.connection_events"):
        with pytest.raises(Denied):
            await tenant.execute(Query("t", words + b" WHERE org_id = %(org_id)s"))
