"""A new master key: every data key of every organization is wrapped by it; the sealed values stay as they are."""

from __future__ import annotations

from graphs.connections._envelope import Place, Vault
from store import identities, secrets
from store.postgres import Database, Tenant

AT_ONCE = 500


async def rewrap_all(database: Database, vault: Vault) -> int:
    """How many data keys were wrapped anew. Raises Misconfigured for one whose master key is gone."""
    done = 0
    for org_id in await identities.all_organizations(database):
        done += await _rewrap(database.tenant(org_id), vault)
    return done


async def _rewrap(tenant: Tenant, vault: Vault) -> int:
    done = 0
    while batch := await secrets.under_other_keys(tenant, vault.first().id, AT_ONCE):
        for old in batch:
            place = Place(org_id=tenant.org_id, connection_id=old.connection_id, version=old.version, field=old.field)
            key_id, wrapped = vault.rewrap(place, old)
            await secrets.rewrap(tenant, old, key_id=key_id, wrapped=wrapped)
        done += len(batch)
    return done
