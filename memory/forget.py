"""Forgetting: a memory goes with everything that was made of it, its vectors and names, and leaves a receipt without a word of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memory import names, policies, words
from store import entities, forgetting, lineage
from store.errors import Invalid
from store.forgetting import Receipt
from store.ids import is_id
from store.memories import Scope
from store.postgres import Session, Tenant

By = Literal["id", "query", "source", "subject"]
ROUNDS = 100
BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is to be forgotten, in exactly one way. `query`: what holds all of these words, or this text; `source`: what came from there or
    from below it; `subject`: whatever is about, by or with this person or thing, under all its names."""

    ids: Sequence[str] = ()
    query: str | None = None
    source: str | None = None
    subject: str | None = None

    @property
    def by(self) -> By:
        ways: list[By] = ["query", "source", "subject"]
        given: list[By] = [way for way in ways if (getattr(self, way) or "").strip()]
        if self.ids:
            given.append("id")
        if len(given) != 1:
            raise Invalid("Say what to forget in exactly one way: ids, query, source or subject.")
        return given[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """`runs`: those the memories came from, whose own records may hold the same words. `receipt` None: it was only asked what would go."""

    ids: Sequence[str]
    counts: dict[str, int]
    runs: Sequence[str]
    receipt: Receipt | None


async def forget(
    tenant: Tenant, scopes: Sequence[Scope], choice: Choice, *, reason: str, by: str | None = None, dry_run: bool = False
) -> Forgotten:
    """Forgets in these scopes, which the caller may write to, in one transaction. What was derived from it elsewhere goes as well."""
    async with tenant.transaction() as transaction:
        ids = await lineage.falling(transaction, await chosen(transaction, scopes, choice))
        counts, runs = await forgetting.count(transaction, ids), await forgetting.runs(transaction, ids)
        receipt = None
        if not dry_run:
            receipt = await forgetting.erase(transaction, ids, reason=reason, selector=choice.by, by=by)
    return Forgotten(ids=ids, counts=counts, runs=runs, receipt=receipt)


async def sweep(tenant: Tenant, scope: Scope, *, now: datetime | None = None) -> list[Receipt]:
    """Forgets what the scope's policy no longer keeps, in batches of one transaction and one receipt each."""
    receipts: list[Receipt] = []
    for _ in range(ROUNDS):
        async with tenant.transaction() as transaction:
            policy = await policies.of_scope(transaction, scope.id)
            due = await policies.due(transaction, scope.id, policy, now=now, limit=BATCH)
            if not due:
                break
            ids = await lineage.falling(transaction, due)
            receipts.append(await forgetting.erase(transaction, ids, reason="no longer kept", selector="expiry", by=None))
    return receipts


async def chosen(session: Session, scopes: Sequence[Scope], choice: Choice) -> list[str]:
    """Ids of the memories of these scopes that were chosen."""
    scope_ids = [scope.id for scope in scopes]
    match choice.by:
        case "id":
            return await forgetting.by_id(session, scope_ids, [one for one in choice.ids if is_id(one)])
        case "source":
            return await forgetting.by_source(session, scope_ids, choice.source or "")
        case "query":
            return await _worded(session, scope_ids, choice.query or "")
        case "subject":
            return await about(session, scope_ids, choice.subject or "")


async def about(session: Session, scope_ids: Sequence[int], subject: str) -> list[str]:
    """Ids of all memories about, by or with somebody or something, under all its names."""
    called = await entities.called(session, scope_ids, [names.compared(subject)])
    found = await entities.read(session, [one.id for one in called])
    ids = [one for entity in found for one in (entity.id, *entity.merged)]
    alike = {names.compared(subject), *(name for entity in found for name in entity.names)}
    said = {subject.strip().lower(), *alike, *((entity.name or "").lower() for entity in found)}
    chosen = dict.fromkeys(
        await forgetting.about(session, scope_ids, entity_ids=ids, names=sorted(alike), speakers=sorted(one for one in said if one))
    )
    for name in sorted(alike):
        chosen |= dict.fromkeys(await _worded(session, scope_ids, name, whole=True))
    return list(chosen)


async def _worded(session: Session, scope_ids: Sequence[int], text: str, *, whole: bool = False) -> list[str]:
    """What holds all of the words; `whole`: only what holds them next to each other, as a name."""
    needle = text.strip()
    escaped = json.dumps(needle)[1:-1]
    found: list[str] = []
    for scope_id in scope_ids:
        terms = " & ".join(words.quoted(words.key(scope_id, term)) for term in dict.fromkeys(words.terms(needle)))
        for row in await forgetting.by_words(session, scope_id, terms, needle, escaped):
            if not whole or _names(
                needle, "\n".join((row.speaker or "", row.title or "", row.body, json.dumps(row.data, ensure_ascii=False)))
            ):
                found.append(row.id)
    return found


def _names(name: str, text: str) -> bool:
    wanted = " ".join(names.PUNCTUATION.sub(" ", name).split())
    told = f" {' '.join(names.PUNCTUATION.sub(' ', words.plain(text).replace('’', chr(39))).split())} "
    return bool(wanted) and (f" {wanted} " in told or f" {wanted}'s " in told or (not wanted.isascii() and wanted in told))
