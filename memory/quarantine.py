"""Quarantine: what comes from somewhere that is not trusted any more is hidden with all that rests on it, and can be shown again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memory.forget import Choice, chosen
from store import forgetting, lineage
from store.memories import Scope
from store.postgres import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What is hidden now, or seen again; in a dry run what would be."""

    ids: Sequence[str]
    counts: dict[str, int]


async def hide(
    tenant: Tenant, scopes: Sequence[Scope], choice: Choice, *, reason: str, by: str | None = None, dry_run: bool = False
) -> Moved:
    """Hides memories of these scopes, which the caller may do, and whatever rests on them, wherever that is. It stays, and is exported with
    a mark; what is made of it while it is hidden is hidden too."""
    async with tenant.transaction() as transaction:
        found = await chosen(transaction, scopes, choice)
        if choice.by == "source":  # a fact that another source says as well stands on that one
            resting = await lineage.resting(transaction, found)
            found = [one for one in found if one not in resting]
        falling = await lineage.falling(transaction, found, wary=True)
        ids = await lineage.visible(transaction, falling)
        counts = await forgetting.count(transaction, ids)
        if not dry_run:
            await lineage.distrust(transaction, falling, meant=found, reason=reason, by=by)
    return Moved(ids=ids, counts=counts)


async def release(tenant: Tenant, scopes: Sequence[Scope], choice: Choice, *, dry_run: bool = False) -> Moved:
    """Shows them again with what rests on them, trusted as before; not what was hidden for its own sake, or also rests on something that
    stays hidden."""
    async with tenant.transaction() as transaction:
        ids = await lineage.rising(transaction, await chosen(transaction, scopes, choice))
        counts = await forgetting.count(transaction, ids)
        if not dry_run:
            await lineage.trust(transaction, ids)
    return Moved(ids=ids, counts=counts)
